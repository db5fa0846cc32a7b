"""What the page is told: plain JSON, with the remedy beside the fault."""

import json

import numpy as np

from action_images_ros.console.facts import Status
from action_images_ros.console.state import CONTROL, ConsoleState
from action_images_ros.console.timeline import Verdict
from action_images_ros.types import ActionChunk

S = 1_000_000_000


def state() -> ConsoleState:
    return ConsoleState("cell", ("left", "right"))


def control(at_s: float, level: int = 0, **values: str) -> Status:
    return Status(CONTROL, level, values.get("fault") or values.get("state", ""), "arm", values, round(at_s * S))


def chunk(stamp_ns: int = 10 * S) -> ActionChunk:
    poses = np.repeat(np.eye(4)[None], 9, axis=0)
    return ActionChunk.from_poses(poses, np.ones(9), stamp_ns, 0.4)


def test_a_snapshot_is_json_without_infinities_before_and_after_everything_came():
    s = state()
    json.dumps(s.snapshot(0), allow_nan=False)
    s.on_chunk(chunk(), 10 * S)
    s.on_chunk_verdict(10 * S, 10 * S, Verdict.ACCEPTED, "")
    s.on_status(control(10, state="running", latency_mean_ms="inf", latency_p95_ms="nan", period_error_p50_ms="0.02"))
    shown = s.snapshot(11 * S)
    json.dumps(shown, allow_nan=False)
    assert {r["name"]: r["p50_ms"] for r in shown["stages"]}["control period error"] == 0.02
    assert shown["chunks"][0]["verdict"] == "accepted" and shown["chunks"][0]["stamp_s"] == -1.0
    assert shown["chunk"]["credible"] == shown["chunk"]["steps"] == 9


def test_a_fault_is_kept_with_its_remedy_after_it_is_gone():
    s = state()
    s.on_status(control(1, 2, state="fault", fault="no fresh joint states", remedy="look at the arm's driver"))
    s.on_controller("fault", "no fresh joint states", 1 * S)
    now = s.snapshot(1 * S)["controller"]
    assert (now["state"], now["fault"], now["remedy"]) == (
        "fault", "no fresh joint states", "look at the arm's driver")  # fmt: skip
    s.on_controller("disabled", "", 2 * S)
    s.on_status(control(2, state="disabled"))
    now = s.snapshot(2 * S)["controller"]
    assert now["state"] == "disabled" and now["fault"] == ""
    assert now["last"] == {"state": "fault", "fault": "no fresh joint states", "remedy": "look at the arm's driver",
                           "ago_s": -1.0}  # fmt: skip


def test_why_it_holds_is_told_before_diagnostics_say_it():
    s = state()
    s.on_status(control(1, state="running"))
    s.on_controller("running", "", 1 * S)
    s.on_controller("holding", "no newer chunk", round(1.2 * S))
    now = s.snapshot(round(1.3 * S))["controller"]
    assert (now["state"], now["fault"], now["remedy"]) == ("holding", "no newer chunk", "")


def test_a_controller_that_falls_silent_is_unreachable():
    s = state()
    s.on_status(control(1, state="running"))
    assert s.snapshot(2 * S)["controller"]["state"] == "running"
    silent = s.snapshot(9 * S)["controller"]
    assert silent["state"] == "unreachable" and "log" in silent["remedy"]
    assert s.snapshot(9 * S)["statuses"][0]["level"] == "stale"


def test_what_changes_is_told_once_in_the_log():
    s = state()
    for at_s, word in ((1, "ready"), (1, "ready"), (2, "running"), (3, "fault")):
        s.on_controller(word, "lost" if word == "fault" else "", at_s * S)
    told = s.snapshot(4 * S)["events"]
    assert [(e["kind"], e["text"], e["ago_s"]) for e in told] == [
        ("error", "running → fault: lost", -1.0), ("info", "ready → running", -2.0)]  # fmt: skip


def test_leaving_running_ends_the_chunk_that_was_played():
    s = state()
    s.on_controller("running", "", 10 * S)
    s.on_chunk(chunk(), 10 * S)
    s.on_chunk_verdict(10 * S, 10 * S, Verdict.ACCEPTED, "")
    s.on_controller("disabled", "stopped by the operator", 11 * S)
    assert s.snapshot(12 * S)["chunks"][0]["played_until_s"] == -1.0


def test_instructions_are_remembered_newest_first_and_only_once():
    s = state()
    for text in ("reach the red ball", "reach  the cyan ball ", "reach the red ball", ""):
        s.on_instruction(text, 0)
    shown = s.snapshot(0)
    assert shown["instructions"] == ["reach the red ball", "reach the cyan ball"] and shown["instruction"] == ""


def test_who_is_in_control_is_told_and_its_changes_are_in_the_log():
    s = state()
    assert s.snapshot(0)["control_source"] == ""
    for source in ("policy", "human", "human", "policy"):
        s.on_control_source(source, 0)
    shown = s.snapshot(0)
    assert shown["control_source"] == "policy"
    assert [e["text"] for e in shown["events"]] == ["in control: policy", "in control: human", "in control: policy"]


def test_the_trail_keeps_places_not_times_and_begins_anew_with_an_episode():
    s = state()
    for x in (0.0, 0.0005, 0.01, 0.0101, 0.02):
        s.on_joints(np.zeros(7), 0.04, (x, 0.0, 0.5))
    assert np.allclose(s.trail[:, 0], [0.0, 0.01, 0.02])
    s.on_cell_verdict({"episode": 1, "outcome": "pending", "reason": "", "time_s": 0.0}, 0)
    assert len(s.trail) == 0 and s.arm[1] == 0.04

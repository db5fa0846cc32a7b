"""The controller and franka_arm, with the real libfranka client, before a simulator that raises the FR3's own reflexes.

Times are the arm's: it counts its own milliseconds, however slow the machine is.
"""

import os
import signal

import numpy as np
import pytest

pytest.importorskip("franky", reason="the libfranka client is not installed: pip install '.[arm]'")

from action_images_ros.arm.strict import StrictArm, commanded_motion, strict_python  # noqa: E402
from action_images_ros.bench.arm import write_cell  # noqa: E402
from action_images_ros.bench.seams import EndlessPolicy  # noqa: E402
from action_images_ros.control import FR3_HOME_Q, FR3_LIMITS  # noqa: E402
from action_images_ros.errors import ArmError  # noqa: E402
from action_images_ros.ros.arm_lab import arm_node, running_arm_lab  # noqa: E402
from action_images_ros.ros.runner import GraphRunner  # noqa: E402

ADDRESS = "127.0.0.9"
LATENCY_S = (0.1, 0.5)
STILL_RADPS = 0.03  # below: the correction of what the simulator's servo lost, at most 1.5 cm/s at the hand
SLOW = {"speed_factor": 0.3}  # a busy machine's simulator is slower than real time, and the policy is not
WAIT_S = 120.0


@pytest.fixture(scope="module")
def strict(tmp_path_factory):
    try:
        strict_python()
    except ArmError as error:
        pytest.skip(str(error))
    with StrictArm(tmp_path_factory.mktemp("arm"), ADDRESS) as arm:
        yield arm


@pytest.fixture(scope="module")
def parts(strict, tmp_path_factory):
    """(lab, arm)"""
    folder = tmp_path_factory.mktemp("lab")
    with running_arm_lab(write_cell(folder / "cell.yaml"), ADDRESS, folder / "log", controller=SLOW) as lab:
        yield lab, strict


def moving(arm, seconds: float = 0.2) -> bool:
    """Whether some joint has moved all the time in the last `seconds` of the arm's time."""
    dq = arm.cycles()[-round(1e3 * seconds) :]["dq_d"]
    return len(dq) >= 1e3 * seconds and np.abs(dq).max(axis=1).min() > 2 * STILL_RADPS


def stream(lab, arm):
    """A policy moves the arm."""
    lab.hold()
    lab.go_to(FR3_HOME_Q, 4.0)
    lab.enable()
    lab.play(EndlessPolicy(0.005, np.random.default_rng(1)).observe, LATENCY_S)
    lab.operator.until(lambda: moving(arm), "motion", WAIT_S)


def at_rest_after(lab, arm, since: int) -> float:
    """Seconds of the arm's time from its cycle `since` until it rested for good."""

    def resting() -> bool:
        recent = arm.cycles()[-300:]
        return recent["id"][0] >= since and np.abs(recent["dq_d"]).max() < STILL_RADPS

    lab.operator.until(resting, "rest", WAIT_S)
    cycles = arm.cycles()
    cycles = cycles[np.searchsorted(cycles["id"], since) :] if cycles["id"][0] < since else cycles
    fast = np.flatnonzero(np.abs(cycles["dq_d"]).max(axis=1) >= STILL_RADPS)
    return 1e-3 * int(fast[-1] + 1 if len(fast) else 0)


def test_streams_a_policy_without_reflex_or_violation(parts):
    lab, arm = parts
    stream(lab, arm)
    first, chunks, states = len(arm.cycles()), lab.chunks, len(lab.states)
    lab.operator.until(lambda: len(arm.cycles()) >= first + 6000, "6 s of the arm's time", 3 * WAIT_S)
    lab.operator.spin_for(1.5)
    assert arm.aborts() == []
    motion = commanded_motion(arm.cycles()[first:])
    assert motion.acceleration < 0.95 * FR3_LIMITS.ddq_max.max() and motion.jerk < 0.95 * FR3_LIMITS.dddq_max.max()
    travel = np.abs(np.diff(arm.cycles()[first:]["q"], axis=0)).sum(axis=0)
    assert travel.max() > 0.2 and lab.chunks > chunks + 5
    stamps = np.array([s.stamp_ns for _, s in lab.states[states:]])
    assert np.all(np.diff(stamps) > 0)
    assert lab.state.gripper_width_m == pytest.approx(0.08, abs=2e-3)
    assert lab.arm("phase") == "following" and lab.arm("mode") == "move" and float(lab.arm("success_rate_mean")) > 0.5


def test_a_killed_controller_leaves_an_arm_at_rest(parts):
    lab, arm = parts
    stream(lab, arm)
    since = int(arm.cycles()["id"][-1])
    os.kill(lab.runner.pid("controller"), signal.SIGKILL)
    assert at_rest_after(lab, arm, since) < 0.3
    lab.operator.until(lambda: lab.arm("phase") == "holding", "franka_arm to hold", WAIT_S)
    assert arm.aborts() == []
    lab.operator.diagnostics.pop("controller: control", None)
    lab.runner.restart("controller")
    lab.operator.until(lambda: lab.operator.active("controller: control"), "the controller to come back", WAIT_S)


def test_a_reflex_is_told_holds_and_ends_only_by_reset(parts):
    lab, arm = parts
    stream(lab, arm)
    arm.collide()
    lab.operator.until(lambda: lab.arm("phase") == "stopped", "the reflex in the diagnostics", WAIT_S)
    assert "cartesian_reflex" in lab.arm("errors") and lab.arm("mode") == "reflex"
    assert "franka_arm/reset" in lab.arm("message")
    count = len(arm.cycles())
    lab.operator.until(lambda: len(arm.cycles()) > count + 1500, "1.5 s of the arm's time", WAIT_S)
    after = arm.cycles()[count + 500 :]
    assert lab.arm("phase") == "stopped" and not after["in_motion"].any()
    assert np.ptp(after["q"], axis=0).max() < 2e-3
    lab.hold()
    answer = lab.operator.trigger("franka_arm/reset")
    assert answer.ok, answer.message
    assert not moving(arm)
    assert len(arm.aborts()) == 1
    lab.go_to(FR3_HOME_Q, 3.0)


def test_a_lost_arm_is_told_and_comes_back_only_by_reset(parts):
    lab, arm = parts
    lab.go_to(FR3_HOME_Q, 3.0)
    arm.end(signal.SIGKILL)
    lab.operator.until(lambda: lab.arm("phase") == "lost", "the loss in the diagnostics", WAIT_S)
    refused = lab.operator.trigger("franka_arm/reset")
    assert not refused.ok and ADDRESS in refused.message
    states = len(lab.states)
    arm.start()
    lab.operator.spin_for(1.0)
    assert lab.arm("phase") == "lost" and len(lab.states) == states
    answer = lab.operator.trigger("franka_arm/reset")
    assert answer.ok, answer.message
    lab.operator.until(lambda: len(lab.states) > states + 10, "joint states", WAIT_S)
    lab.go_to(FR3_HOME_Q, 4.0)


def test_ended_in_motion_it_leaves_a_resting_arm(parts):
    """The last test on this lab: franka_arm ends."""
    lab, arm = parts
    stream(lab, arm)
    aborts, since = len(arm.aborts()), int(arm.cycles()["id"][-1])
    os.kill(lab.runner.pid("franka_arm"), signal.SIGTERM)
    with pytest.raises(Exception, match="franka_arm ended with status 0"):
        lab.operator.until(lambda: False, "the end", WAIT_S)
    cycles = arm.cycles()
    last = cycles[cycles["id"] > since]
    assert np.abs(last["dq_d"][-1]).max() < STILL_RADPS and not last["in_motion"][-1]
    assert len(arm.aborts()) == aborts


def last_words(spec, tmp_path) -> str:
    with GraphRunner([spec], tmp_path) as runner:
        while (ended := runner.poll()) is None:
            pass
    assert ended.status == 2
    return ended.last_line


def test_it_refuses_to_start_in_a_bad_mode(strict, tmp_path):
    cell = write_cell(tmp_path / "cell.yaml")
    strict.collide()
    said = last_words(arm_node(cell, ADDRESS), tmp_path)
    assert "mode reflex (cartesian_reflex)" in said and "recover_at_start" in said


@pytest.mark.parametrize(
    ("address", "says"),
    [("127.0.0.99", "Connection to FCI refused"), ("", "the arm has no address; give the parameter `address`")],
)
def test_it_refuses_to_start_without_an_arm(tmp_path, address, says):
    assert says in last_words(arm_node(write_cell(tmp_path / "cell.yaml"), address), tmp_path)


def test_an_arm_that_is_taken_is_no_reason_to_wait_for_ever(strict, tmp_path):
    import franky

    holder = franky.Robot(ADDRESS, realtime_config=franky.RealtimeConfig.Ignore)
    said = last_words(arm_node(write_cell(tmp_path / "cell.yaml"), ADDRESS, connect_timeout_s=1.5), tmp_path)
    assert "no answer within 1.5 s; is another program connected" in said
    del holder

"""A person takes over from the running policy and hands back; the data set tells who moved the arm in every frame."""

import json
import time
from pathlib import Path

import numpy as np
import pytest
from graph_support import PATIENT, START_S, Watch, enable, node, sim_node
from std_msgs.msg import String
from trajectory_msgs.msg import JointTrajectory

from action_images_ros.cell import Cell
from action_images_ros.cli import main
from action_images_ros.control import Fr3Kinematics
from action_images_ros.recording.bag import Bag
from action_images_ros.recording.cdr import read_text
from action_images_ros.recording.lerobot_read import read_dataset
from action_images_ros.ros import commands, qos
from action_images_ros.ros.operator import Operator
from action_images_ros.ros.runner import GraphRunner

pq = pytest.importorskip("pyarrow.parquet")
MODEL = Path(__file__).resolve().parents[2] / "models" / "reach"
CODES = {"policy": 1, "teleoperation": 4}
COMMANDS = commands.ARM["joint_trajectory"]
REPORTS = ("sim_cell: cell", "denoiser: generate", "decoder: decode", "controller: control", "recorder: record")


def reach_the_policy(operator: Operator, watch: Watch) -> None:
    """Enable it and wait until the arm has moved by it."""
    enable(operator)
    began_s = time.monotonic()
    operator.until(lambda: watch.travel_rad(began_s) > 0.03, "motion by the policy", 60.0)


def take_over(operator: Operator, watch: Watch, cell: Cell, said: list[str]) -> np.ndarray:
    """Stop the policy, say so, turn the arm's base by hand-made commands, and hand back. Where the arm was put."""
    publisher = operator.node.create_publisher(JointTrajectory, COMMANDS.topic, qos.COMMAND)
    assert operator.enable(False).ok
    operator.until(lambda: watch.resting(), "the arm to rest", 30.0)
    operator.say("recorder/command", "control teleoperation")
    operator.until(lambda: said[-1] == "teleoperation", "who is in control", START_S)
    operator.until(lambda: publisher.get_subscription_count() >= 2, "cell and recorder at the commands", START_S)
    names = commands.Names(cell.arm.joints, cell.arm.fingers, cell.arm.base_frame)
    q = watch.state.q + np.array([0.25 * (-1 if watch.state.q[0] > 0 else 1), 0, 0, 0, 0, 0, 0])
    publisher.publish(COMMANDS.make(commands.ArmCommand(q, np.zeros(7), np.eye(4), 0, 1.5), names))
    operator.until(lambda: np.abs(watch.state.q - q).max() < 0.01 and watch.resting(), "the arm at its place", 30.0)
    operator.say("recorder/command", "control policy")
    operator.until(lambda: said[-1] == "policy", "who is in control", START_S)
    return q


def runs_of(codes: list[int], code: int) -> list[list[int]]:
    """[first, behind the last] of every run of a code that follows another one."""
    out = []
    for k in range(1, len(codes)):
        if codes[k] == code and codes[k - 1] != code:
            out.append([k, next((j for j in range(k, len(codes)) if codes[j] != code), len(codes))])
    return out


def test_a_correction_of_the_policy_is_told_frame_by_frame(cell_file, tmp_path):
    cell = Cell.load(cell_file)
    graph = [
        sim_node(cell_file, camera_rate_hz=5.0),
        node("denoiser", cell_file, model=str(MODEL), threads=1, max_rate_hz=2.5),
        node("decoder", cell_file, model=str(MODEL), overlay_rate_hz=0.0),
        node("controller", cell_file, speed_factor=0.4, **PATIENT),
        node("recorder", cell_file, out=str(tmp_path / "bags"), pre_roll_s=0.5, min_free_mb=10),
    ]
    said: list[str] = [""]
    with GraphRunner(graph, tmp_path / "log") as runner, Operator(on_wait=runner.require_running) as operator:
        watch = Watch(operator, cell)
        operator.node.create_subscription(String, "control_source", lambda m: said.append(m.data), qos.LATCHED)
        for report in REPORTS:
            operator.until(lambda r=report: operator.active(r), report, START_S)
        operator.until(lambda: watch.camera_stamp_ns > 0 and said[-1] == "policy", "cameras and decoder", START_S)
        operator.instruct(json.loads(operator.trigger("sim_cell/reset_scene").message)["instruction"])
        bag_directory = json.loads(operator.trigger("recorder/start").message)["directory"]
        reach_the_policy(operator, watch)
        said_ns = time.time_ns()
        q = take_over(operator, watch, cell, said)
        reach_the_policy(operator, watch)
        assert operator.trigger("recorder/stop").ok
    with Bag(bag_directory) as bag:
        spoken = [(m.log_time_ns, read_text(m.data)) for m in bag.messages(["/control_source"])]
    assert [word for _, word in spoken] == ["policy", "teleoperation", "policy"] and spoken[1][0] > said_ns

    out = tmp_path / "data"
    assert main(["dataset", bag_directory, "--out", str(out), "--fps", "5", "--max-gap", "5", "--no-report"]) == 0
    rows = pq.read_table(sorted(out.glob("data/*/*.parquet"))).to_pylist()
    assert len(rows) > 12
    for row in rows:
        # a picture may have been taken just before the pre-roll, where the first word stands
        in_control = ([spoken[0][1]] + [word for at_ns, word in spoken if at_ns <= row["observation.stamp_ns"]])[-1]
        assert row["control_source"] == CODES[in_control], row["observation.stamp_ns"]
    codes = [row["control_source"] for row in rows]
    assert [code for k, code in enumerate(codes) if k == 0 or codes[k - 1] != code] == [1, 4, 1]
    assert codes.count(4) >= 5
    put = [r["observation.joint_position"] for r in rows if r["control_source"] == 4][-1]
    np.testing.assert_allclose(put, q, atol=0.012)

    listed = sorted((r for p in out.glob("meta/episodes/*/*.parquet") for r in pq.read_table(p).to_pylist()),
                    key=lambda r: r["episode_index"])  # fmt: skip
    episodes = list(read_dataset(out))
    for row, episode in zip(listed, episodes, strict=True):
        own = [r["control_source"] for r in rows if r["episode_index"] == episode.index]
        assert json.loads(row["corrections"]) == runs_of(own, CODES["teleoperation"])
        for first, behind in runs_of(own, CODES["teleoperation"]):
            moved = episode.base_T_tcps[[first, behind - 1], :3, 3]
            assert np.linalg.norm(moved[1] - moved[0]) > 0.05
            np.testing.assert_allclose(moved[1], Fr3Kinematics().fk(q)[:3, 3], atol=0.01)

"""Through real nodes: expert, controller, recorder -> bag -> data set -> sample, equal to what a policy sees live;
recordings that are marked, discarded, killed."""

import json
import os
import signal
import time
from bisect import bisect_left
from functools import partial

import numpy as np
import pytest
from graph_support import PATIENT, START_S, node, sim_node
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import String

from action_images_ros.cell import Cell
from action_images_ros.cli import main
from action_images_ros.control import Fr3Kinematics
from action_images_ros.model.config import ModelConfig
from action_images_ros.model.frames import model_image
from action_images_ros.recording.bag import Bag
from action_images_ros.recording.cdr import header_stamp_ns
from action_images_ros.recording.lerobot_read import read_dataset
from action_images_ros.recording.repair import repair
from action_images_ros.ros import qos
from action_images_ros.ros.history import StateHistory
from action_images_ros.ros.messages import JointStateReader, image_from_message, stamp_to_ns
from action_images_ros.ros.operator import Operator
from action_images_ros.ros.runner import GraphRunner
from action_images_ros.ros.synchroniser import Synchroniser
from action_images_ros.training.data import load_episodes

pytest.importorskip("pyarrow")
FK = Fr3Kinematics().fk
SEED = 3


class LivePreprocessing:
    """What the denoiser makes of the topics before the model: model images, TCP pose and openness of every set."""

    def __init__(self, operator: Operator, cell: Cell, config: ModelConfig) -> None:
        self._cell, self._config, self._node = cell, config, operator.node
        self._sync = Synchroniser(cell.view_names, cell.sync.max_skew_s, cell.sync.max_age_s)
        self._reader = JointStateReader(cell.arm.joints, cell.arm.fingers)
        self.history, self.images = StateHistory(100_000), {}
        self._node.create_subscription(JointState, "/joint_states", self._on_state, qos.TRUTH)
        for view in cell.views:
            self._node.create_subscription(Image, view.image_topic, partial(self._on_image, view.name), qos.IMAGE_IN)

    def _on_state(self, msg: JointState) -> None:
        state = self._reader.read(msg)
        if state is not None:
            self.history.add(state)

    def _on_image(self, view: str, msg: Image) -> None:
        now_ns = self._node.get_clock().now().nanoseconds
        found = self._sync.add(view, stamp_to_ns(msg.header.stamp), msg, now_ns)
        if found is not None:
            pictures = [model_image(image_from_message(m), self._config.image_size) for m in found.payloads]
            self.images[min(found.stamps_ns)] = np.stack(pictures)


def recorder(cell_file, out, **parameters):
    return node("recorder", cell_file, out=str(out), pre_roll_s=0.5, min_free_mb=10, **parameters)


def required_heard(operator: Operator) -> bool:
    message = operator.diagnostics.get("recorder: record", {}).get("message", "nobody publishes")
    return not any(word in message for word in ("nobody publishes", "nothing has come", "not active"))


def answer(operator: Operator, service: str) -> dict:
    reply = operator.trigger(service)
    assert reply.ok, reply.message
    return json.loads(reply.message)


def around(stamps: list[int], t: int) -> list[int]:
    """The joint states between which t lies: a busy machine may keep some from one process or the other."""
    k = bisect_left(stamps, t)
    return stamps[max(k - 1, 0) : k + 1]


def test_an_expert_recorded_through_the_nodes_trains_on_what_a_policy_sees(cell_file, tmp_path):
    cell, config = Cell.load(cell_file), ModelConfig()
    graph = [
        sim_node(cell_file),
        node("controller", cell_file, speed_factor=1.0, **PATIENT),
        node("expert", cell_file, seed=SEED),
        recorder(cell_file, tmp_path / "bags"),
    ]
    with GraphRunner(graph, tmp_path / "log") as runner, Operator(on_wait=runner.require_running) as operator:
        for report in ("sim_cell: cell", "controller: control", "expert: show", "recorder: record"):
            operator.until(lambda r=report: operator.active(r), report, START_S)
        live = LivePreprocessing(operator, cell, config)
        operator.until(lambda: required_heard(operator), "every stream at the recorder", START_S)
        scene = answer(operator, "sim_cell/reset_scene")
        operator.instruct(scene["instruction"])
        operator.spin_for(1.5)
        directory = answer(operator, "recorder/start")["directory"]
        operator.until(lambda: operator.enable().ok or not operator.trigger("reset").ok, "the controller", 30.0)
        operator.until(
            lambda: (v := operator.verdict) and v.episode == scene["episode"] and v.outcome != "pending",
            "the verdict", 200.0,
        )  # fmt: skip
        answer(operator, f"recorder/{operator.verdict.outcome}")
        told = answer(operator, "recorder/stop")
        outcome = operator.verdict.outcome
    assert told["directory"] == directory and told["messages"] > 100
    assert main(["dataset", directory, "--out", str(tmp_path / "data"), "--video", "lossless", "--max-gap", "5",
                 "--fps", "10", "--no-report"]) == 0  # fmt: skip
    recorded = list(read_dataset(tmp_path / "data"))
    assert {e.instruction for e in recorded} == {scene["instruction"]} and {e.success for e in recorded} == {outcome}
    with Bag(directory) as bag:
        in_bag = sorted(header_stamp_ns(m.data) for m in bag.messages(["/joint_states"]))
    heard = [s.stamp_ns for s in live.history.all()]
    same = 0
    for e in recorded:
        pictures = [np.stack([model_image(f, config.image_size) for f in views])
                    for views in zip(*(e.frames(v) for v in e.cameras))]  # fmt: skip
        for k, stamp_ns in enumerate(map(int, e.stamps_ns)):
            state = live.history.at(stamp_ns)
            if stamp_ns in live.images and around(in_bag, stamp_ns) == around(heard, stamp_ns):
                np.testing.assert_array_equal(pictures[k], live.images[stamp_ns])
                np.testing.assert_allclose(e.base_T_tcps[k], FK(state.q), atol=5e-6)
                assert abs(e.openness[k] - np.clip(state.gripper_width_m / 0.08, 0, 1)) < 1e-6
                same += 1
    assert same >= 5, f"{same} common sets out of {sum(len(e.openness) for e in recorded)} and {len(live.images)}"
    if outcome == "success":
        episodes = load_episodes(tmp_path / "data", None, config)
        first = {e.images[0].tobytes() for e in episodes}
        assert first <= {np.stack(p).tobytes() for p in pictures} and len(episodes) == 4 * len(recorded)


def test_start_stop_marks_discard_and_a_kill(cell_file, tmp_path):
    graph = [sim_node(cell_file), recorder(cell_file, tmp_path / "bags", topics="/noise")]
    with GraphRunner(graph, tmp_path / "log") as runner, Operator(on_wait=runner.require_running) as operator:
        commands = operator.node.create_publisher(String, "recorder/command", qos.STATE)
        noise = operator.node.create_publisher(String, "/noise", qos.TRUTH)
        operator.until(lambda: operator.active("recorder: record"), "the recorder", START_S)
        operator.until(lambda: required_heard(operator), "every stream at the recorder", START_S)
        operator.until(lambda: noise.get_subscription_count() == 1, "the recorder on /noise", START_S)
        assert not operator.trigger("recorder/stop").ok and not operator.trigger("recorder/success").ok
        gone = answer(operator, "recorder/start")["directory"]
        assert not operator.trigger("recorder/start").ok
        answer(operator, "recorder/discard")
        assert not os.path.exists(gone)

        commands.publish(String(data="start named"))
        operator.until(lambda: (tmp_path / "bags/named/metadata.yaml").is_file(), "the recording `named`", START_S)
        sent = [f"message {k}" for k in range(200)]
        for text in sent:
            noise.publish(String(data=text))
            operator.spin_for(0.005)
        commands.publish(String(data="control human"))
        commands.publish(String(data="note a word"))
        marks = []
        operator.node.create_subscription(String, "recorder/marks", marks.append, qos.EVENTS)
        operator.until(lambda: marks, "the note", START_S)
        answer(operator, "recorder/failure")
        answer(operator, "recorder/stop")
        with Bag(tmp_path / "bags/named") as bag:
            assert "cell.yaml" in bag.attachments and not bag.torn
            from action_images_ros.recording.cdr import read_text

            assert [read_text(m.data) for m in bag.messages(["/noise"])] == sent
            said = [json.loads(read_text(m.data))["mark"] for m in bag.messages(["/recorder/marks"])]
            assert said == ["note", "failure"]
            assert [read_text(m.data) for m in bag.messages(["/control_source"])] == ["human"]

        killed = answer(operator, "recorder/start")["directory"]
        states = []
        operator.node.create_subscription(JointState, "/joint_states", states.append, qos.STATE)
        operator.until(lambda: len(states) > 200, "two hundred joint states", START_S)
        operator.on_wait = lambda: None
        os.kill(runner.pid("recorder"), signal.SIGKILL)
        killed_ns = time.time_ns()
        assert repair(tmp_path / "bags" / os.path.basename(killed)).changed
        with Bag(killed) as bag:
            last = max(header_stamp_ns(m.data) for m in bag.messages(["/joint_states"]))
            assert not bag.torn
        seen = [stamp_to_ns(m.header.stamp) for m in states]
        assert 1e-9 * (min(killed_ns, max(seen)) - last) < 1.0

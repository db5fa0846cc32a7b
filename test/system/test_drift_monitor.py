"""The drift monitor as a process: pictures of a working arm, then of a camera that was knocked.

Pictures come as fast as it can look at them, with the stamps of one a second: time is ROS time here.
"""

import json

import numpy as np
import pytest
from graph_support import START_S, node
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import Bool, String

from action_images_ros.bench.drift import Operation, knocked
from action_images_ros.cell import Calibration, Cell, View, WorkspaceBox
from action_images_ros.ros import qos
from action_images_ros.ros.messages import image_message, joint_state_message
from action_images_ros.ros.operator import Operator
from action_images_ros.ros.runner import GraphRunner
from action_images_ros.types import RobotState

SIZE = (480, 360)
BEGIN_NS = 10**18


@pytest.fixture(scope="module")
def operation():
    made = Operation(np.random.default_rng(2), SIZE, views=2)
    yield made
    made.sim.close()


class Work:
    """Publishes what the cell shows, waits for the monitor to look at each picture."""

    def __init__(self, operator: Operator, cell: Cell, operation: Operation) -> None:
        self._operator, self._operation, self._time_s, self._sent = operator, operation, 0.0, 0
        self.heard: list[dict] = []
        create = operator.node.create_publisher
        self._images = {v.name: create(Image, v.image_topic, qos.IMAGE_OUT) for v in cell.views}
        self._joints = create(JointState, "/joint_states", qos.STATE)
        self._fingers = cell.arm.fingers
        operator.node.create_subscription(String, "drift_monitor/state", self._on_state, qos.LATCHED)
        self.ok = []
        operator.node.create_subscription(Bool, "calibration_ok", lambda m: self.ok.append(m.data), qos.LATCHED)

    def _on_state(self, msg: String) -> None:
        self.heard.append(json.loads(msg.data))

    def _all_looked_at(self) -> bool:
        return self.heard[-1]["pictures"] >= self._sent

    def ready(self) -> bool:
        return bool(self.heard) and all(p.get_subscription_count() for p in (self._joints, *self._images.values()))

    def seconds(self, duration_s: float) -> None:
        for t, q, images in self._operation.frames(duration_s, 1.0):
            stamp_ns = BEGIN_NS + round(1e9 * (self._time_s + t))
            self._joints.publish(joint_state_message(_state(q, stamp_ns), self._fingers))
            for view, image in images.items():
                self._images[view].publish(image_message(image, "rgb8", stamp_ns, view))
            self._sent += len(images)
            self._operator.until(self._all_looked_at, "the monitor to look at its pictures", START_S)
            if self.heard[-1]["alarms"]:
                break
        self._time_s += duration_s


def _state(q: np.ndarray, stamp_ns: int) -> RobotState:
    return RobotState(q, np.zeros(7), 0.04, stamp_ns)


def test_a_knocked_camera_is_named_and_nothing_is_trusted_until_reset(operation, tmp_path):
    sure = Calibration("2026-05-26", "simulated", 0.0)
    views = tuple(View(n, f"/camera/{n}", f"sim-{n}", c, sure) for n, c in operation.cameras.items())
    cell = Cell("watched", views, WorkspaceBox((0.2, -0.5, 0.0), (0.8, 0.5, 0.8)))
    cell.save(tmp_path / "cell.yaml")
    graph = [node("drift_monitor", tmp_path / "cell.yaml")]
    with GraphRunner(graph, tmp_path / "log") as runner, Operator(on_wait=runner.require_running) as operator:
        work = Work(operator, cell, operation)
        operator.until(work.ready, "the drift monitor", START_S)
        work.seconds(35.0)
        assert {v["status"] for v in work.heard[-1]["views"].values()} == {"steady"}
        assert work.heard[-1]["alarms"] == {} and work.ok[-1] is True

        rng = np.random.default_rng(5)
        operation.move_camera("right", knocked(rng, operation.cameras["right"], 8.0, 0.8))
        work.seconds(60.0)
        state = work.heard[-1]
        assert list(state["alarms"]) == ["right"] and not state["ok"]
        operator.until(lambda: work.ok[-1] is False, "calibration_ok to be false", START_S)
        assert "right: the camera moved" in state["alarms"]["right"]
        told = operator.diagnostics
        operator.until(lambda: "moved" in told["drift_monitor: drift"]["message"], "diagnostics", START_S)

        assert operator.trigger("drift_monitor/reset").ok
        operator.until(lambda: work.ok[-1] is True, "calibration_ok to be true again", START_S)

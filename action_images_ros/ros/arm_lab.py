"""The controller and franka_arm as processes, a policy beside them, and whoever watches.

For an arm of which there are no cameras: exposures are announced without pictures, so that the controller sees fresh
frames, and the policy's chunks go out as `targets`, each a random latency after the observation that it is of.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from sensor_msgs.msg import CameraInfo, JointState
from trajectory_msgs.msg import MultiDOFJointTrajectory

from ..cell import Cell
from ..control import Fr3Kinematics, StopPath
from ..types import ActionChunk, RobotState
from . import commands, qos
from .messages import JointStateReader, camera_info_message, chunk_message
from .node_spec import NodeSpec
from .operator import Operator
from .runner import GraphRunner

_CAMERA_HZ = 10.0
_START_S = 60.0
_THERE_RAD = 0.01
PATIENT = {
    "watchdog.states_s": 2.0,
    "watchdog.frames_s": 5.0,
    "watchdog.command_s": 1.0,
    "watchdog.clock_jump_s": 1.0,
    "watchdog.tracking_rad": 0.0,
}
"""A controller beside a simulator that may be slower than real time: what a busy processor delays is no fault."""


class ArmLab:
    """Use `running_arm_lab`."""

    def __init__(self, runner: GraphRunner, operator: Operator, cell: Cell) -> None:
        self.runner, self.operator, self.cell = runner, operator, cell
        self.kinematics = Fr3Kinematics()
        self.states: list[tuple[float, RobotState]] = []
        self.chunks = 0
        self._observe: Callable[[np.ndarray, int], ActionChunk] | None = None
        self._due: tuple[float, ActionChunk] | None = None
        self._reader = JointStateReader(cell.arm.joints, cell.arm.fingers)
        node, arm = operator.node, commands.ARM["joint_trajectory"]
        self.names = commands.Names(cell.arm.joints, cell.arm.fingers, cell.arm.base_frame)
        node.create_subscription(JointState, "/joint_states", self._on_state, qos.STATE)
        self._command: Any = node.create_publisher(arm.message, arm.topic, qos.COMMAND)
        self._targets = node.create_publisher(MultiDOFJointTrajectory, "targets", qos.TARGETS)
        self._infos = [(v, node.create_publisher(CameraInfo, v.info_topic, qos.STATE)) for v in cell.views]
        node.create_timer(1.0 / _CAMERA_HZ, self._expose)
        node.create_timer(0.02, self._play)

    @property
    def state(self) -> RobotState:
        return self.states[-1][1]

    def _on_state(self, msg: JointState) -> None:
        state = self._reader.read(msg)
        if state is not None:
            self.states.append((time.monotonic(), state))

    def _now_ns(self) -> int:
        return self.operator.node.get_clock().now().nanoseconds

    def _expose(self) -> None:
        stamp_ns = self._now_ns()
        for view, publisher in self._infos:
            publisher.publish(camera_info_message(view.camera, stamp_ns, view.frame_id))

    def _play(self) -> None:
        if self._due is not None and time.monotonic() >= self._due[0]:
            self._targets.publish(chunk_message(self._due[1], self.names.base_frame))
            self.chunks += 1
            self._due = None
        if self._observe is not None and self._due is None and self.states:
            chunk = self._observe(self.kinematics.fk(self.state.q), self.state.stamp_ns)
            self._due = (time.monotonic() + self._rng.uniform(*self._latency_s), chunk)

    def play(
        self, observe: Callable[[np.ndarray, int], ActionChunk], latency_s: tuple[float, float], seed: int = 0
    ) -> None:
        """From now on publish what observe(base_T_tcp, stamp_ns) says, a random latency (s) later; one at a time."""
        self._rng, self._latency_s, self._observe = np.random.default_rng(seed), latency_s, observe

    def hold(self) -> None:
        """No more chunks, and the controller sends nothing any more."""
        self._observe = self._due = None
        self.operator.trigger("stop")
        self.operator.spin_for(0.5)

    def enable(self, timeout_s: float = 30.0) -> None:
        """Enable the controller; after a reset where it is in fault."""
        end_s = time.monotonic() + timeout_s
        while not (answer := self.operator.enable()).ok and time.monotonic() < end_s:
            if "fault" in answer.message:
                self.operator.trigger("reset")
            self.operator.spin_for(0.1)
        self.operator.until(lambda: answer.ok, f"the controller to be enabled ({answer.message})", 0.1)

    def go_to(self, q: np.ndarray, duration_s: float, timeout_s: float = 120.0) -> None:
        """Drive the arm to joints (7,) in duration_s of its own time, as any other sender of trajectories would."""
        kind = commands.ARM["joint_trajectory"]
        self.operator.until(lambda: self._command.get_subscription_count() > 0, "franka_arm to listen", _START_S)
        stop = StopPath(np.array([0.1]), np.asarray(q, float)[None], np.zeros((1, 7)))
        command = commands.ArmCommand(q, np.zeros(7), np.eye(4), self._now_ns(), duration_s, stop)
        self._command.publish(kind.make(command, self.names))
        self.operator.until(
            lambda: np.abs(self.state.q - q).max() < _THERE_RAD, f"the arm at {np.round(q, 2).tolist()}", timeout_s
        )

    def arm(self, key: str) -> str:
        """A value of franka_arm's diagnostics."""
        return self.operator.diagnostics.get("franka_arm: arm", {}).get(key, "")


def arm_node(cell_file: Path, address: str, **parameters: object) -> NodeSpec:
    """franka_arm before a simulator: no real-time kernel; its servo has no position loop in velocity control, so that
    the measured joints have to lead."""
    given = {"cell": str(cell_file), "address": address, "realtime": "ignore", "follower.lean_rad": 0.5}
    return NodeSpec("franka_arm", "franka_arm", parameters=given | parameters)


@contextmanager
def running_arm_lab(
    cell_file: Path, address: str, log_dir: Path, arm: dict | None = None, controller: dict | None = None
) -> Iterator[ArmLab]:
    """An ArmLab whose two nodes are active. arm, controller: parameters that replace the lab's."""
    given = {"cell": str(cell_file), "speed_factor": 1.0, **PATIENT, **(controller or {})}
    graph = [
        arm_node(cell_file, address, **(arm or {})),
        NodeSpec("controller", "controller", parameters=given, required=False),
    ]
    with GraphRunner(graph, log_dir) as runner, Operator(on_wait=runner.require_running) as operator:
        lab = ArmLab(runner, operator, Cell.load(cell_file))
        operator.until(lambda: len(lab.states) > 10, "joint states of franka_arm", _START_S)
        operator.until(lambda: operator.active("controller: control"), "the controller", _START_S)
        yield lab

"""An operator's hand on the arm: drives it to joints through the same command topic that the controller uses."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from sensor_msgs.msg import JointState

from ..cell import Arm
from ..control import Fr3Kinematics, StopPath
from ..types import RobotState
from . import commands, qos
from .messages import JointStateReader
from .operator import Operator

_PERIOD_S = 0.02
_LEAD_S = 0.06
_THERE_RAD = 0.01
_THERE_M = 0.005
_MATCH_S = 20.0
_SLOWEST = 10.0


class ArmDrive:
    """command_interface: what the arm listens to. The controller must be silent meanwhile: disabled or stopped."""

    def __init__(self, operator: Operator, arm: Arm, command_interface: str = "joint_trajectory") -> None:
        self._operator, self._kind = operator, commands.ARM[command_interface]
        self._names = commands.Names(arm.joints, arm.fingers, arm.base_frame)
        self._kinematics = Fr3Kinematics()
        self._reader = JointStateReader(arm.joints, arm.fingers)
        self._publisher: Any = operator.node.create_publisher(self._kind.message, self._kind.topic, qos.COMMAND)
        operator.node.create_subscription(JointState, "/joint_states", self._on_state, qos.STATE)
        self.state: RobotState | None = None

    def _on_state(self, msg: JointState) -> None:
        self.state = self._reader.read(msg) or self.state

    def go_to(self, q: np.ndarray, speed_radps: float = 0.4) -> None:
        """Come to joints (7,) (or to their pose), the fastest one at speed_radps at most.

        Raises TransportError where that fails.
        """
        operator, q = self._operator, np.asarray(q, float)
        operator.until(lambda: self._publisher.get_subscription_count() > 0, "an arm that listens", _MATCH_S)
        operator.until(lambda: self.state is not None, "joint states", _MATCH_S)
        assert self.state is not None, "waited for"
        start = np.array(self.state.q)
        lasts_s = 1.9 * float(np.abs(q - start).max()) / speed_radps + 0.5
        began_s = sent_s = time.monotonic()

        def there() -> bool:
            nonlocal sent_s
            now_s = time.monotonic()
            if now_s - sent_s >= _PERIOD_S:
                sent_s = now_s
                self._send(start, q, now_s - began_s, lasts_s)
            return now_s - began_s > lasts_s and self._is_at(q)

        operator.until(there, f"the arm at {np.round(q, 2).tolist()}", _SLOWEST * lasts_s + _MATCH_S)

    def _is_at(self, q: np.ndarray) -> bool:
        """A Cartesian command leaves the elbow to the arm: there the pose decides."""
        assert self.state is not None, "waited for"
        if self._kind is not commands.ARM["cartesian_pose"]:
            return bool(np.abs(self.state.q - q).max() < _THERE_RAD)
        off = self._kinematics.fk(self.state.q) - self._kinematics.fk(q)
        return bool(np.abs(off[:3, 3]).max() < _THERE_M and np.abs(off[:3, :3]).max() < _THERE_RAD)

    def _send(self, start: np.ndarray, goal: np.ndarray, at_s: float, lasts_s: float) -> None:
        u = min(at_s / lasts_s, 1.0)
        q = start + u**3 * (10.0 - 15.0 * u + 6.0 * u * u) * (goal - start)
        dq = 30.0 * u * u * (1.0 - u) ** 2 / lasts_s * (goal - start)
        stop = StopPath(np.array([0.15]), (q + 0.075 * dq)[None], np.zeros((1, 7)))
        stamp_ns = self._operator.node.get_clock().now().nanoseconds
        command = commands.ArmCommand(q, dq, self._kinematics.fk(q), stamp_ns, _LEAD_S, stop)
        self._publisher.publish(self._kind.make(command, self._names))

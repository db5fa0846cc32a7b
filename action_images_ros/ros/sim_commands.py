"""The command topics of the simulated cell: every interface of the arm and of the gripper, all at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from geometry_msgs.msg import PoseStamped
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray
from trajectory_msgs.msg import JointTrajectory

from ..control import Kinematics
from ..errors import ActionImagesError
from . import commands, qos
from .messages import pose_from_message
from .setpoint import JointSetpoint, nearest_joints, require_reachable


class SimCommands:
    """Subscribes, and hands every command that can be obeyed to `put(act)`; act(at_s) is called at its instant.

    setpoint: what arm commands change. grip(width_m): moves the gripper, clipped to what it has.
    """

    def __init__(
        self,
        node,
        names: commands.Names,
        kinematics: Kinematics,
        setpoint: JointSetpoint,
        grip: Callable[[float], None],
        put: Callable[[Callable[[float], None]], None],
    ) -> None:
        self._node, self._kinematics, self._setpoint, self._put = node, kinematics, setpoint, put
        arm, gripper, joints = commands.ARM, commands.GRIPPER, names.joints

        def width(width_m: float) -> None:
            width_m = float(np.clip(width_m, 0.0, commands.MAX_WIDTH_M))
            put(lambda at_s: grip(width_m))

        listen: dict[commands.CommandInterface | commands.GripperTopic, Callable[[Any], None]] = {
            arm["joint_trajectory"]: lambda m: self._follow(
                *commands.read_joint_trajectory(m, joints), commands.read_joint_velocities(m, joints)
            ),
            arm["joint_target"]: lambda m: self._jump(commands.read_joint_target(m, joints)),
            arm["joint_positions"]: lambda m: self._jump(commands.read_values(m, 7, "joint positions")),
            arm["cartesian_pose"]: lambda m: self._go(pose_from_message(m, names.base_frame)),
            gripper["position"]: lambda m: width(
                commands.read_values(m, 1, "gripper position")[0] * commands.MAX_WIDTH_M
            ),
            gripper["finger_positions"]: lambda m: width(commands.read_values(m, 2, "finger positions").sum()),
            gripper["position_trajectory"]: lambda m: width(
                commands.read_joint_trajectory(m, names.fingers)[1][-1].sum()
            ),
        }
        for interface, act in listen.items():
            node.create_subscription(
                interface.message, interface.topic, self._guarded(interface.topic, act), qos.COMMAND
            )

    def _guarded(self, topic: str, act: Callable[[object], None]) -> Callable[[object], None]:
        """A bad command is refused, said, and changes nothing."""

        def callback(msg: JointTrajectory | JointState | Float64MultiArray | PoseStamped) -> None:
            try:
                act(msg)
            except ActionImagesError as error:
                self._node.get_logger().warning(f"refused on {topic}: {error}", throttle_duration_sec=1.0)

        return callback

    def _follow(self, times_s: np.ndarray, q: np.ndarray, dq: np.ndarray | None) -> None:
        require_reachable(self._kinematics.limits, q)
        self._put(lambda at_s: self._setpoint.follow(times_s, q, at_s, dq))

    def _jump(self, q: np.ndarray) -> None:
        require_reachable(self._kinematics.limits, q)
        self._put(lambda at_s: self._setpoint.jump(q, at_s))

    def _go(self, base_T_tcp: np.ndarray) -> None:
        self._jump(nearest_joints(self._kinematics, base_T_tcp, self._setpoint.at(float("inf"))))

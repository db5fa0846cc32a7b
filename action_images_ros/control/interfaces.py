"""What the arm and the gripper are told, by interface: plain values for messages, no message types.

Each interface is described once (`COMMAND_MESSAGES`, `GRIPPER_MESSAGES`): message type, default topic
or action, and whether it needs a package that a bare machine lacks. The payload functions return
dictionaries whose keys are that message's field names; ROS durations are seconds under `*_s`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np

from ..errors import ControlError
from ..geometry.se3 import quat_from_matrix
from .controller import ControlOutput

FR3_JOINT_NAMES = tuple(f"fr3_joint{i}" for i in range(1, 8))
FR3_FINGER_NAMES = ("fr3_finger_joint1", "fr3_finger_joint2")


class CommandInterface(Enum):
    """How joint or Cartesian commands reach the arm."""

    JOINT_TRAJECTORY = "joint_trajectory"
    JOINT_TARGET = "joint_target"
    JOINT_POSITIONS = "joint_positions"
    CARTESIAN_POSE = "cartesian_pose"


class GripperInterface(Enum):
    """How the gripper is told to open or close."""

    POSITION = "position"
    POSITION_TRAJECTORY = "position_trajectory"
    NORMALISED = "normalised"
    GRIPPER_COMMAND = "gripper_command"
    FRANKA_GRIPPER = "franka_gripper"


@dataclass(frozen=True)
class Endpoint:
    """message: package/Type (for an action: its type). topic: the name that stacks use, remappable.
    action: an action server instead of a topic. extra_package: must be installed besides the common
    interfaces, "" when it is among them. queue_depth: of the publisher."""

    message: str
    topic: str
    action: bool = False
    extra_package: str = ""
    queue_depth: int = 1


COMMAND_MESSAGES: dict[CommandInterface, Endpoint] = {
    CommandInterface.JOINT_TRAJECTORY: Endpoint("trajectory_msgs/JointTrajectory",
                                                "/fr3_arm_controller/joint_trajectory"),
    CommandInterface.JOINT_TARGET: Endpoint("sensor_msgs/JointState", "target_joint"),
    CommandInterface.JOINT_POSITIONS: Endpoint("std_msgs/Float64MultiArray", "/joint_position_controller/commands"),
    CommandInterface.CARTESIAN_POSE: Endpoint("geometry_msgs/PoseStamped", "target_pose"),
}
"""ros2_control's joint trajectory controller; CRISP joint target; forward position controller; CRISP pose target."""

GRIPPER_MESSAGES: dict[GripperInterface, Endpoint] = {
    GripperInterface.POSITION: Endpoint("std_msgs/Float64MultiArray", "/gripper_position_controller/commands"),
    GripperInterface.POSITION_TRAJECTORY: Endpoint("trajectory_msgs/JointTrajectory",
                                                   "/gripper_trajectory_controller/joint_trajectory"),
    GripperInterface.NORMALISED: Endpoint("std_msgs/Float64MultiArray",
                                          "/gripper/gripper_position_controller/commands"),
    GripperInterface.GRIPPER_COMMAND: Endpoint("control_msgs/GripperCommand", "/franka_gripper/gripper_action", True,
                                               "control_msgs"),
    GripperInterface.FRANKA_GRIPPER: Endpoint("franka_msgs/Grasp", "/franka_gripper/grasp", True, "franka_msgs"),
}
"""Finger positions; the same as a trajectory; CRISP's 0..1; GripperCommand; franka_ros2's own grasp and move."""


@dataclass(frozen=True)
class GripperForce:
    """speed_mps and force_n of the hand; grasp_tolerance_m: how far from the asked width an object may stop the
    fingers and still count as grasped."""

    speed_mps: float = 0.1
    force_n: float = 20.0
    grasp_tolerance_m: float = 0.08


def command_payload(interface: CommandInterface, output: ControlOutput, period_s: float,
                    joint_names: tuple[str, ...] = FR3_JOINT_NAMES, base_frame: str = "fr3_link0") -> dict:
    """Field values of one command message. Raises ControlError where the output commands nothing.

    joint_trajectory: one point, due after two control periods, so that the next one replaces it before it
    is reached. cartesian_pose: position m and orientation xyzw of the TCP in base_frame.
    """
    if output.q_command is None:
        raise ControlError(f"nothing to send: the controller is {output.state.value} and commands no motion")
    q, dq = output.q_command.tolist(), output.dq_command.tolist()
    if interface is CommandInterface.JOINT_TRAJECTORY:
        point = {"positions": q, "velocities": dq, "time_from_start_s": 2.0 * period_s}
        return {"joint_names": list(joint_names), "points": [point]}
    if interface is CommandInterface.JOINT_TARGET:
        return {"name": list(joint_names), "position": q, "velocity": dq}
    if interface is CommandInterface.JOINT_POSITIONS:
        return {"data": q}
    pose = output.base_T_tcp_command
    orientation = quat_from_matrix(pose[:3, :3]).tolist()
    return {"frame_id": base_frame, "position": pose[:3, 3].tolist(), "orientation": orientation}


def gripper_payload(interface: GripperInterface, width_m: float, max_width_m: float = 0.08,
                    force: GripperForce = GripperForce(), move_time_s: float = 1.0,
                    finger_names: tuple[str, ...] = FR3_FINGER_NAMES) -> dict:
    """Field values of one gripper command for a total opening width_m.

    Finger joints and GripperCommand take half the opening each; normalised 0 is closed, 1 open.
    franka_gripper: closing is a grasp, opening a move (`action` says which).
    """
    if not np.isfinite(width_m) or not 0.0 <= width_m <= max_width_m:
        raise ControlError(f"gripper width is {width_m} m; legal: 0 to {max_width_m} m")
    half = 0.5 * width_m
    if interface is GripperInterface.POSITION:
        return {"data": [half] * len(finger_names)}
    if interface is GripperInterface.POSITION_TRAJECTORY:
        point = {"positions": [half] * len(finger_names), "velocities": [], "time_from_start_s": move_time_s}
        return {"joint_names": list(finger_names), "points": [point]}
    if interface is GripperInterface.NORMALISED:
        return {"data": [width_m / max_width_m]}
    if interface is GripperInterface.GRIPPER_COMMAND:
        return {"command": {"position": half, "max_effort": force.force_n}}
    if width_m >= 0.5 * max_width_m:
        return {"action": "move", "width": width_m, "speed": force.speed_mps}
    tolerance = {"inner": force.grasp_tolerance_m, "outer": force.grasp_tolerance_m}
    return {"action": "grasp", "width": width_m, "speed": force.speed_mps, "force": force.force_n, "epsilon": tolerance}

"""The command topics of the arm and the gripper: their names, message types, and both directions of conversion.

One table serves the controller, which sends, and the simulated cell, which listens.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from geometry_msgs.msg import PoseStamped
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from ..control import StopPath
from ..errors import TransportError
from .messages.stamps import duration_from_ns, stamp_from_ns, stamp_to_ns
from .messages.transforms import pose_message

MAX_WIDTH_M = 0.08


@dataclass(frozen=True, eq=False)
class ArmCommand:
    """What one control tick sends. lead_s: when the arm should be there. stop: what it should do after that if no
    further command comes; None when it rests there."""

    q: np.ndarray
    dq: np.ndarray
    base_T_tcp: np.ndarray
    stamp_ns: int
    lead_s: float
    stop: StopPath | None = None


@dataclass(frozen=True)
class Names:
    """Joints and base frame as the cell file names them."""

    joints: tuple[str, ...]
    fingers: tuple[str, ...]
    base_frame: str


@dataclass(frozen=True)
class CommandInterface:
    """topic (relative, remappable), message type and `make(command, names)`."""

    topic: str
    message: type
    make: Callable[[ArmCommand, Names], object]


def _joint_trajectory(command: ArmCommand, names: Names) -> JointTrajectory:
    """Stamp zero: start at once. The command, then a stop: an arm that no further command reaches comes to rest inside
    its limits, and the trajectory ends at rest, which newer joint trajectory controllers insist on."""
    msg = JointTrajectory(joint_names=list(names.joints))
    stop = command.stop
    msg.points.append(_point(command.lead_s, command.q, command.dq if stop is not None else np.zeros_like(command.q)))
    if stop is not None:
        msg.points += [_point(command.lead_s + t, *state) for t, *state in zip(stop.times_s, stop.q, stop.dq)]
    return msg


def _point(time_s: float, q: np.ndarray, dq: np.ndarray) -> JointTrajectoryPoint:
    return JointTrajectoryPoint(
        positions=_floats(q), velocities=_floats(dq), time_from_start=duration_from_ns(round(1e9 * time_s))
    )


def _joint_target(command: ArmCommand, names: Names) -> JointState:
    msg = JointState(name=list(names.joints), position=_floats(command.q), velocity=_floats(command.dq))
    msg.header.stamp, msg.header.frame_id = stamp_from_ns(command.stamp_ns), names.base_frame
    return msg


def _joint_positions(command: ArmCommand, names: Names) -> Float64MultiArray:
    return Float64MultiArray(data=_floats(command.q))


def _cartesian_pose(command: ArmCommand, names: Names) -> PoseStamped:
    return pose_message(command.base_T_tcp, command.stamp_ns, names.base_frame)


ARM: dict[str, CommandInterface] = {
    "joint_trajectory": CommandInterface("fr3_arm_controller/joint_trajectory", JointTrajectory, _joint_trajectory),
    "joint_target": CommandInterface("target_joint", JointState, _joint_target),
    "joint_positions": CommandInterface("joint_position_controller/commands", Float64MultiArray, _joint_positions),
    "cartesian_pose": CommandInterface("target_pose", PoseStamped, _cartesian_pose),
}
"""By value of `command_interface`."""


@dataclass(frozen=True)
class GripperTopic:
    """A gripper that listens to a topic; `make(width_m, names)`."""

    topic: str
    message: type
    make: Callable[[float, Names], object]


def _gripper_position(width_m: float, names: Names) -> Float64MultiArray:
    """CRISP's convention: 0 closed, 1 open."""
    return Float64MultiArray(data=[float(np.clip(width_m / MAX_WIDTH_M, 0.0, 1.0))])


def _gripper_trajectory(width_m: float, names: Names) -> JointTrajectory:
    msg = JointTrajectory(joint_names=list(names.fingers))
    msg.points.append(
        JointTrajectoryPoint(positions=[width_m / 2, width_m / 2], time_from_start=duration_from_ns(10**8))
    )
    return msg


def _finger_positions(width_m: float, names: Names) -> Float64MultiArray:
    """A position controller of the finger joints: each finger's own way (m), half of the opening."""
    return Float64MultiArray(data=[width_m / 2] * len(names.fingers))


GRIPPER: dict[str, GripperTopic] = {
    "position": GripperTopic("gripper/gripper_position_controller/commands", Float64MultiArray, _gripper_position),
    "finger_positions": GripperTopic("fr3_gripper_controller/commands", Float64MultiArray, _finger_positions),
    "position_trajectory": GripperTopic(
        "fr3_gripper_controller/joint_trajectory", JointTrajectory, _gripper_trajectory
    ),
}
"""By value of `gripper_interface`; the other values are actions, see `gripper_actions`."""


def read_joint_trajectory(msg: JointTrajectory, joints: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    """times_s (N,) from start and positions (N, len(joints)) in the order of `joints`. Raises TransportError."""
    order = _order(msg.joint_names, joints, "joint trajectory")
    if not msg.points or any(len(p.positions) != len(msg.joint_names) for p in msg.points):
        raise TransportError("joint trajectory needs points with one position a joint")
    times = np.array([1e-9 * stamp_to_ns(p.time_from_start) for p in msg.points])
    return times, _finite(np.array([[p.positions[i] for i in order] for p in msg.points]), "joint trajectory")


def read_joint_velocities(msg: JointTrajectory, joints: tuple[str, ...]) -> np.ndarray | None:
    """Velocities (N, len(joints)) of a joint trajectory in the order of `joints`; None where it has none."""
    if not any(len(p.velocities) for p in msg.points):
        return None
    if any(len(p.velocities) != len(msg.joint_names) for p in msg.points):
        raise TransportError("joint trajectory needs one velocity a joint at every point, or none at all")
    order = _order(msg.joint_names, joints, "joint trajectory")
    return _finite(np.array([[p.velocities[i] for i in order] for p in msg.points]), "joint trajectory")


def read_joint_target(msg: JointState, joints: tuple[str, ...]) -> np.ndarray:
    order = _order(msg.name, joints, "joint target")
    if len(msg.position) != len(msg.name):
        raise TransportError(f"joint target has {len(msg.name)} names and {len(msg.position)} positions")
    return _finite(np.array([msg.position[i] for i in order]), "joint target")


def read_values(msg: Float64MultiArray, count: int, what: str) -> np.ndarray:
    if len(msg.data) != count:
        raise TransportError(f"{what} has {len(msg.data)} values; expected {count}")
    return _finite(np.array(msg.data), what)


def _order(names: list[str], joints: tuple[str, ...], what: str) -> list[int]:
    missing = [j for j in joints if j not in names]
    if missing:
        raise TransportError(f"{what} lacks {', '.join(missing)}; it has {', '.join(names)}")
    return [list(names).index(j) for j in joints]


def _finite(values: np.ndarray, what: str) -> np.ndarray:
    if not np.all(np.isfinite(values)):
        raise TransportError(f"{what} is not finite: {values.tolist()}")
    return values


def _floats(values: np.ndarray) -> list[float]:
    return values.tolist()

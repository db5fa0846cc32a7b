"""RobotState -> sensor_msgs/JointState; the way back is `streams.JointStateReader`."""

from __future__ import annotations

from sensor_msgs.msg import JointState

from ...streams import JointStateReader
from ...types import RobotState
from .stamps import stamp_from_ns

__all__ = ["JointStateReader", "joint_state_message"]


def joint_state_message(state: RobotState, fingers: tuple[str, ...]) -> JointState:
    """Arm joints, then the two fingers, each at half the gripper's width."""
    msg = JointState(name=[*state.names, *fingers])
    msg.header.stamp = stamp_from_ns(state.stamp_ns)
    half = state.gripper_width_m / 2
    msg.position = [*(float(x) for x in state.q), half, half]
    msg.velocity = [*(float(x) for x in state.dq), 0.0, 0.0]
    return msg

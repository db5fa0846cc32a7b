"""A Franka arm by libfranka, without ROS: connection, mode, streamed motion, gripper."""

from .driver import ArmDriver, DriverConfig
from .follower import Follower, FollowerConfig
from .hand import Hand, HandConfig
from .session import Phase, Session
from .states import ArmState, Mode, remedy

__all__ = [
    "ArmDriver",
    "ArmState",
    "DriverConfig",
    "Follower",
    "FollowerConfig",
    "Hand",
    "HandConfig",
    "Mode",
    "Phase",
    "Session",
    "remedy",
]

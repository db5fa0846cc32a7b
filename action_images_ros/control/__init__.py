"""From chunks of targets to joint commands inside the arm's limits. Pure: no ROS, no clock."""

from .chunk_queue import ChunkQueue, ChunkRefused, Latency, PlaybackClock, Refusal
from .committed import committed_ahead
from .config import ChunkRules, ControllerConfig, Follows, WatchdogConfig
from .controller import ChunkVerdict, Controller, ControlOutput, ControlStats, Response
from .credible import usable
from .gripper import GripperConfig, GripperLogic
from .ik import IkConfig, IkSolver
from .kinematics import FR3_HOME_Q, Fr3Kinematics, Kinematics
from .limits import FR3_LIMITS, JointLimits, LimitScales
from .states import RESUME, TRANSITIONS, ControllerState, Event, Resume
from .tracking import StopPath
from .trajectory import JointPath, PosePath
from .workspace import Workspace

__all__ = [
    "FR3_HOME_Q", "FR3_LIMITS", "RESUME", "TRANSITIONS", "ChunkQueue", "ChunkRefused", "ChunkRules", "ChunkVerdict",
    "ControlOutput", "ControlStats", "Controller", "ControllerConfig", "ControllerState", "Event",
    "Follows", "Fr3Kinematics", "GripperConfig", "GripperLogic", "IkConfig", "IkSolver", "JointLimits",
    "JointPath", "Kinematics", "Latency", "LimitScales", "PlaybackClock", "PosePath", "Refusal", "Response", "Resume",
    "StopPath", "WatchdogConfig", "Workspace", "committed_ahead", "usable",
]

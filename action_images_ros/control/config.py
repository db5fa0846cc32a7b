"""Everything about the controller that a cell or an operator may set."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from ..errors import ConfigError
from .gripper import GripperConfig
from .ik import IkConfig
from .limits import LimitScales

_LONGEST_BRAKE_S = 0.23


def _require_positive(owner: object, *names: str) -> None:
    for name in names:
        value = getattr(owner, name)
        if value is not None and not value > 0:
            raise ConfigError(f"{name} is {value}; it must be positive")


@dataclass(frozen=True)
class ChunkRules:
    """When a chunk is refused, and how one takes over from another.

    max_start_error_m, max_start_error_rad: distance between where the chunk begins and where the arm was
    when it was observed. max_step_m, max_step_rad: between neighbouring targets. min_credible_steps: a chunk
    whose first steps (at least so many) can be used is cut there; None: every step must be credible.
    max_gap_steps: so many steps in a row that are not credible are bridged between the credible ones around them.
    max_age_s: observation to arrival. blend_s: time in which a newer chunk takes over, longer where the two
    disagree so much that closing the gap would take more than blend_mps2. align_s: how far, in path time, a
    chunk may be moved in time to where it meets the present command best.
    drift_mps: how fast the older chunk's own uncertainty is taken to grow, m per second of its age.
    warm_up_chunks: first chunks whose latency does not count.
    """

    max_start_error_m: float = 0.08
    max_start_error_rad: float = 0.6
    max_step_m: float = 0.15
    max_step_rad: float = 0.8
    min_credible_steps: int | None = 3
    max_gap_steps: int = 3
    max_age_s: float = 4.0
    blend_s: float = 0.4
    blend_mps2: float = 0.5
    align_s: float = 0.15
    drift_mps: float = 0.01
    warm_up_chunks: int = 1

    def __post_init__(self) -> None:
        _require_positive(self, "max_start_error_m", "max_start_error_rad", "max_step_m", "max_step_rad",
                          "min_credible_steps", "max_age_s", "blend_s", "blend_mps2")
        for name in ("align_s", "max_gap_steps"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} is {getattr(self, name)}; it cannot be negative")
        if self.min_credible_steps is not None and self.min_credible_steps < 2:
            raise ConfigError("min_credible_steps must be at least 2 (or none): one pose is no motion")


class Follows(Enum):
    """What the arm takes from the commands: JOINTS, every joint; TCP, the pose only, with an elbow of its own."""

    JOINTS = "joints"
    TCP = "tcp"


@dataclass(frozen=True)
class WatchdogConfig:
    """Deadlines in seconds, thresholds in rad. None switches one off.

    frames_s: since the last fresh camera set. states_s: since the last joint states. chunks_s: since
    the last accepted chunk. command_s: between two control ticks. clock_jump_s: change of ROS time
    against the monotonic clock between two ticks. tracking_rad: any joint from everything commanded
    in the last tracking_window_s. tracking_m, tracking_turn_rad: the same for the TCP of an arm that follows poses.
    joint_margin_rad: measured joint from the end of its range.
    """

    frames_s: float | None = 1.0
    states_s: float | None = 0.2
    chunks_s: float | None = 3.0
    command_s: float | None = 0.1
    clock_jump_s: float | None = 0.1
    tracking_rad: float | None = 0.12
    tracking_m: float | None = 0.06
    tracking_turn_rad: float | None = 0.3
    tracking_window_s: float = 0.35
    joint_margin_rad: float | None = 0.01

    def __post_init__(self) -> None:
        _require_positive(self, "frames_s", "states_s", "chunks_s", "command_s", "clock_jump_s", "tracking_rad",
                          "tracking_m", "tracking_turn_rad", "tracking_window_s", "joint_margin_rad")


@dataclass(frozen=True)
class ControllerConfig:
    """rate_hz: ticks a second. speed_factor: playback speed, 1 = the policy's own. max_linear_mps,
    max_angular_radps: fastest TCP motion, whatever the chunk asks. brake_s: time in which playback
    comes to rest from full speed (jerk_share of it is spent building up and releasing the braking). follows: what
    the arm takes from the commands, which is what is watched.
    """

    rate_hz: float = 100.0
    speed_factor: float = 0.2
    max_linear_mps: float = 0.5
    max_angular_radps: float = 1.5
    brake_s: float = 0.20
    jerk_share: float = 0.2
    max_tracking_lag_s: float = 0.3
    follows: Follows = Follows.JOINTS
    limits: LimitScales = field(default_factory=LimitScales)
    chunks: ChunkRules = field(default_factory=ChunkRules)
    watchdog: WatchdogConfig = field(default_factory=WatchdogConfig)
    gripper: GripperConfig = field(default_factory=GripperConfig)
    ik: IkConfig = field(default_factory=IkConfig)

    def __post_init__(self) -> None:
        _require_positive(self, "rate_hz", "speed_factor", "max_linear_mps", "max_angular_radps", "brake_s")
        if not 20.0 <= self.rate_hz <= 1000.0:
            raise ConfigError(f"rate_hz is {self.rate_hz}; legal: 20 to 1000")
        if self.speed_factor > 3.0:
            raise ConfigError(f"speed_factor is {self.speed_factor}; legal: more than 0, at most 3")
        if self.brake_s > _LONGEST_BRAKE_S:
            raise ConfigError(f"brake_s is {self.brake_s}; legal: up to {_LONGEST_BRAKE_S}: the arm must rest within "
                              "0.3 s even when it has just begun to speed up")
        if not 0.05 <= self.jerk_share <= 0.5:
            raise ConfigError(f"jerk_share is {self.jerk_share}; legal: 0.05 to 0.5")

    @property
    def period_s(self) -> float:
        return 1.0 / self.rate_hz

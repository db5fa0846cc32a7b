"""Joint limits of the Franka Research 3 and the part of them that the controller may use.

Source: Franka Robotics, "Robot and interface specifications", section "Limits for Franka Research
3" (position, velocity, acceleration, jerk and the position-dependent velocity limits). These are
the limits of robot system versions 5.2 to 5.8; newer systems widen some position ranges, so a
trajectory inside these is inside those too.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ..errors import ConfigError


@dataclass(frozen=True)
class LimitScales:
    """Fractions in (0, 1] of the datasheet's joint velocity, acceleration and jerk."""

    velocity: float = 0.3
    acceleration: float = 0.4
    jerk: float = 0.2

    def __post_init__(self) -> None:
        for name in ("velocity", "acceleration", "jerk"):
            value = getattr(self, name)
            if not 0.0 < value <= 1.0:
                raise ConfigError(f"limit scale {name} is {value}; legal: more than 0, at most 1 (1 = the datasheet)")


@dataclass(frozen=True, eq=False)
class JointLimits:
    """Limits of n joints, arrays (n,) in rad, rad/s, rad/s^2, rad/s^3.

    Velocity also depends on position: towards the upper end at most
    `-offset + sqrt(gain * (upper_zero - q))`, towards the lower end likewise, never more than dq_max.
    All velocities are multiplied by velocity_scale after that.
    """

    q_min: np.ndarray
    q_max: np.ndarray
    dq_max: np.ndarray
    ddq_max: np.ndarray
    dddq_max: np.ndarray
    offset: np.ndarray
    gain: np.ndarray
    lower_zero: np.ndarray
    upper_zero: np.ndarray
    velocity_scale: float = field(default=1.0)

    def __post_init__(self) -> None:
        n = len(self.q_min)
        for name in ("q_min", "q_max", "dq_max", "ddq_max", "dddq_max", "offset", "gain", "lower_zero", "upper_zero"):
            value = np.asarray(getattr(self, name), float)
            if value.shape != (n,) or not np.all(np.isfinite(value)):
                raise ConfigError(f"joint limit {name} must be {n} finite numbers; got {value.tolist()}")
            object.__setattr__(self, name, value)
        if np.any(self.q_min >= self.q_max):
            raise ConfigError("joint limit q_min must be below q_max for every joint")

    def velocity_bounds(self, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Slowest (most negative) and fastest velocity allowed at q (..., n), rad/s."""
        up = np.sqrt(np.maximum(self.gain * (self.upper_zero - q), 0.0)) - self.offset
        down = np.sqrt(np.maximum(self.gain * (q - self.lower_zero), 0.0)) - self.offset
        up = np.minimum(np.maximum(up, 0.0), self.dq_max)
        down = np.minimum(np.maximum(down, 0.0), self.dq_max)
        return -self.velocity_scale * down, self.velocity_scale * up

    def scaled(self, scales: LimitScales) -> JointLimits:
        """The fraction of these limits that commands may use; positions are not scaled."""
        return JointLimits(self.q_min, self.q_max, self.dq_max, self.ddq_max * scales.acceleration,
                           self.dddq_max * scales.jerk, self.offset, self.gain, self.lower_zero, self.upper_zero,
                           self.velocity_scale * scales.velocity)

    def margin(self, q: np.ndarray) -> np.ndarray:
        """Distance (..., n) rad of every joint to its nearer end; negative beyond it."""
        return np.minimum(q - self.q_min, self.q_max - q)


FR3_LIMITS = JointLimits(
    q_min=np.array([-2.7437, -1.7837, -2.9007, -3.0421, -2.8065, 0.5445, -3.0159]),
    q_max=np.array([2.7437, 1.7837, 2.9007, -0.1518, 2.8065, 4.5169, 3.0159]),
    dq_max=np.array([2.62, 2.62, 2.62, 2.62, 5.26, 4.18, 5.26]),
    ddq_max=np.full(7, 10.0),
    dddq_max=np.full(7, 5000.0),
    offset=np.array([0.30, 0.20, 0.20, 0.30, 0.35, 0.35, 0.35]),
    gain=np.array([12.0, 5.17, 7.00, 8.00, 34.0, 11.0, 34.0]),
    lower_zero=np.array([-2.7501, -1.7918, -2.9065, -3.0481, -2.8101, 0.54092, -3.0196]),
    upper_zero=np.array([2.7501, 1.7918, 2.9065, -0.1458, 2.8101, 4.5205, 3.0196]),
)
"""Datasheet limits of the FR3's seven joints."""

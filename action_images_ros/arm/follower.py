"""From targets at irregular times to joint velocities for the arm's 1 kHz loop. Pure.

Every call advances by the arm's own time, so that limits hold there, however the two clocks run. A target passes
a critically damped filter (which takes out the jitter of its arrival) and the joint limiter (which lets nothing
out that the limits forbid); the velocity that is sent leads to where the limited reference will be.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..control import JointLimits
from ..control.tracking import JointCommand, JointLimiter
from ..errors import ConfigError


@dataclass(frozen=True)
class FollowerConfig:
    """smoothing_s: by how much the reference trails a moving target (three poles of a third of it each).
    lead_s: how far ahead of the arm's time a velocity is computed. gain_hz: correction of the set point, 1/s.
    lean_rad: how far the set point may lean beyond the measured joints to bring them to the target.
    slack_rad: so much between set point and measurement is left to the arm.
    """

    smoothing_s: float = 0.04
    lead_s: float = 0.03
    gain_hz: float = 10.0
    lean_rad: float = 0.05
    slack_rad: float = 0.001

    def __post_init__(self) -> None:
        for name, low, high in (
            ("smoothing_s", 1e-3, 0.2),
            ("lead_s", 0.005, 0.1),
            ("gain_hz", 0.5, 30.0),
            ("lean_rad", 0.0, 0.5),
            ("slack_rad", 0.0, 0.05),
        ):
            if not low <= getattr(self, name) <= high:
                raise ConfigError(f"{name} is {getattr(self, name)}; legal: {low} to {high}")


class Follower:
    """limits: what commands may use. brake_s: see JointLimiter."""

    def __init__(self, limits: JointLimits, config: FollowerConfig = FollowerConfig(), brake_s: float = 0.25) -> None:
        self._config, self._limits = config, limits
        self._filter = _TriplePole(3.0 / config.smoothing_s)
        self._limiter = JointLimiter(limits, 0.01, brake_s)

    @property
    def _last(self) -> JointCommand:
        assert self._limiter.last is not None, "reset first"
        return self._limiter.last

    @property
    def q(self) -> np.ndarray:
        """The limited reference (7,)."""
        return self._last.q

    @property
    def at_rest(self) -> bool:
        """Whether the reference stands still."""
        last = self._last
        return bool(np.abs(last.dq).max() < 1e-4 and np.abs(last.ddq).max() < 1e-2)

    def reset(self, q: np.ndarray) -> None:
        """Start at rest at the set point of the arm (7,)."""
        self._filter.reset(q)
        self._limiter.reset(q)

    def follow(self, target: np.ndarray, dt_s: float) -> None:
        """Advance the reference by dt_s of the arm's time towards target (7,)."""
        self._limiter.set_period(dt_s)
        q, dq, ddq = self._filter.advance(target, dt_s)
        if self._limiter.follow(q, dq, ddq) is None:
            self.brake(dt_s)

    def brake(self, dt_s: float) -> None:
        """Advance the reference by dt_s towards the quickest rest inside the limits."""
        self._limiter.set_period(dt_s)
        last = self._limiter.brake()
        self._filter.reset(last.q, last.dq, last.ddq)

    def velocity(self, q: np.ndarray, q_d: np.ndarray) -> np.ndarray:
        """Joint velocities (7,) rad/s for lead_s from now. q: measured joints; q_d: the arm's own set point.

        Follows the set point; the measurement counts by what is off beyond slack_rad, up to lean_rad: an arm that
        is held back leans no further into what holds it.
        """
        c, last = self._config, self._last
        off = q_d - q
        lean = np.clip(np.sign(off) * np.maximum(np.abs(off) - c.slack_rad, 0.0), -c.lean_rad, c.lean_rad)
        dq = last.dq + c.lead_s * last.ddq + c.gain_hz * (last.q - q_d + lean)
        low, high = self._limits.velocity_bounds(q_d)
        return np.clip(dq, low, high)


class _TriplePole:
    """Three equal real poles: no overshoot, acceleration without steps. Solved exactly, so any dt_s is stable."""

    def __init__(self, rate: float) -> None:
        self._rate = rate

    def reset(self, q: np.ndarray, dq: np.ndarray | None = None, ddq: np.ndarray | None = None) -> None:
        zero = np.zeros(len(q))
        self._q, self._dq, self._ddq = np.array(q, float), zero if dq is None else dq, zero if ddq is None else ddq

    def advance(self, target: np.ndarray, dt_s: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        w, t = self._rate, dt_s
        off = self._q - target
        b = self._dq + w * off
        c = 0.5 * (self._ddq + 2 * w * self._dq + w * w * off)
        p, dp, ddp = off + b * t + c * t * t, b + 2 * c * t, 2 * c
        decay = np.exp(-w * t)
        self._q = target + decay * p
        self._dq = decay * (dp - w * p)
        self._ddq = decay * (ddp - 2 * w * dp + w * w * p)
        return self._q, self._dq, self._ddq

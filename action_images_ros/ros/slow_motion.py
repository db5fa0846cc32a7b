"""A slow motion from one joint configuration to another that can be halted at any moment and goes on when let. Pure."""

from __future__ import annotations

import numpy as np

from ..errors import ConfigError

_PEAK_SPEED = 15 / 8
_PEAK_ACCELERATION = 10 / np.sqrt(3)
_LEAST_S = 0.5
_BRAKE_S = 0.4
_STOP_STEP_S = 0.1


class SlowMotion:
    """Straight in joint space, quintic in time, along which it brakes and starts within 0.4 s.

    start, goal (7,) rad. speed_rad_s, acceleration_rad_s2: of the fastest joint.
    """

    def __init__(self, start: np.ndarray, goal: np.ndarray, speed_rad_s: float, acceleration_rad_s2: float = 0.5):
        if not (speed_rad_s > 0 and acceleration_rad_s2 > 0):
            raise ConfigError(f"speed is {speed_rad_s} rad/s, acceleration {acceleration_rad_s2}; legal: more than 0")
        self._start, self._way = np.asarray(start, float), np.asarray(goal, float) - start
        far = float(np.abs(self._way).max())
        by_acceleration = float(np.sqrt(_PEAK_ACCELERATION * far / acceleration_rad_s2))
        self.duration_s = max(_PEAK_SPEED * far / speed_rad_s, by_acceleration, _LEAST_S)
        self._share = self._rate = 0.0

    @property
    def done(self) -> bool:
        return self._share >= 1.0

    @property
    def at_rest(self) -> bool:
        return self.done or self._rate == 0.0

    def advance(self, dt_s: float, go: bool) -> tuple[np.ndarray, np.ndarray]:
        """q and dq (7,) after dt_s; go False brakes along the way."""
        self._share, self._rate = self._ahead(self._share, self._rate, dt_s, go)
        return self._at(self._share, self._rate)

    def stop_path(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """times_s (N,) from now, q and dq (N, 7) of braking to rest: what an arm does that hears nothing more."""
        share, rate, rows = self._share, self._rate, []
        while rate > 0 and share < 1:
            share, rate = self._ahead(share, rate, _STOP_STEP_S, False)
            rows.append(self._at(share, rate))
        if rows:
            rows[-1] = (rows[-1][0], np.zeros(7))
        q, dq = (np.array(v).reshape(-1, 7) for v in zip(*rows)) if rows else (np.zeros((0, 7)),) * 2
        return _STOP_STEP_S * np.arange(1, len(rows) + 1), q, dq

    def _ahead(self, share: float, rate: float, dt_s: float, go: bool) -> tuple[float, float]:
        wanted = 1.0 if go else 0.0
        new = rate + float(np.clip(wanted - rate, -dt_s / _BRAKE_S, dt_s / _BRAKE_S))
        return min(1.0, share + 0.5 * (rate + new) * dt_s / self.duration_s), new

    def _at(self, share: float, rate: float) -> tuple[np.ndarray, np.ndarray]:
        u = share
        along = u**3 * (10 - 15 * u + 6 * u**2)
        slope = 30 * u**2 * (1 - u) ** 2 * rate / self.duration_s
        return self._start + along * self._way, slope * self._way

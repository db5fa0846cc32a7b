"""Paths over path time: poses of the TCP, and the joint motion that follows them.

Path time is the policy's own time: one second of it is played in 1 / speed_factor seconds. Both
kinds of path are immutable; re-planning returns a new one and says how long it really takes.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from functools import cached_property

import numpy as np

from ..errors import ControlError
from ..geometry.se3 import make, so3_exp
from .rotation import rotation_vectors

_SAME_TIME_S = 1e-9


class Interpolation(Enum):
    """Position between knots: straight lines, or a cubic that never overshoots them (per axis monotone)."""

    LINEAR = "linear"
    SPLINE = "spline"


@dataclass(frozen=True, eq=False)
class PosePath:
    """Poses base_T_tcps (N, 4, 4) at increasing times_s (N,) of path time, held outside their range.

    openness (N,) in [0, 1] is a step: the value of the last knot passed. sigma_m (N,): standard
    deviation the model gave its own position. observed_s: path time of the observation.
    Raises ControlError where times do not increase or a value is not finite.
    """

    times_s: np.ndarray
    base_T_tcps: np.ndarray
    openness: np.ndarray
    sigma_m: np.ndarray
    observed_s: float = 0.0
    interpolation: Interpolation = Interpolation.SPLINE

    def __post_init__(self) -> None:
        n = len(self.times_s)
        if n == 0 or len(self.base_T_tcps) != n or len(self.openness) != n or len(self.sigma_m) != n:
            raise ControlError(f"a path needs equally many times, poses, openness and sigma; got {n}, "
                               f"{len(self.base_T_tcps)}, {len(self.openness)}, {len(self.sigma_m)}")
        if not np.all(np.isfinite(self.base_T_tcps)) or np.any(np.diff(self.times_s) <= 0.0):
            raise ControlError("a path needs finite poses and times that increase")

    @cached_property
    def _turns(self) -> np.ndarray:
        """Rotation vectors (N - 1, 3) from knot to knot, in the frame of the earlier one."""
        R = self.base_T_tcps[:, :3, :3]
        return rotation_vectors(np.swapaxes(R[:-1], 1, 2) @ R[1:])

    @cached_property
    def _slopes(self) -> np.ndarray:
        return _monotone_slopes(self.times_s, self.base_T_tcps[:, :3, 3])

    @classmethod
    def hold(cls, base_T_tcp: np.ndarray, openness: float, at_s: float = 0.0) -> PosePath:
        """One pose for ever, known exactly."""
        return cls(np.array([at_s]), np.asarray(base_T_tcp, float)[None], np.array([float(openness)]),
                   np.zeros(1), observed_s=at_s)

    @property
    def end_s(self) -> float:
        return float(self.times_s[-1])

    def sample(self, times_s: np.ndarray) -> np.ndarray:
        """Poses (M, 4, 4) at path times (M,)."""
        t = np.clip(np.asarray(times_s, float), self.times_s[0], self.times_s[-1])
        if len(self.times_s) == 1:
            return np.repeat(self.base_T_tcps, len(t), axis=0)
        k = np.clip(np.searchsorted(self.times_s, t, side="right") - 1, 0, len(self.times_s) - 2)
        h = (self.times_s[k + 1] - self.times_s[k])[:, None]
        u = (t[:, None] - self.times_s[k][:, None]) / h
        a, b = self.base_T_tcps[k, :3, 3], self.base_T_tcps[k + 1, :3, 3]
        if self.interpolation is Interpolation.LINEAR:
            p = a + u * (b - a)
        else:
            p = (a + (b - a) * u * u * (3.0 - 2.0 * u)
                 + h * u * (1.0 - u) * (self._slopes[k] * (1.0 - u) - self._slopes[k + 1] * u))
        return make(self.base_T_tcps[k, :3, :3] @ so3_exp(u * self._turns[k]), p)

    def openness_at(self, times_s: np.ndarray | float) -> np.ndarray:
        """Openness (M,) of the last knot passed at path times (M,)."""
        return self.openness[np.maximum(np.searchsorted(self.times_s, times_s + _SAME_TIME_S, side="right") - 1, 0)]

    def sigma_at(self, times_s: np.ndarray) -> np.ndarray:
        """Standard deviation (M,) m of the position at path times (M,)."""
        return np.interp(times_s, self.times_s, self.sigma_m)

    def retimed(self, max_linear_mps: float, max_angular_radps: float) -> tuple[PosePath, float]:
        """The same knots, each segment as long as translation *and* rotation need at these speeds of path time.

        Segments are only ever stretched. Returns the new path and the path time it now takes.
        """
        gaps = np.diff(self.times_s)
        metres = np.linalg.norm(np.diff(self.base_T_tcps[:, :3, 3], axis=0), axis=1)
        radians = np.linalg.norm(self._turns, axis=1)
        gaps = np.maximum(gaps, np.maximum(metres / max_linear_mps, radians / max_angular_radps))
        return self.with_gaps(gaps), float(gaps.sum())

    def with_gaps(self, gaps_s: np.ndarray) -> PosePath:
        """The same knots from the same start, with these durations (N - 1,) between them."""
        times = self.times_s[0] + np.concatenate([[0.0], np.cumsum(gaps_s)])
        path = PosePath(times, self.base_T_tcps, self.openness, self.sigma_m, self.observed_s, self.interpolation)
        path.__dict__["_turns"] = self._turns
        return path


def _monotone_slopes(t: np.ndarray, p: np.ndarray) -> np.ndarray:
    """Knot slopes (N, 3) of a cubic that never leaves the range of its knots (Fritsch-Butland mean)."""
    slopes = np.zeros_like(p)
    if len(t) < 2:
        return slopes
    h = np.diff(t)[:, None]
    secant = np.diff(p, axis=0) / h
    w1, w2 = 2.0 * h[1:] + h[:-1], h[1:] + 2.0 * h[:-1]
    a, b = secant[:-1], secant[1:]
    product = a * b
    denominator = w1 * b + w2 * a
    same = product > 0.0
    slopes[1:-1] = np.where(same, (w1 + w2) * product / np.where(same, denominator, 1.0), 0.0)
    slopes[0], slopes[-1] = secant[0], secant[-1]
    return slopes


@dataclass(frozen=True, eq=False)
class JointPath:
    """Twice continuously differentiable joint motion q (N, 7) rad at times_s (N,) of path time.

    Quintic pieces between knots; at rest at the end and after it. Derivatives are per second of path time.
    """

    times_s: np.ndarray
    q: np.ndarray
    coefficients: np.ndarray

    @classmethod
    def rest(cls, q: np.ndarray, at_s: float = 0.0) -> JointPath:
        return cls(np.array([at_s]), np.asarray(q, float)[None], np.zeros((0, 6, 7)))

    @classmethod
    def through(cls, times_s: np.ndarray, q: np.ndarray, dq_start: np.ndarray | None = None,
                ddq_start: np.ndarray | None = None) -> JointPath:
        """The path through knots (N, 7), N >= 2, that starts with these derivatives and ends at rest.

        A clamped cubic spline, whose first piece is a quintic so that the acceleration joins too. None:
        start with the first segment's own velocity (path time stands still there anyway).
        """
        h = np.diff(times_s)
        secant = np.diff(q, axis=0) / h[:, None]
        dq = _spline_slopes(h, q, secant, secant[0] if dq_start is None else dq_start)
        ddq_left = (6.0 * secant - 4.0 * dq[:-1] - 2.0 * dq[1:]) / h[:, None]
        ddq_right = (-6.0 * secant + 2.0 * dq[:-1] + 4.0 * dq[1:]) / h[:, None]
        if ddq_start is not None:
            ddq_left[0] = ddq_start
        return cls(times_s, q, _quintics(h, q, dq, ddq_left, ddq_right))

    @property
    def end_s(self) -> float:
        return float(self.times_s[-1])

    def sample(self, time_s: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """q, dq, ddq (7,) at one path time."""
        if time_s >= self.times_s[-1] or not len(self.coefficients):
            return self.q[-1], np.zeros(7), np.zeros(7)
        k = max(0, int(self.times_s.searchsorted(time_s, "right")) - 1)
        u = max(0.0, time_s - float(self.times_s[k]))
        powers = np.array([[1.0, u, u**2, u**3, u**4, u**5],
                           [0.0, 1.0, 2 * u, 3 * u**2, 4 * u**3, 5 * u**4],
                           [0.0, 0.0, 2.0, 6 * u, 12 * u**2, 20 * u**3]])
        q, dq, ddq = powers @ self.coefficients[k]
        return q, dq, ddq

    def positions(self, times_s: np.ndarray) -> np.ndarray:
        """q (M, 7) at path times (M,)."""
        if not len(self.coefficients):
            return np.repeat(self.q[-1:], len(times_s), axis=0)
        t = np.minimum(np.maximum(times_s, self.times_s[0]), self.times_s[-1])
        k = np.minimum(np.maximum(self.times_s.searchsorted(t, "right") - 1, 0), len(self.coefficients) - 1)
        u = t - self.times_s[k]
        powers = u[:, None] ** np.arange(6)
        return (powers[:, None, :] @ self.coefficients[k])[:, 0]

    def inside(self, per_segment: int = 4) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """q, dq, ddq (N - 1, per_segment + 1, 7) over every segment, both ends included."""
        u = np.linspace(0.0, 1.0, per_segment + 1)[None, :] * np.diff(self.times_s)[:, None]
        zero = np.zeros_like(u)
        c = self.coefficients
        q = np.stack([zero + 1.0, u, u**2, u**3, u**4, u**5], -1) @ c
        dq = np.stack([zero, zero + 1.0, 2 * u, 3 * u**2, 4 * u**3, 5 * u**4], -1) @ c
        ddq = np.stack([zero, zero, zero + 2.0, 6 * u, 12 * u**2, 20 * u**3], -1) @ c
        return q, dq, ddq


def _spline_slopes(h: np.ndarray, q: np.ndarray, secant: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Slopes (N, 7) of the cubic spline through q with the given first slope and a last slope of zero."""
    n = len(q)
    slopes = np.zeros_like(q)
    slopes[0] = first
    if n == 2:
        return slopes
    matrix = np.zeros((n - 2, n - 2))
    i = np.arange(n - 2)
    matrix[i, i] = 2.0 * (h[:-1] + h[1:])
    matrix[i[1:], i[1:] - 1] = h[2:]
    matrix[i[:-1], i[:-1] + 1] = h[:-2]
    right = 3.0 * (h[1:, None] * secant[:-1] + h[:-1, None] * secant[1:])
    right[0] -= h[1] * first
    slopes[1:-1] = np.linalg.solve(matrix, right)
    return slopes


def _quintics(h: np.ndarray, q: np.ndarray, dq: np.ndarray, ddq_left: np.ndarray, ddq_right: np.ndarray) -> np.ndarray:
    """Coefficients (N - 1, 6, 7) of the quintics with these values, slopes and curvatures at both ends."""
    h = h[:, None]
    v0, v1 = dq[:-1] * h, dq[1:] * h
    a0, a1 = ddq_left * h**2, ddq_right * h**2
    d = q[1:] - q[:-1]
    c3 = 10.0 * d - 6.0 * v0 - 4.0 * v1 - 1.5 * a0 + 0.5 * a1
    c4 = -15.0 * d + 8.0 * v0 + 7.0 * v1 + 1.5 * a0 - a1
    c5 = 6.0 * d - 3.0 * v0 - 3.0 * v1 - 0.5 * a0 + 0.5 * a1
    return np.stack([q[:-1], v0 / h, 0.5 * a0 / h**2, c3 / h**3, c4 / h**4, c5 / h**5], 1)

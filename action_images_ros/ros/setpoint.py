"""What a joint trajectory controller does with the trajectories it is sent: the set point at every instant. Pure."""

from __future__ import annotations

import numpy as np

from ..control import JointLimits, Kinematics
from ..errors import TransportError
from ..geometry.se3 import so3_log

_IK_ROUNDS = 20
_DAMPING = 1e-2
_NEAR_M, _NEAR_RAD = 1e-5, 1e-4


class JointSetpoint:
    """Goes through the newest trajectory from where the set point is; holds its last point.

    As a joint trajectory controller interpolates: cubic where the points have velocities, else linear.
    q (7,) rad: the set point to begin with. Times are any seconds that increase.
    """

    def __init__(self, q: np.ndarray) -> None:
        self.jump(q, 0.0)

    def jump(self, q: np.ndarray, now_s: float) -> None:
        """Ask for q at once."""
        self._times_s, self._q = np.array([now_s]), np.asarray(q, float)[None]
        self._dq: np.ndarray | None = None

    def follow(self, times_s: np.ndarray, q: np.ndarray, now_s: float, dq: np.ndarray | None = None) -> None:
        """Be at q (N, 7), with velocities dq (N, 7) where given, at now_s + times_s (N,).

        Raises TransportError for times that do not increase.
        """
        if len(times_s) == 0 or len(times_s) != len(q) or times_s[0] < 0 or np.any(np.diff(times_s) <= 0):
            raise TransportError(
                f"trajectory has {len(q)} points at {np.asarray(times_s).tolist()} s; times must increase from 0"
            )
        here, speed = self.at(now_s), self.velocity_at(now_s)
        if times_s[0] == 0.0:
            self._times_s, self._q, self._dq = now_s + times_s, np.asarray(q, float), dq
        else:
            self._times_s = now_s + np.concatenate([[0.0], times_s])
            self._q = np.concatenate([here[None], q])
            self._dq = None if dq is None else np.concatenate([speed[None], dq])

    def at(self, now_s: float) -> np.ndarray:
        """Set point (7,)."""
        k, u, h = self._segment(now_s)
        if h == 0.0:
            return self._q[k]
        a, b = self._q[k], self._q[k + 1]
        if self._dq is None:
            return a + u * (b - a)
        va, vb = h * self._dq[k], h * self._dq[k + 1]
        return a + (b - a) * u * u * (3.0 - 2.0 * u) + u * (1.0 - u) * (va * (1.0 - u) - vb * u)

    def velocity_at(self, now_s: float) -> np.ndarray:
        """Its rate of change (7,) rad/s."""
        k, u, h = self._segment(now_s)
        if h == 0.0:
            return np.zeros(self._q.shape[1])
        step = (self._q[k + 1] - self._q[k]) / h
        if self._dq is None:
            return step
        va, vb = self._dq[k], self._dq[k + 1]
        return 6.0 * step * u * (1.0 - u) + va * (1.0 - u) * (1.0 - 3.0 * u) + vb * u * (3.0 * u - 2.0)

    def _segment(self, now_s: float) -> tuple[int, float, float]:
        """Index of the segment, where in it in [0, 1], and its length in s; length 0 before the first and after the
        last point."""
        k = int(np.searchsorted(self._times_s, now_s, side="right"))
        if k == 0 or k == len(self._times_s):
            return max(k - 1, 0), 0.0, 0.0
        h = float(self._times_s[k] - self._times_s[k - 1])
        return k - 1, (now_s - float(self._times_s[k - 1])) / h, h


def require_reachable(limits: JointLimits, q: np.ndarray) -> np.ndarray:
    """q (..., 7), if every angle is inside the joints' ranges; else TransportError naming the first that is not."""
    outside = (q < limits.q_min) | (q > limits.q_max)
    if np.any(outside):
        *_, j = np.argwhere(outside)[0]
        raise TransportError(
            f"joint {j + 1} is told {np.atleast_2d(q)[:, j][outside.reshape(-1, 7)[:, j]][0]:.3f} rad; legal: "
            f"{limits.q_min[j]} to {limits.q_max[j]}"
        )
    return q


def nearest_joints(kinematics: Kinematics, base_T_tcp: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Joints (7,) of a pose (4, 4) by the smallest motion from q, as a Cartesian controller goes there.

    Raises TransportError where the pose is out of reach from q.
    """
    limits = kinematics.limits
    for _ in range(_IK_ROUNDS):
        T, J = kinematics.fk_jacobian(q)
        off = np.concatenate([base_T_tcp[:3, 3] - T[:3, 3], so3_log(base_T_tcp[:3, :3] @ T[:3, :3].T)])
        if np.abs(off[:3]).max() < _NEAR_M and np.abs(off[3:]).max() < _NEAR_RAD:
            return q
        q = np.clip(q + J.T @ np.linalg.solve(J @ J.T + _DAMPING**2 * np.eye(6), off), limits.q_min, limits.q_max)
    raise TransportError(f"pose at {base_T_tcp[:3, 3].round(3).tolist()} m is out of reach from {q.round(2).tolist()}")

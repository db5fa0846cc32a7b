"""Rotation logarithm for small batches, at a few microseconds: the controller takes thousands a second."""

from __future__ import annotations

import numpy as np

from ..geometry.se3 import make, so3_exp, so3_log

_NEAR_PI_RAD = 3.0


def _half_twist(R: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """sin(angle) * axis (N, 3), sin(angle) (N,) and angle (N,) of rotations (N, 3, 3)."""
    twist = 0.5 * (R[:, (2, 0, 1), (1, 2, 0)] - R[:, (1, 2, 0), (2, 0, 1)])
    sine = np.sqrt((twist * twist).sum(1))
    return twist, sine, np.arctan2(sine, 0.5 * (R[:, 0, 0] + R[:, 1, 1] + R[:, 2, 2] - 1.0))


def rotation_vectors(R: np.ndarray) -> np.ndarray:
    """As `so3_log`, for (N, 3, 3); near half a turn, where this formula loses the axis, by `so3_log` itself."""
    twist, sine, angle = _half_twist(R)
    out = twist * np.where(sine > 1e-9, angle / np.maximum(sine, 1e-9), 1.0)[:, None]
    turned = angle > _NEAR_PI_RAD
    if turned.any():
        out[turned] = so3_log(R[turned])
    return out


def pose_distance(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distance (N,) m and angle (N,) rad between poses (N, 4, 4); either may be a single (4, 4)."""
    gap = a[..., :3, 3] - b[..., :3, 3]
    R = np.swapaxes(a[..., :3, :3], -1, -2) @ b[..., :3, :3]
    metres, radians = np.sqrt((gap * gap).sum(-1)), _half_twist(R.reshape(-1, 3, 3))[2]
    return np.atleast_1d(metres), radians


def interpolate(a: np.ndarray, b: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Poses (N, 4, 4) at weights (N,) from a to b: straight in position, geodesic in rotation."""
    Ra, w = a[:, :3, :3], weight[:, None]
    R = Ra @ so3_exp(w * rotation_vectors(np.swapaxes(Ra, 1, 2) @ b[:, :3, :3]))
    return make(R, a[:, :3, 3] + w * (b[:, :3, 3] - a[:, :3, 3]))

"""Rotations and rigid motions as matrices, batched over leading axes, float64.

Rotation vectors are axis times angle (rad). Matrices are the only representation inside; quaternions
appear at borders as xyzw.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from ..errors import ActionImagesError

_SMALL_RAD = 1e-6


def hat(w: np.ndarray) -> np.ndarray:
    """(..., 3) -> (..., 3, 3) with hat(a) @ b = a x b."""
    w = np.asarray(w, float)
    out = np.zeros(w.shape[:-1] + (3, 3))
    out[..., 0, 1], out[..., 0, 2], out[..., 1, 2] = -w[..., 2], w[..., 1], -w[..., 0]
    out[..., 1, 0], out[..., 2, 0], out[..., 2, 1] = w[..., 2], -w[..., 1], w[..., 0]
    return out


def so3_exp(w: np.ndarray) -> np.ndarray:
    """Rotation vector (..., 3) rad -> rotation matrix (..., 3, 3) (Rodrigues)."""
    w = np.asarray(w, float)
    angle = np.linalg.norm(w, axis=-1)[..., None, None]
    small = angle < _SMALL_RAD
    safe = np.where(small, 1.0, angle)
    a = np.where(small, 1.0 - angle**2 / 6.0, np.sin(safe) / safe)
    b = np.where(small, 0.5 - angle**2 / 24.0, (1.0 - np.cos(safe)) / safe**2)
    k = hat(w)
    return np.eye(3) + a * k + b * (k @ k)


def so3_log(R: np.ndarray) -> np.ndarray:
    """Rotation matrix (..., 3, 3) -> rotation vector (..., 3) rad with angle in [0, pi].

    Goes through the quaternion, which is well conditioned at every angle (Shepperd 1978).
    """
    q = quat_from_matrix(R)
    q = np.where(q[..., 3:] < 0.0, -q, q)
    v, w = q[..., :3], q[..., 3]
    n = np.linalg.norm(v, axis=-1)
    small = n < _SMALL_RAD
    scale = np.where(small, 2.0 / np.where(small, w, 1.0), 2.0 * np.arctan2(n, w) / np.where(small, 1.0, n))
    return v * scale[..., None]


def quat_from_matrix(R: np.ndarray) -> np.ndarray:
    """Rotation matrix (..., 3, 3) -> unit quaternion xyzw (..., 4)."""
    R = np.asarray(R, float)
    d = np.stack([R[..., 0, 0], R[..., 1, 1], R[..., 2, 2]], -1)
    trace = d.sum(-1)
    scores = np.concatenate([d, trace[..., None]], -1)
    pick = scores.argmax(-1)
    x, y, z = R[..., 2, 1] - R[..., 1, 2], R[..., 0, 2] - R[..., 2, 0], R[..., 1, 0] - R[..., 0, 1]
    xy, yz, zx = R[..., 0, 1] + R[..., 1, 0], R[..., 1, 2] + R[..., 2, 1], R[..., 2, 0] + R[..., 0, 2]
    one = 1.0
    candidates = np.stack([
        np.stack([one + 2 * d[..., 0] - trace, xy, zx, x], -1),
        np.stack([xy, one + 2 * d[..., 1] - trace, yz, y], -1),
        np.stack([zx, yz, one + 2 * d[..., 2] - trace, z], -1),
        np.stack([x, y, z, one + trace], -1),
    ], -2)
    q = np.take_along_axis(candidates, pick[..., None, None], -2)[..., 0, :]
    return q / np.linalg.norm(q, axis=-1, keepdims=True)


def matrix_from_quat(xyzw: np.ndarray) -> np.ndarray:
    """Quaternion xyzw (..., 4), any non-zero length, either sign -> rotation matrix (..., 3, 3)."""
    q = np.asarray(xyzw, float)
    n = np.linalg.norm(q, axis=-1, keepdims=True)
    if np.any(n < 1e-9) or not np.all(np.isfinite(q)):
        raise ActionImagesError(f"quaternion {q.tolist()} has no direction; send a finite, non-zero xyzw")
    x, y, z, w = np.moveaxis(q / n, -1, 0)
    return np.stack([
        np.stack([1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)], -1),
        np.stack([2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)], -1),
        np.stack([2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)], -1),
    ], -2)


def make(R: ArrayLike, t: ArrayLike) -> np.ndarray:
    """Rotation (..., 3, 3) and translation (..., 3) m -> pose (..., 4, 4)."""
    R, t = np.asarray(R, float), np.asarray(t, float)
    out = np.zeros(np.broadcast_shapes(R.shape[:-2], t.shape[:-1]) + (4, 4))
    out[..., :3, :3], out[..., :3, 3], out[..., 3, 3] = R, t, 1.0
    return out


def inverse(T: np.ndarray) -> np.ndarray:
    """Inverse of a rigid motion (..., 4, 4)."""
    Rt = np.swapaxes(T[..., :3, :3], -1, -2)
    return make(Rt, -(Rt @ T[..., :3, 3:])[..., 0])


def transform(T: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Apply (..., 4, 4) to points (..., 3)."""
    return (T[..., :3, :3] @ points[..., None])[..., 0] + T[..., :3, 3]


def se3_exp(xi: np.ndarray) -> np.ndarray:
    """Decoupled exponential used throughout: (..., 6) = (translation m, rotation vector rad) -> pose.

    Not the screw exponential: translation and rotation act separately, which is how the covariance
    of ActionChunk is defined.
    """
    xi = np.asarray(xi, float)
    return make(so3_exp(xi[..., 3:]), xi[..., :3])


def angle_between(Ra: np.ndarray, Rb: np.ndarray) -> np.ndarray:
    """Geodesic angle (...) rad between rotations."""
    return np.linalg.norm(so3_log(np.swapaxes(Ra, -1, -2) @ Rb), axis=-1)


def interpolate(Ta: np.ndarray, Tb: np.ndarray, s: ArrayLike) -> np.ndarray:
    """Straight line in position, geodesic on SO(3); s (...) in [0, 1]."""
    s = np.asarray(s, float)
    R = Ta[..., :3, :3] @ so3_exp(s[..., None] * so3_log(np.swapaxes(Ta[..., :3, :3], -1, -2) @ Tb[..., :3, :3]))
    return make(R, Ta[..., :3, 3] + s[..., None] * (Tb[..., :3, 3] - Ta[..., :3, 3]))


def require_rigid(T: np.ndarray, name: str, tolerance: float = 1e-3) -> np.ndarray:
    """`T` as float64 if it is a finite rigid motion (..., 4, 4); otherwise ActionImagesError naming it."""
    T = np.asarray(T, float)
    if T.shape[-2:] != (4, 4) or not np.all(np.isfinite(T)):
        raise ActionImagesError(f"{name} must be a finite (..., 4, 4) pose; got shape {T.shape}")
    R = T[..., :3, :3]
    off = np.abs(np.swapaxes(R, -1, -2) @ R - np.eye(3)).max()
    if off > tolerance or np.any(np.linalg.det(R) < 0) or np.abs(T[..., 3, :] - [0, 0, 0, 1]).max() > tolerance:
        raise ActionImagesError(f"{name} is not a rigid motion: R^T R is off by {off:.2g} (or det R < 0); "
                                "check the order of the quaternion (xyzw) and the last row")
    return T

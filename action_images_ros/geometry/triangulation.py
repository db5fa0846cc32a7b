"""Points from rays and rigid motions from points, batched over leading axes."""

from __future__ import annotations

import numpy as np

_MIN_SIN2 = 1e-4


def closest_points(origins: np.ndarray, directions: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The point nearest to a bundle of rays, by weighted least squares of the distances.

    origins, directions (..., V, 3), directions of unit length; weights (..., V) >= 0, 0 leaves a ray out.
    Returns the points (..., 3) and a flag (...): True where the rays fix a point, that is where at
    least two differ in direction by more than about half a degree. Points without it are NaN.
    """
    across = np.eye(3) - directions[..., :, None] * directions[..., None, :]
    normal = np.einsum("...v,...vij->...ij", weights, across)
    rhs = np.einsum("...v,...vij,...vj->...i", weights, across, origins)
    total = np.maximum(weights.sum(-1), 1e-30)
    fixed = np.linalg.det(normal) / total**3 > _MIN_SIN2 / 8
    safe = np.where(fixed[..., None, None], normal, np.eye(3))
    points = np.linalg.solve(safe, rhs[..., None])[..., 0]
    return np.where(fixed[..., None], points, np.nan), fixed


def fit_rigid(model: np.ndarray, points: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The rigid motion T (..., 4, 4) that minimises sum w |T model - point|^2 (Kabsch 1976).

    model (n, 3), points (..., n, 3), weights (..., n) >= 0. Points of weight 0 may be NaN. At least
    three points that are not collinear must have weight; fewer leave the rotation about their line open.
    """
    w = weights / np.maximum(weights.sum(-1, keepdims=True), 1e-300)
    points = np.where((w > 0)[..., None], points, 0.0)
    mean_m, mean_p = np.einsum("...n,ni->...i", w, model), np.einsum("...n,...ni->...i", w, points)
    spread = np.einsum("...n,...ni,...nj->...ij", w, points - mean_p[..., None, :], model - mean_m[..., None, :])
    u, _, vt = np.linalg.svd(spread)
    u[..., :, 2] *= np.sign(np.linalg.det(u @ vt))[..., None]
    out = np.zeros(points.shape[:-2] + (4, 4))
    out[..., :3, :3] = u @ vt
    out[..., :3, 3] = mean_p - (out[..., :3, :3] @ mean_m[..., None])[..., 0]
    out[..., 3, 3] = 1.0
    return out

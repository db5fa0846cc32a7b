"""How wrong a pose can be without its residual showing it (receiver autonomous integrity monitoring, as in GNSS)."""

from __future__ import annotations

import numpy as np

from .pose import PoseFit, Sightings

_SCATTER = 4.0


def error_bounds(fit: PoseFit, sightings: Sightings, bias_px: float) -> tuple[np.ndarray, np.ndarray]:
    """Largest position (T,) m and rotation (T,) rad error that one wrong blob can cause unnoticed.

    A wrong blob d raises the weighted residual by d' Q d and moves the pose by G d; the bound is the
    largest |G d| whose d' Q d is what was observed. In directions that the other blobs cannot check (Q singular)
    a blob is granted an error of `bias_px`, or of several times the scatter of the residuals.
    """
    t = len(fit.R)
    jac, weight = fit.jac.reshape(t, -1, 2, 6), sightings.weight.reshape(t, -1, 2, 2)
    used = sightings.used.reshape(t, -1)
    trace = np.trace(fit.normal, axis1=-2, axis2=-1)[:, None, None]
    cov = np.linalg.inv(fit.normal + np.maximum(1e-12 * trace, 1e-30) * np.eye(6))
    gain = cov[:, None] @ np.swapaxes(weight @ jac, -1, -2)
    checked = weight - weight @ jac @ gain
    spare = np.maximum(2.0 * used.sum(-1) - 6.0, 1.0)
    chi2 = np.maximum(fit.chi2, spare)[:, None, None, None]
    weight = np.where(used[..., None, None], weight, np.eye(2))
    granted = bias_px**2 * np.eye(2) + _SCATTER**2 * chi2 / spare[:, None, None, None] * np.linalg.inv(weight)
    reach = np.linalg.inv(checked / chi2 + np.linalg.inv(granted))
    bounds = []
    for rows in (slice(0, 3), slice(3, 6)):
        g = gain[..., rows, :]
        moved = reach @ (np.swapaxes(g, -1, -2) @ g)
        half = np.trace(moved, axis1=-2, axis2=-1) / 2
        largest = half + np.sqrt(np.maximum(half**2 - np.linalg.det(moved), 0.0))
        bounds.append(np.sqrt(np.where(used, largest, 0.0).max(-1)))
    return bounds[0], bounds[1]

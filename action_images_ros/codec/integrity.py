"""How wrong a pose can be without its residual showing it (receiver autonomous integrity monitoring, as in GNSS)."""

from __future__ import annotations

import numpy as np

from .pose import PoseFit, Sightings

_CHECKED = 0.1
_SDS = 3.0
_LUCK = 8.0  # residuals are hardly ever this much smaller by chance; blobs are then better than they were held for


def error_bounds(fit: PoseFit, sightings: Sightings, bias_px: float) -> tuple[np.ndarray, np.ndarray]:
    """Largest position (T,) m and rotation (T,) rad error that one wrong blob can cause unnoticed, or, where that is
    more, three standard deviations of the pose.

    A wrong blob d raises the weighted residual by d' Q d and moves the pose by G d; the bound is the
    largest |G d| whose d' Q d is all of what was observed. Where the other blobs check less than a tenth of a
    direction, d is taken to be that of a tenth, or `bias_px` if that is more.
    """
    t = len(fit.R)
    jac, weight = fit.jac.reshape(t, -1, 2, 6), sightings.weight.reshape(t, -1, 2, 2)
    used = sightings.used.reshape(t, -1)
    trace = np.trace(fit.normal, axis1=-2, axis2=-1)[:, None, None]
    cov = np.linalg.inv(fit.normal + np.maximum(1e-12 * trace, 1e-30) * np.eye(6))
    root = np.linalg.cholesky(np.where(used[..., None, None], weight, np.eye(2)))
    white = np.swapaxes(root, -1, -2) @ jac
    gain = cov[:, None] @ np.swapaxes(white, -1, -2)
    checked, axes = np.linalg.eigh(np.eye(2) - white @ gain)
    spare = np.maximum(2.0 * used.sum(-1) - 6.0, 1.0)
    chi2 = np.maximum(fit.chi2, np.minimum(spare, _LUCK * fit.chi2 + 1e-6))[:, None, None]
    granted = bias_px**2 * np.trace(weight, axis1=-2, axis2=-1)[..., None] / 2
    reach = np.where(checked > _CHECKED, chi2 / np.maximum(checked, _CHECKED), np.maximum(chi2 / _CHECKED, granted))
    moved = gain @ axes * np.sqrt(reach)[..., None, :]
    scatter = np.maximum(fit.chi2 / spare, 1.0)
    bounds = []
    for rows in (slice(0, 3), slice(3, 6)):
        square = np.swapaxes(moved[..., rows, :], -1, -2) @ moved[..., rows, :]
        wrong = np.sqrt(np.where(used, np.linalg.eigvalsh(square)[..., -1], 0.0).max(-1))
        own = np.sqrt(np.linalg.eigvalsh(cov[:, rows, rows])[:, -1] * scatter)
        bounds.append(np.maximum(wrong, _SDS * own))
    return bounds[0], bounds[1]

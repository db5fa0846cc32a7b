"""How wrong a pose can be without its residual showing it (receiver autonomous integrity monitoring, as in GNSS)."""

from __future__ import annotations

import numpy as np

from .pose import PoseFit, Sightings


def error_bounds(fit: PoseFit, sightings: Sightings, bias_px: float) -> tuple[np.ndarray, np.ndarray]:
    """Largest position (T,) m and rotation (T,) rad error that one wrong blob can cause unnoticed.

    A wrong blob d raises the weighted residual by d' Q d and moves the pose by G d; the bound is the
    largest |G d| whose d' Q d is what was observed. A blob that the others cannot check (Q singular) is
    granted an error of `bias_px`.
    """
    t = len(fit.R)
    jac, weight = fit.jac.reshape(t, -1, 2, 6), sightings.weight.reshape(t, -1, 2, 2)
    used = sightings.used.reshape(t, -1)
    cov = np.linalg.inv(fit.normal + 1e-12 * np.trace(fit.normal, axis1=-2, axis2=-1)[:, None, None] * np.eye(6)
                        + 1e-300 * np.eye(6))
    weighted = np.swapaxes(weight @ jac, -1, -2)
    gain = cov[:, None] @ weighted
    checked = weight - weight @ jac @ gain
    count = used.sum(-1)
    chi2 = np.maximum(fit.chi2, 2.0 * count - 6.0) + 1e-12
    # the granted error bounds every direction in which the check is weaker than it
    floor = chi2[:, None, None, None] / bias_px**2 * np.eye(2)
    inverse = np.linalg.inv(checked + floor)
    bounds = []
    for rows in (slice(0, 3), slice(3, 6)):
        g = gain[..., rows, :]
        spread = inverse @ (np.swapaxes(g, -1, -2) @ g)
        trace, det = np.trace(spread, axis1=-2, axis2=-1), np.linalg.det(spread)
        largest = trace / 2 + np.sqrt(np.maximum(trace**2 / 4 - det, 0.0))
        bounds.append(np.sqrt(chi2 * np.where(used, largest, 0.0).max(-1)))
    return bounds[0], bounds[1]

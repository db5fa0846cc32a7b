"""The gripper: height of the pedestal under the blue blob."""

from __future__ import annotations

import numpy as np

from .config import DecodeConfig

_LOW_SIGMA = 2.2
_MAX_SPREAD = 0.1


def pedestal_share(blue: np.ndarray, centres: np.ndarray, widths: np.ndarray, pedestal: float) -> np.ndarray:
    """Openness (T,) as drawn, before thresholds: the median of blue away from its blob, averaged over views.

    blue (T, V, h, w) in [0, 1]; centres (T, V, K, 2) xy of the blobs in cells (NaN: none) and their
    sigmas widths (T, V, K) in cells. NaN where no view has a cell of low response.
    """
    t, v, h, w = blue.shape
    low = np.ones(blue.shape, bool)
    for k in range(centres.shape[2]):
        x, y = centres[:, :, k, 0, None] - np.arange(w), centres[:, :, k, 1, None] - np.arange(h)
        near = (x**2)[:, :, None, :] + (y**2)[:, :, :, None] < (_LOW_SIGMA * widths[:, :, k, None, None]) ** 2
        low &= ~near
    low &= blue <= pedestal + _MAX_SPREAD
    cells = np.where(low, blue, np.nan).reshape(t, v, -1)
    few = low.reshape(t, v, -1).sum(-1) < 4
    cells[few] = np.nan
    with np.errstate(all="ignore"):
        level = np.array([[np.nanmedian(c) if np.isfinite(c).any() else np.nan for c in step] for step in cells])
        seen = np.isfinite(level)
        mean = np.where(seen, level, 0.0).sum(1) / np.where(seen.any(1), seen.sum(1), np.nan)
    return mean / pedestal


def with_hysteresis(share: np.ndarray, config: DecodeConfig) -> np.ndarray:
    """Openness (T,) in {0, 1}: a state is kept until the share leaves its band; NaN keeps the state."""
    known = share[np.isfinite(share)]
    opened = bool(known.size and known[0] > 0.5)
    out = np.empty(len(share))
    for i, s in enumerate(share):
        if s > config.gripper_open:
            opened = True
        elif s < config.gripper_closed:
            opened = False
        out[i] = float(opened)
    return out

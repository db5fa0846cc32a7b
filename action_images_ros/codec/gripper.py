"""The gripper: height of the pedestal under the blue blob."""

from __future__ import annotations

import numpy as np

from .config import DecodeConfig

_LOW_SIGMA = 2.2
_MAX_SPREAD = 0.1
_MIN_CELLS = 4


def pedestal_share(blue: np.ndarray, x: np.ndarray, y: np.ndarray, centres: np.ndarray, widths: np.ndarray,
                   pedestal: float) -> np.ndarray:
    """Openness (T,) as drawn, before thresholds: the median of blue away from its blobs, averaged over views.

    blue (T, V, h, w) in [0, 1], at columns x (w,) and rows y (h,) in cells; centres (T, V, K, 2) xy of the blobs
    in cells and their sigmas widths (T, V, K), 0: none. NaN where no view has cells of low response.
    """
    low = blue <= pedestal + _MAX_SPREAD
    for k in range(centres.shape[2]):
        reach = (_LOW_SIGMA * widths[:, :, k]) ** 2
        dx, dy = (centres[:, :, k, :1] - x) ** 2, (centres[:, :, k, 1:] - y) ** 2
        low &= dx[:, :, None, :] + dy[:, :, :, None] >= reach[:, :, None, None]
    cells = np.sort(np.where(low, blue, np.inf).reshape(blue.shape[:2] + (-1,)), -1)
    count = low.sum((-2, -1))
    level = np.take_along_axis(cells, (count // 2)[..., None] % cells.shape[-1], -1)[..., 0]
    seen = count >= _MIN_CELLS
    total = np.where(seen, level, 0.0).sum(1)
    return np.where(seen.any(1), total / np.maximum(seen.sum(1), 1), np.nan) / pedestal


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

"""Errors of action chunks: in the base frame, on the image, and as overlap of blobs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..errors import EncodingError
from ..geometry import PinholeCamera
from ..geometry.se3 import angle_between, interpolate
from ..types import ActionChunk

MASK_THRESHOLDS = (0.3, 0.5, 0.7)
"""Heights at which the blobs of action images are cut into masks, all above the gripper's pedestal of 0.25."""
POINT_THRESHOLDS = (1.0, 2.0, 4.0, 8.0, 16.0)
"""Distances on an image of POINT_IMAGE_PX a side, as benchmarks of point tracking have them (TAP-Vid)."""
POINT_IMAGE_PX = 256


def bridged(chunk: ActionChunk) -> np.ndarray:
    """Poses (T, 4, 4) as an executor goes through them: steps that are not credible lie on the straight way between
    the credible ones around them; after the last credible step it stays there.

    Step 0 is what was given and counts as credible.
    """
    steps = np.arange(len(chunk))
    good = np.flatnonzero(chunk.credible | (steps == 0))
    before = good[np.searchsorted(good, steps, side="right") - 1]
    after = good[np.minimum(np.searchsorted(good, steps), len(good) - 1)]
    share = (steps - before) / np.maximum(after - before, 1)
    way = interpolate(chunk.base_T_tcps[before], chunk.base_T_tcps[after], np.where(after > before, share, 0.0))
    return np.where((steps == before)[:, None, None], chunk.base_T_tcps, way)


def position_error_m(truth: np.ndarray, made: np.ndarray) -> np.ndarray:
    """Poses (T, 4, 4) -> distances (T,) m."""
    return np.linalg.norm(truth[:, :3, 3] - made[:, :3, 3], axis=-1)


def angle_error_rad(truth: np.ndarray, made: np.ndarray) -> np.ndarray:
    """Poses (T, 4, 4) -> geodesic angles (T,) rad."""
    return angle_between(truth[:, :3, :3], made[:, :3, :3])


def pixel_error(truth: np.ndarray, made: np.ndarray, cameras: Sequence[PinholeCamera]) -> np.ndarray:
    """Base-frame points (T, n, 3) m -> distances of their images (T, V, n) px; NaN behind a camera."""
    return np.stack([np.linalg.norm(c.project(truth) - c.project(made), axis=-1) for c in cameras], 1)


def mask_jaccard(truth: np.ndarray, made: np.ndarray, thresholds: Sequence[float] = MASK_THRESHOLDS) -> np.ndarray:
    """Overlap of blobs: |A and B| / |A or B| of the pixels above each threshold of full scale.

    truth, made (T, V, H, W, 3) uint8 action images. Returns (len(thresholds),), means over steps, views and colours;
    masks that are both empty do not count, NaN where none counts.
    """
    if truth.shape != made.shape or truth.dtype != np.uint8 or made.dtype != np.uint8:
        raise EncodingError(f"action images to compare must be uint8 of one shape; got {truth.shape} and {made.shape}")
    out = []
    for threshold in thresholds:
        a, b = truth > 255 * threshold, made > 255 * threshold
        union = (a | b).sum((2, 3))
        share = (a & b).sum((2, 3))[union > 0] / union[union > 0]
        out.append(share.mean() if share.size else np.nan)
    return np.array(out)


def point_jaccard(error_px: np.ndarray, shown: np.ndarray, image_px: int,
                  thresholds: Sequence[float] = POINT_THRESHOLDS) -> np.ndarray:
    """Jaccard index of tracked points at each distance: hits / (hits + shown misses + points not hit).

    error_px distances on an image of image_px a side; shown, of the same shape: the method stands by this point.
    A point that is hidden can not be hit; one that is off counts twice, as a wrong point and as a missing one.
    Returns (len(thresholds),); distances are scaled to an image of 256 px (Doersch et al., 2022).
    """
    scaled = np.where(np.isfinite(error_px), error_px, np.inf) * POINT_IMAGE_PX / image_px
    out = []
    for threshold in thresholds:
        hit = shown & (scaled < threshold)
        out.append(hit.sum() / (hit.sum() + (shown & ~hit).sum() + (~hit).sum()))
    return np.array(out)

"""Do given intrinsics agree with the images? Compared by what they do to pixels, not by their numbers."""

from __future__ import annotations

import numpy as np

from .bundle import Bundle, Solution
from .residuals import project

_BAD_PX = 0.3
_WORSE_FIT = 1.3


def lens_shift_px(given: np.ndarray, found: np.ndarray, high: np.ndarray, points: np.ndarray) -> float:
    """95th percentile of the distance between where two lenses (9,) image the same points (M, 3) of the camera frame.

    Less what a small turn of the camera makes up for: a shifted centre is nearly a turned camera, and the
    extrinsics absorb it.
    """
    lenses = [np.tile(lens, (len(points), 1)) for lens in (given, found)]
    before, after = (project(points, lens, np.tile(high, (len(points), 1)))[0] for lens in lenses)
    x, y = (points[:, :2] / points[:, 2:]).T
    turn = np.stack(
        [
            given[0] * np.stack([-x * y, 1 + x * x, -y], 1),
            given[1] * np.stack([-1 - y * y, x * y, x], 1),
        ],
        1,
    ).reshape(-1, 3)
    off = (after - before).ravel()
    left = off - turn @ np.linalg.lstsq(turn, off, rcond=None)[0]
    return float(np.percentile(np.linalg.norm(left.reshape(-1, 2), axis=1), 95))


def check_lenses(bundle: Bundle, fixed: Solution, free: Solution) -> dict[str, str]:
    """By view, a sentence: whether the given intrinsics agree with the images, and if not by how much."""
    out, points = {}, bundle.equations.camera_points(fixed.state, bundle.o)
    for i, (view, camera) in enumerate(bundle.rig.cameras.items()):
        mine = points[fixed.used & (bundle.o.view == i)]
        shift = lens_shift_px(fixed.state.lenses[i], free.state.lenses[i], camera.coefficients[5:], mine)
        bad = fixed.pixel_sd[i] > _WORSE_FIT * free.pixel_sd[i] and shift > _BAD_PX
        verdict = "DISAGREE with the images; re-estimate them" if bad else "agree with the images"
        out[view] = (
            f"given intrinsics {verdict}: freeing them changes the scatter of points from {fixed.pixel_sd[i]:.3f} "
            f"to {free.pixel_sd[i]:.3f} px and moves the points seen by {shift:.2f} px"
        )
    return out

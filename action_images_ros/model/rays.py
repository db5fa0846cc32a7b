"""Camera conditioning: one Plücker ray (direction, moment) per grid point of each view.

Source: method, section 5. d is the unit direction and m = o x d the moment, so that a ray is the same wherever along
it the camera sits. `base`: in the robot base frame. `first_view`: relative to the first view's camera.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..geometry import PinholeCamera, inverse


def plucker_rays(cameras: Sequence[PinholeCamera], grid: tuple[int, int], frame: str) -> np.ndarray:
    """V cameras -> (V, 6, h, w) float32 at the centres of a (w, h) grid over each image: d (unit), then m (metres)."""
    if frame == "first_view":
        cameras = [c.moved(inverse(cameras[0].base_T_camera)) for c in cameras]
    out = []
    for camera in cameras:
        coarse = camera.resized(grid)
        d = coarse.unproject(coarse.pixel_grid())
        out.append(np.concatenate([d, np.cross(camera.centre, d)], -1).transpose(2, 0, 1))
    return np.stack(out).astype(np.float32)

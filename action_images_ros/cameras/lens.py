"""A device's own lens model as OpenCV's k1 k2 p1 p2 k3.

RealSense colour cameras use the Brown-Conrady polynomial backwards (from the image to the ray), OpenCV forwards. The
forward coefficients are fitted to the device's rays: a linear problem.
"""

from __future__ import annotations

import numpy as np

from ..errors import CameraError

_LARGEST_ERROR_PX = 0.5


def fit_distortion(uv: np.ndarray, rays_xy: np.ndarray, K: np.ndarray) -> tuple[np.ndarray | None, float]:
    """uv (N, 2) px, rays_xy (N, 2) their rays at z = 1 by the device, K (3, 3) -> (coefficients (5,) or None where the
    lens does not distort, largest error in px).

    Raises CameraError where OpenCV's model does not fit the lens to 0.5 px.
    """
    focal, centre = np.diag(K)[:2], K[:2, 2]
    seen = (uv - centre) / focal
    if np.abs((seen - rays_xy) * focal).max() < 1e-3:
        return None, 0.0
    x, y = rays_xy.T
    r2 = x * x + y * y
    rows_x = np.stack([x * r2, x * r2**2, 2 * x * y, r2 + 2 * x * x, x * r2**3], 1)
    rows_y = np.stack([y * r2, y * r2**2, r2 + 2 * y * y, 2 * x * y, y * r2**3], 1)
    rows, wanted = np.stack([rows_x, rows_y], 1), seen - rays_xy
    d, *_ = np.linalg.lstsq(rows.reshape(-1, 5), wanted.reshape(-1), rcond=None)
    error_px = float(np.linalg.norm((rows @ d - wanted) * focal, axis=1).max())
    if not error_px <= _LARGEST_ERROR_PX:
        raise CameraError(
            f"the lens model of the device differs from OpenCV's k1 k2 p1 p2 k3 by {error_px:.2f} px; choose a stream "
            "with less distortion (fisheye streams are not supported)"
        )
    return d, error_px

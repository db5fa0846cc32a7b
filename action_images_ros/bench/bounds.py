"""The Cramér-Rao bound of decoding: the best that any unbiased decoder can do in white noise."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..codec import ActionEncoding
from ..geometry import PinholeCamera
from ..geometry.se3 import so3_exp

_STEP = 1e-6
IDEAL = np.sqrt(2 / np.pi)
"""0.798: best sd of one coordinate of a whole Gaussian, in pixels, over noise / height."""


def pose_bound(pose: np.ndarray, cameras: Sequence[PinholeCamera], noise: float, encoding: ActionEncoding,
               whole: bool = False) -> np.ndarray:
    """Covariance (6, 6), translation m then rotation vector rad, that no unbiased decoder of `pose` (4, 4) can beat.

    noise: sd of a pixel, of full scale. Counts the pixels that carry a blob: inside the image and, for blue,
    above the pedestal. whole: counts every blob as entire, 0.798 noise / height a coordinate.
    """
    information = np.zeros((6, 6))
    for camera in cameras:
        uv = camera.project(encoding.base_points(pose))
        by_pose = np.stack([(camera.project(encoding.base_points(_moved(pose, k, _STEP)))
                             - camera.project(encoding.base_points(_moved(pose, k, -_STEP)))) / (2 * _STEP)
                            for k in range(6)], -1)
        for c in range(3):
            by_pixel = np.eye(2) / IDEAL**2 if whole else _blob_information(uv[c], camera.image_size, encoding, c == 2)
            information += by_pose[c].T @ by_pixel @ by_pose[c]
    return np.linalg.inv(information) * noise**2


def _moved(pose: np.ndarray, axis: int, by: float) -> np.ndarray:
    xi = np.eye(6)[axis] * by
    out = pose.copy()
    out[:3, :3] = so3_exp(xi[3:]) @ pose[:3, :3]
    out[:3, 3] += xi[:3]
    return out


def _blob_information(uv: np.ndarray, size: tuple[int, int], encoding: ActionEncoding, is_blue: bool) -> np.ndarray:
    """(2, 2) information about a blob's centre, per unit noise."""
    sigma = encoding.sigma_px(size)
    dx, dy = np.arange(size[0]) - uv[0], np.arange(size[1])[:, None] - uv[1]
    g = np.exp(-0.5 * (dx**2 + dy**2) / sigma**2)
    weight = g**2 * (g > encoding.pedestal if is_blue else 1.0) / sigma**4
    mixed = (weight * dx * dy).sum()
    return np.array([[(weight * dx**2).sum(), mixed], [mixed, (weight * dy**2).sum()]])

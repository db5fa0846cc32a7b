"""The published decoder of action images, re-implemented from its description: the control of `bench codec`.

Source: arXiv 2604.06168. The heatmap of the first view is reduced to its centroid over the full image, a
ray is cast through it, depths between two fixed planes are sampled, and the depth is taken whose
projection meets the highest product of heatmap values in the other views. Pixel centres lie at i + 0.5.
The rotation is completed from all three colours, which the release does not do.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..codec import ActionEncoding
from ..geometry import PinholeCamera
from ..geometry.se3 import make


def decode_published(images: np.ndarray, cameras: Sequence[PinholeCamera], encoding: ActionEncoding, depths: int = 512,
                     near_m: float = 0.5, far_m: float = 1.5) -> tuple[np.ndarray, np.ndarray]:
    """images (T, V, H, W, 3) uint8 -> poses (T, 4, 4) and openness (T,), read as the description says."""
    z = np.linspace(near_m, far_m, depths)
    floor = encoding.pedestal + 1 / 255  # above the pedestal as bytes hold it
    poses, openness = [], []
    for views in images:
        heat = views.astype(np.float64) / 255.0
        points = np.stack([_point(heat[..., c], cameras, z, floor if c == 2 else 0.0) for c in range(3)])
        poses.append(_pose(points, encoding))
        openness.append(float(views[..., 2].max() <= 128))
    return np.stack(poses), np.array(openness)


def _point(heat: np.ndarray, cameras: Sequence[PinholeCamera], z: np.ndarray, floor: float) -> np.ndarray:
    """Heatmaps (V, H, W) of one colour -> the point (3,) m."""
    heat = np.where(heat > floor, heat, 0.0)
    ys, xs = np.mgrid[:heat.shape[1], :heat.shape[2]] + 0.5
    mass = max(heat[0].sum(), 1e-9)
    centre = np.array([(heat[0] * xs).sum() / mass, (heat[0] * ys).sum() / mass])
    direction = cameras[0].unproject(centre)
    forward = cameras[0].base_T_camera[:3, 2]
    samples = cameras[0].centre + z[:, None] / (direction @ forward) * direction
    score = np.ones(len(z))
    for view, camera in zip(heat[1:], cameras[1:]):
        uv = camera.project(samples)
        col, row = np.floor(np.nan_to_num(uv, nan=-1.0)).astype(int).T
        inside = (col >= 0) & (row >= 0) & (col < view.shape[1]) & (row < view.shape[0])
        score *= np.where(inside, view[np.where(inside, row, 0), np.where(inside, col, 0)], 0.0)
    return samples[score.argmax()]


def _pose(points: np.ndarray, encoding: ActionEncoding) -> np.ndarray:
    """Red, green and blue points (3, 3) m -> pose (4, 4): the green axis exactly, the blue one made perpendicular."""
    drawn = encoding.tcp_points / encoding.axis_length_m
    return make(_frame(points[1] - points[0], points[2] - points[0]) @ _frame(drawn[1], drawn[2]).T, points[0])


def _frame(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    a = a / max(np.linalg.norm(a), 1e-9)
    b = b - (a @ b) * a
    b = b / max(np.linalg.norm(b), 1e-9)
    return np.stack([a, b, np.cross(a, b)], -1)

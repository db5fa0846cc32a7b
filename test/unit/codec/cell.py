"""A small cell with known poses, shared by the codec's tests."""

from __future__ import annotations

import numpy as np

from action_images_ros.geometry import PinholeCamera, se3

WORK = np.array([0.5, 0.0, 0.2])


def looking_at_work(azimuth_deg: float, size: tuple[int, int] = (128, 128), distortion=None,
                    elevation_deg: float = 35.0, distance_m: float = 1.2, fov_deg: float = 48.0) -> PinholeCamera:
    a, e = np.radians([azimuth_deg, elevation_deg])
    back = np.array([np.cos(e) * np.cos(a), np.cos(e) * np.sin(a), np.sin(e)])
    right = np.cross(-back, [0, 0, 1.0])
    right /= np.linalg.norm(right)
    focal = 0.5 * min(size) / np.tan(np.radians(fov_deg) / 2)
    K = np.array([[focal, 0, size[0] / 2 - 0.5], [0, focal, size[1] / 2 - 0.5], [0, 0, 1]])
    pose = se3.make(np.stack([right, np.cross(-back, right), -back], -1), WORK + distance_m * back)
    return PinholeCamera(K, size, pose, distortion)


def two_views(size: tuple[int, int] = (128, 128), distortion=None) -> list[PinholeCamera]:
    return [looking_at_work(32, size, distortion), looking_at_work(-33, size, distortion)]


def motion(steps: int = 9, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Smooth poses (T, 4, 4) with the hand pointing down, and openness (T,) that closes half way."""
    rng = np.random.default_rng(seed)
    s = np.linspace(0, 1, steps)[:, None]
    start, end = (WORK + rng.uniform(-1, 1, 3) * (0.1, 0.15, 0.1) for _ in range(2))
    R = se3.so3_exp(rng.normal(0, 0.3, 3) + [0, 0, rng.uniform(-2, 2)]) @ se3.so3_exp(s * rng.normal(0, 0.3, 3))
    return se3.make(R @ np.diag([1.0, -1, -1]), start + s * (end - start)), (s[:, 0] < 0.5).astype(float)


def errors(chunk, poses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Position (T,) mm and rotation (T,) degrees."""
    return (1e3 * np.linalg.norm(chunk.base_T_tcps[:, :3, 3] - poses[:, :3, 3], axis=-1),
            np.degrees(se3.angle_between(chunk.base_T_tcps[:, :3, :3], poses[:, :3, :3])))

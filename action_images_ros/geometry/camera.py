"""A calibrated pinhole camera fixed in the robot base frame, with OpenCV distortion.

Camera frame = optical frame (+z forward, +x right, +y down). The centre of the top-left pixel is
(0, 0). Distortion is OpenCV's plumb_bob (k1 k2 p1 p2 k3) or rational_polynomial (k1..k6).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import CameraError
from .se3 import inverse, require_rigid, transform

_MIN_DEPTH_M = 1e-3
_UNDISTORT_ITERATIONS = 30


@dataclass(frozen=True, eq=False)
class PinholeCamera:
    """K (3, 3) px; image_size (width, height) px; base_T_camera (4, 4), `p_base = base_T_camera @ p_camera`;
    distortion None or 4, 5 or 8 OpenCV coefficients (k1 k2 p1 p2 [k3 [k4 k5 k6]]).

    Raises CameraError where a value is malformed, ActionImagesError where the pose is not rigid.
    """

    K: np.ndarray
    image_size: tuple[int, int]
    base_T_camera: np.ndarray
    distortion: np.ndarray | None = None

    def __post_init__(self) -> None:
        K = np.asarray(self.K, float)
        if K.shape != (3, 3) or not np.all(np.isfinite(K)) or K[0, 0] <= 0 or K[1, 1] <= 0:
            raise CameraError(f"K must be a finite (3, 3) matrix with positive focal lengths; got {K.tolist()}")
        size = tuple(int(v) for v in self.image_size)
        if len(size) != 2 or min(size) < 1:
            raise CameraError(f"image_size must be (width, height) in pixels; got {self.image_size}")
        object.__setattr__(self, "K", K)
        object.__setattr__(self, "image_size", size)
        object.__setattr__(self, "base_T_camera", require_rigid(self.base_T_camera, "base_T_camera"))
        if self.distortion is not None:
            d = np.asarray(self.distortion, float).ravel()
            if d.size not in (4, 5, 8) or not np.all(np.isfinite(d)):
                raise CameraError(f"distortion must have 4, 5 or 8 finite coefficients (k1 k2 p1 p2 k3 k4 k5 k6); got {d}")
            padded = np.zeros(8)
            padded[: d.size] = d
            object.__setattr__(self, "distortion", padded if np.any(padded) else None)

    @property
    def camera_T_base(self) -> np.ndarray:
        return inverse(self.base_T_camera)

    @property
    def centre(self) -> np.ndarray:
        """Optical centre in the base frame (3,) m."""
        return self.base_T_camera[:3, 3]

    def project(self, points: np.ndarray) -> np.ndarray:
        """Base-frame points (..., 3) m -> uv (..., 2) px; NaN where a point is not in front of the camera."""
        return self.project_camera_points(transform(self.camera_T_base, np.asarray(points, float)))

    def project_camera_points(self, points: np.ndarray) -> np.ndarray:
        """Camera-frame points (..., 3) m -> uv (..., 2) px; NaN where z is not positive."""
        z = np.where(points[..., 2] > _MIN_DEPTH_M, points[..., 2], np.nan)
        xy = self.distort(points[..., :2] / z[..., None])
        return xy @ self.K[:2, :2].T + self.K[:2, 2]

    def distort(self, xy: np.ndarray) -> np.ndarray:
        """Ideal normalised image coordinates (..., 2) -> distorted ones."""
        if self.distortion is None:
            return xy
        k1, k2, p1, p2, k3, k4, k5, k6 = self.distortion
        x, y = xy[..., 0], xy[..., 1]
        r2 = x * x + y * y
        radial = (1 + r2 * (k1 + r2 * (k2 + r2 * k3))) / (1 + r2 * (k4 + r2 * (k5 + r2 * k6)))
        return np.stack([x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x),
                         y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y], -1)

    def undistort(self, xy: np.ndarray) -> np.ndarray:
        """Inverse of `distort` by fixed-point iteration (converges for the lenses these models describe)."""
        if self.distortion is None:
            return xy
        ideal = np.array(xy, float)
        for _ in range(_UNDISTORT_ITERATIONS):
            ideal = ideal - (self.distort(ideal) - xy)
        return ideal

    def unproject(self, uv: np.ndarray) -> np.ndarray:
        """Pixels (..., 2) -> unit ray directions (..., 3) in the base frame; rays start at `centre`."""
        uv = np.asarray(uv, float)
        xy = self.undistort((uv - self.K[:2, 2]) @ np.linalg.inv(self.K[:2, :2]).T)
        d = np.concatenate([xy, np.ones(xy.shape[:-1] + (1,))], -1)
        d = d / np.linalg.norm(d, axis=-1, keepdims=True)
        return d @ self.base_T_camera[:3, :3].T

    def pixel_grid(self) -> np.ndarray:
        """uv of every pixel centre (H, W, 2)."""
        w, h = self.image_size
        return np.stack(np.meshgrid(np.arange(w, dtype=float), np.arange(h, dtype=float)), -1)

    def resized(self, image_size: tuple[int, int]) -> PinholeCamera:
        """The same camera with its image resized to (width, height): c' = (c + 0.5) s - 0.5."""
        s = np.array([image_size[0] / self.image_size[0], image_size[1] / self.image_size[1]])
        K = self.K.copy()
        K[:2, :2] *= s[:, None]
        K[:2, 2] = (self.K[:2, 2] + 0.5) * s - 0.5
        return PinholeCamera(K, image_size, self.base_T_camera, self.distortion)

    def cropped(self, x: int, y: int, width: int, height: int) -> PinholeCamera:
        """The same camera with its image cut to the rectangle whose top-left pixel is (x, y)."""
        if x < 0 or y < 0 or width < 1 or height < 1 or x + width > self.image_size[0] or y + height > self.image_size[1]:
            raise CameraError(f"crop ({x}, {y}, {width}, {height}) is outside the image {self.image_size}")
        K = self.K.copy()
        K[:2, 2] -= (x, y)
        return PinholeCamera(K, (width, height), self.base_T_camera, self.distortion)

    def moved(self, new_base_T_base: np.ndarray) -> PinholeCamera:
        """The same camera after the whole cell, camera included, moved rigidly."""
        return PinholeCamera(self.K, self.image_size, new_base_T_base @ self.base_T_camera, self.distortion)

"""A calibrated pinhole camera fixed in the robot base frame, with OpenCV distortion.

Camera frame = optical frame (+z forward, +x right, +y down). The centre of the top-left pixel is
(0, 0). Distortion is OpenCV's plumb_bob (k1 k2 p1 p2 k3) or rational_polynomial (k1..k6).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..errors import CameraError
from .se3 import inverse, require_rigid, transform

_MIN_DEPTH_M = 1e-3
_UNDISTORT_ITERATIONS = 25
_UNDISTORT_TOLERANCE = 1e-10
_LONGEST_STEP = 0.3
_LEAST_STRETCH = 0.05
_WIDEST = 10.0  # tangent of the widest angle off axis that is looked at, 84 degrees


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
                raise CameraError("distortion must have 4, 5 or 8 finite coefficients (k1 k2 p1 p2 k3 k4 k5 k6); "
                                  f"got {d}")
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
        """Base-frame points (..., 3) m -> uv (..., 2) px; NaN where `project_camera_points` gives NaN."""
        return self.project_camera_points(transform(self.camera_T_base, np.asarray(points, float)))

    def project_camera_points(self, points: np.ndarray) -> np.ndarray:
        """Camera-frame points (..., 3) m -> uv (..., 2) px.

        NaN where z is not positive, and so far off the axis that the distortion polynomial turns back and would
        fold the point into the image.
        """
        z = np.where(points[..., 2] > _MIN_DEPTH_M, points[..., 2], np.nan)
        ideal = points[..., :2] / z[..., None]
        if self.distortion is not None:
            ideal = np.where((ideal**2).sum(-1, keepdims=True) < self.max_ideal_radius**2, ideal, np.nan)
        xy = self.distort(ideal)
        return xy @ self.K[:2, :2].T + self.K[:2, 2]

    def distort(self, xy: np.ndarray) -> np.ndarray:
        """Ideal normalised image coordinates (..., 2) -> distorted ones."""
        if self.distortion is None:
            return xy
        p1, p2 = self.distortion[2:4]
        x, y = xy[..., 0], xy[..., 1]
        r2 = x * x + y * y
        radial, _ = self._radial(r2)
        return np.stack([x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x),
                         y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y], -1)

    def distort_jacobian(self, xy: np.ndarray) -> np.ndarray:
        """Derivative of `distort` at ideal coordinates (..., 2): (..., 2, 2)."""
        xy = np.asarray(xy, float)
        if self.distortion is None:
            return np.broadcast_to(np.eye(2), xy.shape + (2,))
        _, _, p1, p2 = self.distortion[:4]
        x, y = xy[..., 0], xy[..., 1]
        radial, slope = self._radial(x * x + y * y)
        mixed = 2 * (x * y * slope + p1 * x + p2 * y)
        return np.stack([np.stack([radial + 2 * x * x * slope + 2 * p1 * y + 6 * p2 * x, mixed], -1),
                         np.stack([mixed, radial + 2 * y * y * slope + 6 * p1 * y + 2 * p2 * x], -1)], -2)

    def _radial(self, r2: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Radial factor and its derivative by the squared radius."""
        assert self.distortion is not None
        k1, k2, _, _, k3, k4, k5, k6 = self.distortion
        above, below = (1 + r2 * (a + r2 * (b + r2 * c)) for a, b, c in ((k1, k2, k3), (k4, k5, k6)))
        rise, fall = (a + r2 * (2 * b + r2 * 3 * c) for a, b, c in ((k1, k2, k3), (k4, k5, k6)))
        return above / below, (rise * below - above * fall) / below**2

    @cached_property
    def max_ideal_radius(self) -> float:
        """Radius in ideal normalised coordinates up to which distortion is one-to-one; inf without distortion."""
        if self.distortion is None:
            return np.inf
        r = np.linspace(0, _WIDEST, 10001)
        with np.errstate(all="ignore"):
            radial, slope = self._radial(r**2)
            turns = ~((radial + 2 * r**2 * slope > 0) & (radial > 0))
        return float(r[turns.argmax()]) if turns.any() else np.inf

    def undistort(self, xy: np.ndarray) -> np.ndarray:
        """Inverse of `distort` by Newton's method; NaN where no ideal point within `max_ideal_radius` maps to xy."""
        if self.distortion is None:
            return xy
        xy = np.asarray(xy, float)
        ideal = xy.copy()
        for _ in range(_UNDISTORT_ITERATIONS):
            (a, b), (c, d) = np.moveaxis(self.distort_jacobian(ideal), (-2, -1), (0, 1))
            missing = xy - self.distort(ideal)
            step = np.stack([d * missing[..., 0] - b * missing[..., 1], a * missing[..., 1] - c * missing[..., 0]], -1)
            step /= np.maximum(a * d - b * c, _LEAST_STRETCH)[..., None]
            step *= np.minimum(1.0, _LONGEST_STEP / np.maximum(np.linalg.norm(step, axis=-1, keepdims=True), 1e-300))
            ideal = ideal + step
            if np.abs(step).max(initial=0.0) < _UNDISTORT_TOLERANCE:
                break
        found = np.abs(self.distort(ideal) - xy).max(-1, keepdims=True) < 1e-9
        return np.where(found & ((ideal**2).sum(-1, keepdims=True) < self.max_ideal_radius**2), ideal, np.nan)

    def unproject(self, uv: np.ndarray) -> np.ndarray:
        """Pixels (..., 2) -> unit ray directions (..., 3) in the base frame; rays start at `centre`. NaN where
        `undistort` gives NaN."""
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
        if min(x, y) < 0 or min(width, height) < 1 or x + width > self.image_size[0] or y + height > self.image_size[1]:
            raise CameraError(f"crop ({x}, {y}, {width}, {height}) is outside the image {self.image_size}")
        K = self.K.copy()
        K[:2, 2] -= (x, y)
        return PinholeCamera(K, (width, height), self.base_T_camera, self.distortion)

    def moved(self, new_base_T_base: np.ndarray) -> PinholeCamera:
        """The same camera after the whole cell, camera included, moved rigidly."""
        return PinholeCamera(self.K, self.image_size, new_base_T_base @ self.base_T_camera, self.distortion)

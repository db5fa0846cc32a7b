"""Random calibrated cameras around the workspace, with TEST poses and lenses held out.

Azimuth is measured about the vertical through the workspace, 0 straight ahead of the robot, positive
towards its left (+y). Held out for TEST, each by itself: every fourth 5-degree bin of azimuth, every
fourth 5-degree bin of elevation, every fourth 2-degree bin of the field of view (see split.HeldOut).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..errors import SimError
from ..geometry import PinholeCamera, so3_exp
from ..geometry.se3 import make
from .split import HeldOut, Split

VIEWS = ("left", "right", "front")
AZIMUTH_DEG = {"left": HeldOut(-75.0, -10.0, 5.0), "right": HeldOut(10.0, 75.0, 5.0),
               "front": HeldOut(-10.0, 15.0, 5.0)}
ELEVATION_DEG = HeldOut(15.0, 60.0, 5.0)
FOVY_DEG = HeldOut(38.0, 58.0, 2.0)
DISTANCE_M = (0.9, 1.5)
HALF_EXTENT_M = (0.40, 0.52)
WORKSPACE_CENTRE_M = np.array([0.48, 0.0, 0.18])
_AIM_SD_M = np.array([0.03, 0.03, 0.02])
_ROLL_DEG = 5.0


def view_names(n_views: int) -> tuple[str, ...]:
    if not 1 <= n_views <= len(VIEWS):
        raise SimError(f"n_views is {n_views}; legal: 1 to {len(VIEWS)}")
    return VIEWS[:n_views]


def look_at(eye: np.ndarray, aim: np.ndarray, roll_rad: float) -> np.ndarray:
    """base_T_camera (4, 4) of an optical frame at `eye` looking at `aim`, image up towards +z, then rolled."""
    forward = (aim - eye) / np.linalg.norm(aim - eye)
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    R = np.stack([right, np.cross(forward, right), forward], 1)
    return make(R @ so3_exp(np.array([0.0, 0.0, roll_rad])), eye)


def intrinsics(fov_deg: float, image_size: tuple[int, int]) -> np.ndarray:
    """K (3, 3) of a camera whose centre square (side = the shorter image side) spans `fov_deg`."""
    width, height = image_size
    f = 0.5 * min(width, height) / np.tan(np.deg2rad(fov_deg) / 2)
    return np.array([[f, 0, width / 2 - 0.5], [0, f, height / 2 - 0.5], [0, 0, 1.0]])


def sample_cameras(rng: np.random.Generator, split: Split, n_views: int,
                   image_size: tuple[int, int]) -> dict[str, PinholeCamera]:
    """One camera a view ("left", "right", "front"), each framing the workspace in its centre square.

    image_size (width, height) px. Distance 0.9 to 1.5 m, field of view 38 to 58 degrees such that the
    half-width seen at the aim point is 0.40 to 0.52 m. Raises SimError for an illegal number of views.
    """
    return {view: _sample_camera(rng, split, view, image_size) for view in view_names(n_views)}


def _sample_camera(rng: np.random.Generator, split: Split, view: str, image_size: tuple[int, int]) -> PinholeCamera:
    azimuth = np.deg2rad(AZIMUTH_DEG[view].sample(rng, split))
    elevation = np.deg2rad(ELEVATION_DEG.sample(rng, split))
    fov_deg = FOVY_DEG.sample(rng, split)
    tan = np.tan(np.deg2rad(fov_deg) / 2)
    nearest = max(DISTANCE_M[0], HALF_EXTENT_M[0] / tan)
    distance = rng.uniform(nearest, max(nearest, min(DISTANCE_M[1], HALF_EXTENT_M[1] / tan)))
    direction = np.array([np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)])
    eye = WORKSPACE_CENTRE_M + distance * direction
    aim = WORKSPACE_CENTRE_M + np.clip(rng.normal(size=3), -2, 2) * _AIM_SD_M
    roll = np.deg2rad(rng.uniform(-_ROLL_DEG, _ROLL_DEG))
    return PinholeCamera(intrinsics(fov_deg, image_size), image_size, look_at(eye, aim, roll))


def sees(cameras: Sequence[PinholeCamera], points: np.ndarray, margin: float = 0.02) -> bool:
    """Whether every point (..., 3) lies in the centre square of every camera, `margin` of its side from the edge."""
    for camera in cameras:
        side = min(camera.image_size)
        centre = (np.array(camera.image_size) - 1) / 2
        off = np.abs(camera.project(points) - centre)
        if not np.all(off <= side * (0.5 - margin)):
            return False
    return True

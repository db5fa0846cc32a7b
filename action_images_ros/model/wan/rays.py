"""Camera rays as the Wan-style transformer is conditioned on them (method, section 5).

Poses are relative to the first view's camera. The published formula d = normalise(R K^-1 [u + .5, v + .5, 1]) measures
K from the image's corner; this package measures it from the centre of the first pixel, so its rays through pixel
centres are the same rays.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum

import numpy as np

from ...errors import ModelError
from ...geometry import PinholeCamera
from ..rays import plucker_rays

MOMENT_SCALE_M = 3.0
"""Moments are divided by this before they are encoded as a video in about [-1, 1]."""


class RayConvention(str, Enum):
    """Axes of the first view's camera, in which rays are expressed.

    PROJECT: optical frame, x right, y down, z forward. RELEASE: the released weights' simulator frame, x left, y up, z
    forward (fx and fy negative there). The rays are the same lines in space; only the frame is turned.
    """

    PROJECT = "project"
    RELEASE = "release"

    @classmethod
    def parse(cls, name: str) -> RayConvention:
        try:
            return cls(name)
        except ValueError:
            raise ModelError(f"ray_convention is {name!r}; legal: {', '.join(c.value for c in cls)}") from None


def camera_rays(cameras: Sequence[PinholeCamera], convention: RayConvention) -> np.ndarray:
    """V cameras of one image size (W, H), first view first -> (V, 6, H, W) float32: unit direction, then moment (m).

    Raises ModelError where there is no camera or the sizes differ.
    """
    sizes = {camera.image_size for camera in cameras}
    if len(sizes) != 1:
        raise ModelError(f"camera rays need at least one view and one image size; got {len(cameras)} views of sizes "
                         f"{sorted(sizes)}: resize the cameras to the model's image size first")
    rays = plucker_rays(cameras, sizes.pop(), "first_view")
    if convention is RayConvention.RELEASE:
        half_turn_about_z = np.array([-1, -1, 1, -1, -1, 1], np.float32)
        rays = rays * half_turn_about_z[:, None, None]
    return rays


def encode_rays(rays: np.ndarray, frames: int, encode: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Static rays (V, 6, H, W) -> camera latents (V, F, 2 C, h, w) of a segment of `frames` video frames.

    encode: videos (B, 3, T, H, W) float32 in about [-1, 1] -> latents (B, C, F, h, w), the frame codec of the model.
    Directions make the first C channels, scaled moments the others. Every segment of a view gets the same latents; one
    of a single latent frame gets the first.
    """
    views = len(rays)
    parts = np.concatenate([rays[:, :3], rays[:, 3:] / MOMENT_SCALE_M])
    videos = np.repeat(parts[:, :, None], frames, 2).astype(np.float32)
    latents = np.moveaxis(np.asarray(encode(videos)), 1, 2)
    return np.concatenate([latents[:views], latents[views:]], 2)

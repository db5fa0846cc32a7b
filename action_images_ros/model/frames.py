"""Camera images and action images <-> latents.

`FrameCodec` is the border behind which a VAE or plain pixels sit. All codecs map [0, 255] images to latents in
about [-1, 1] and keep view and time axes in front.
"""

from __future__ import annotations

from typing import Protocol

import cv2
import numpy as np

from ..errors import CameraError
from ..geometry import PinholeCamera


class FrameCodec(Protocol):
    """Frames of one kind (..., T, H, W, 3) uint8 <-> latents (..., F, C, h, w) float32."""

    def latent_frames(self, frames: int) -> int: ...
    def encode(self, images: np.ndarray) -> np.ndarray: ...
    def decode(self, latents: np.ndarray) -> np.ndarray: ...


class PixelCodec:
    """Pixels as they are, `factor` x `factor` blocks folded into channels (space to depth); one latent frame a frame.

    Channel order: (row in block, column in block, colour).
    """

    def __init__(self, factor: int) -> None:
        self.factor = factor

    def latent_frames(self, frames: int) -> int:
        return frames

    def encode(self, images: np.ndarray) -> np.ndarray:
        """(..., H, W, 3) uint8 -> (..., 3 f f, H / f, W / f) float32 in [-1, 1]."""
        f = self.factor
        *lead, h, w, c = images.shape
        x = images.reshape(*lead, h // f, f, w // f, f, c)
        n = len(lead)
        x = x.transpose(*range(n), n + 1, n + 3, n + 4, n, n + 2)
        return x.reshape(*lead, f * f * c, h // f, w // f).astype(np.float32) / 127.5 - 1.0

    def decode(self, latents: np.ndarray) -> np.ndarray:
        """Inverse of `encode`, rounded and clipped to uint8."""
        f = self.factor
        *lead, c, h, w = latents.shape
        n = len(lead)
        x = latents.reshape(*lead, f, f, c // (f * f), h, w)
        x = x.transpose(*range(n), n + 3, n, n + 4, n + 1, n + 2).reshape(*lead, h * f, w * f, c // (f * f))
        return np.rint(np.clip((x + 1.0) * 127.5, 0, 255)).astype(np.uint8)


def model_camera(camera: PinholeCamera, image_size: tuple[int, int]) -> PinholeCamera:
    """The camera after `model_image`: centre square, resized."""
    x, y, side = _centre_square(camera.image_size, image_size)
    return camera.cropped(x, y, side, side).resized(image_size)


def model_image(image: np.ndarray, image_size: tuple[int, int]) -> np.ndarray:
    """Centre-square crop and area resize of (H, W, 3) uint8: what the model sees, in training and live."""
    x, y, side = _centre_square((image.shape[1], image.shape[0]), image_size)
    square = np.ascontiguousarray(image[y:y + side, x:x + side])
    return square if side == image_size[0] else cv2.resize(square, image_size, interpolation=cv2.INTER_AREA)


def _centre_square(source: tuple[int, int], target: tuple[int, int]) -> tuple[int, int, int]:
    side = min(source)
    if target[0] != target[1]:
        raise CameraError(f"the model's image size {target} must be square")
    if side < target[0]:
        raise CameraError(f"camera image {source[0]}x{source[1]} is smaller than the model's {target[0]}x{target[1]}; "
                          "set the camera to a higher resolution")
    return (source[0] - side) // 2, (source[1] - side) // 2, side

"""Camera images and action images <-> latents.

`FrameCodec` is the border behind which a VAE or plain pixels sit. All codecs map [0, 255] images to latents in
about [-1, 1] and keep view and time axes in front.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from ..errors import CameraError, ModelError, pip_install
from ..geometry import PinholeCamera
from .config import ModelConfig


class FrameCodec(Protocol):
    """One segment of T frames (..., T, H, W, 3) <-> latents (..., F, C, h, w) float32; the leading axes are a batch.

    `encode` and `decode` take and give uint8 images, `encode_signal` what `encode` makes of them first: float32, -1
    where the image is 0, 1 where it is 255 (camera rays and unquantised action images come so).
    """

    def encode(self, images: np.ndarray) -> np.ndarray: ...
    def encode_signal(self, signal: np.ndarray) -> np.ndarray: ...
    def decode(self, latents: np.ndarray) -> np.ndarray: ...


class PixelCodec:
    """Pixels as they are, `factor` x `factor` blocks folded into channels (space to depth); one latent frame a frame.

    Channel order: (row in block, column in block, colour).
    """

    def __init__(self, factor: int) -> None:
        self.factor = factor

    def encode(self, images: np.ndarray) -> np.ndarray:
        """(..., H, W, 3) uint8 -> (..., 3 f f, H / f, W / f) float32 in [-1, 1]."""
        return self.encode_signal(signal_of(images))

    def encode_signal(self, signal: np.ndarray) -> np.ndarray:
        """(..., H, W, C) -> (..., C f f, H / f, W / f) float32."""
        f = self.factor
        *lead, h, w, c = signal.shape
        x = signal.reshape(*lead, h // f, f, w // f, f, c)
        n = len(lead)
        x = x.transpose(*range(n), n + 1, n + 3, n + 4, n, n + 2)
        return x.reshape(*lead, f * f * c, h // f, w // f).astype(np.float32)

    def decode(self, latents: np.ndarray) -> np.ndarray:
        """Inverse of `encode`, rounded and clipped to uint8."""
        f = self.factor
        *lead, c, h, w = latents.shape
        n = len(lead)
        x = latents.reshape(*lead, f, f, c // (f * f), h, w)
        x = x.transpose(*range(n), n + 3, n, n + 4, n + 1, n + 2).reshape(*lead, h * f, w * f, c // (f * f))
        return image_of(x)


@dataclass(frozen=True)
class FrameCodecs:
    """Of video segments and of action segments; one and the same where both have one latent shape."""

    video: FrameCodec
    action: FrameCodec


def make_frame_codecs(config: ModelConfig, directory: Path | None = None, device="cpu") -> FrameCodecs:
    """directory: the model directory, whose `vae/` the Wan VAE is read from; plain pixels need none. device: torch's,
    of the VAE.

    Raises ModelError where the VAE is missing, damaged, or not the one that the configuration describes.
    """
    if config.frame_codec == "pixels":
        return FrameCodecs(PixelCodec(config.pixel_factor), PixelCodec(1))
    if directory is None:
        raise ModelError("frame_codec 'wan_vae' reads its VAE from the model directory; give the directory")
    try:
        from .wan.vae import load_vae
    except ModuleNotFoundError as e:
        raise ModelError(f"frame_codec 'wan_vae' needs {e.name}: {pip_install('train')}") from e
    codec = load_vae(Path(directory), config, device)
    return FrameCodecs(codec, codec)


def signal_of(images: np.ndarray) -> np.ndarray:
    """uint8 -> float32 in [-1, 1]."""
    return images.astype(np.float32) / 127.5 - 1.0


def image_of(signal: np.ndarray) -> np.ndarray:
    """Inverse of `signal_of`, rounded and clipped."""
    return np.rint(np.clip((signal + 1.0) * 127.5, 0, 255)).astype(np.uint8)


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

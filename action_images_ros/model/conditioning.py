"""What a denoiser is told of cameras and instruction, made once a calibration and once an instruction."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..errors import ModelError
from ..geometry import PinholeCamera
from .config import ModelConfig
from .denoiser import Conditioning
from .frames import FrameCodecs, model_camera
from .rays import plucker_rays
from .recent import Recent
from .text import TextEncoder
from .wan.rays import RayConvention, camera_rays, encode_rays

_KEPT = 4


def camera_features(cameras: Sequence[PinholeCamera], config: ModelConfig, codecs: FrameCodecs) -> np.ndarray:
    """V cameras at the model's image size -> `Conditioning.rays` of one canvas, float32.

    conv_canvas: rays on the action grid (V, 6, h, w). wan: camera latents (V, F, 2 C, h, w) of a whole segment.
    """
    if config.denoiser == "conv_canvas":
        return plucker_rays(cameras, config.action_size, config.ray_frame)

    def encode(videos: np.ndarray) -> np.ndarray:
        return np.moveaxis(codecs.video.encode_signal(np.moveaxis(videos, 1, -1)), 1, 2)

    return encode_rays(camera_rays(cameras, RayConvention.parse(config.wan.ray_convention)), config.chunk_size, encode)


class Conditioner:
    """Gives one and the same Conditioning object as long as cameras and instruction stay what they are, by value."""

    def __init__(self, config: ModelConfig, codecs: FrameCodecs, text: TextEncoder) -> None:
        self.config, self.codecs, self.text = config, codecs, text
        self._words, self._features, self._conditionings = Recent(_KEPT), Recent(_KEPT), Recent(_KEPT)
        self._action_cameras = Recent(_KEPT)

    def action_cameras(self, cameras: Sequence[PinholeCamera]) -> tuple[PinholeCamera, ...]:
        """The cameras of the action images: crop and resize carried along.

        Raises ModelError where the number of views is not the model's.
        """
        return self._action_cameras.get(self._key(cameras), lambda: tuple(
            model_camera(c, self.config.image_size).resized(self.config.action_size) for c in cameras))

    def __call__(self, instruction: str, cameras: Sequence[PinholeCamera]) -> Conditioning:
        """Batch 1. Raises ModelError for an empty or too long instruction and another number of views."""
        return self._make(instruction, cameras)

    def without_instruction(self, cameras: Sequence[PinholeCamera]) -> Conditioning:
        """What guidance is measured from. Batch 1."""
        return self._make(None, cameras)

    def _make(self, instruction: str | None, cameras: Sequence[PinholeCamera]) -> Conditioning:
        key = self._key(cameras)

        def join() -> Conditioning:
            words, mask = self._words.get(instruction, lambda: self._read(instruction))
            seen = [model_camera(c, self.config.image_size) for c in cameras]
            rays = self._features.get(key, lambda: camera_features(seen, self.config, self.codecs))
            return Conditioning(rays[None], words[None], mask[None])

        return self._conditionings.get((instruction, key), join)

    def _read(self, instruction: str | None) -> tuple[np.ndarray, np.ndarray]:
        return self.text.empty() if instruction is None else self.text(instruction)

    def _key(self, cameras: Sequence[PinholeCamera]) -> tuple:
        if len(cameras) != self.config.views:
            raise ModelError(f"this model sees {self.config.views} views; got {len(cameras)}: "
                             "list exactly that many under `views` in the cell file")
        return tuple((c.image_size, c.K.tobytes(), c.base_T_camera.tobytes(),
                      b"" if c.distortion is None else c.distortion.tobytes()) for c in cameras)

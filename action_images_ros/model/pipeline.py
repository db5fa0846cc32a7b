"""Images, calibration, state and instruction -> a canvas -> the sampler -> images: one road for every mode and denoiser."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ..codec.encoding import encode
from ..errors import ModelError
from ..geometry import PinholeCamera
from .canvas import CanvasLayout, Mode
from .config import ModelConfig
from .denoiser import Conditioning, Denoiser
from .frames import PixelCodec, model_camera, model_image
from .rays import plucker_rays
from .sampler import Canvas, sample
from .text import TextEncoder, make_text_encoder


@dataclass(frozen=True)
class Given:
    """What a request gives, all views in canvas order.

    video: (T', V, H, W, 3) uint8 model images, T' = 1 (the observation) or chunk_size (mode label); base_T_tcps (K, 4, 4)
    and openness (K,): the pose at the observation, then what is already committed (K >= 1), or the whole
    chunk (mode world); not looked at in mode video, which has no action segment.
    """

    video: np.ndarray
    base_T_tcps: np.ndarray
    openness: np.ndarray
    instruction: str


@dataclass(frozen=True)
class Generated:
    """action_images (T, V, h, w, 3) uint8 and video (T, V, H, W, 3) uint8, each None where the mode has no such segment."""

    action_images: np.ndarray | None
    video: np.ndarray | None


class Pipeline:
    """Binds a model's configuration to a denoiser. Camera rays and text features are computed once per camera set
    and instruction, not once per chunk."""

    def __init__(self, config: ModelConfig, denoiser: Denoiser, text: TextEncoder | None = None) -> None:
        self.config, self.denoiser = config, denoiser
        self.codec, self.action_codec = PixelCodec(config.pixel_factor), PixelCodec(1)
        self.text = text or make_text_encoder(config.text)
        self._instruction: tuple[str, np.ndarray, np.ndarray] | None = None
        self._cameras: tuple[tuple[int, ...], np.ndarray, tuple[PinholeCamera, ...]] | None = None

    def action_cameras(self, cameras: Sequence[PinholeCamera]) -> tuple[PinholeCamera, ...]:
        """The cameras of the action images: crop and resize carried along.

        Raises ModelError where the number of views is not the model's.
        """
        self._prepare_cameras(cameras)
        return self._cameras[2]

    def model_images(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """V images (H, W, 3) of any size -> (1, V, h, w, 3) uint8 as the model sees them."""
        return np.stack([model_image(image, self.config.image_size) for image in images])[None]

    def run(self, mode: Mode, given: Given, cameras: Sequence[PinholeCamera], rng: np.random.Generator,
            on_step: Callable[[int, int], None] | None = None) -> Generated:
        """Generate what `mode` asks for. cameras: V, at the live images' size.

        Raises ModelError where the request does not fit the mode or the model, EngineError where the denoiser fails.
        """
        if mode.value not in self.config.modes:
            raise ModelError(f"this model was not trained for mode {mode.value!r}; legal: {', '.join(self.config.modes)}")
        T, V = self.config.chunk_size, self.config.views
        conditioning = self._conditioning(given.instruction, cameras)
        known = len(given.base_T_tcps)
        committed = 0 if mode in (Mode.WORLD, Mode.VIDEO) else known - 1
        layout = CanvasLayout.for_mode(mode, V, T, T, committed)
        need = len(layout.clean_video) if all(layout.clean_video) else 1
        if len(given.video) != need or (mode is Mode.WORLD and known != T):
            raise ModelError(f"mode {mode.value} needs {need} video frames and {'a whole chunk of ' + str(T) if mode is Mode.WORLD else 'at least 1'}"
                             f" poses; got {len(given.video)} and {known}")
        video = np.zeros((len(layout.clean_video), *given.video.shape[1:]), np.uint8)
        video[:need] = given.video
        action = np.zeros((len(layout.clean_action), V, *self.config.action_size[::-1], 3), np.uint8)
        if layout.clean_action:
            coarse = self.action_cameras(cameras)
            action[:known] = encode(given.base_T_tcps, given.openness, coarse, self.config.encoding)
        canvas = Canvas(_views_first(self.codec.encode(video)), _views_first(self.action_codec.encode(action)))
        out = sample(self.denoiser, canvas, layout, conditioning, self.config.sampler, rng, on_step)
        frames = None if mode is Mode.POLICY else self.codec.decode(out.video[0].swapaxes(0, 1))
        actions = None if mode is Mode.VIDEO else self.action_codec.decode(out.action[0].swapaxes(0, 1))
        return Generated(actions, frames)

    def _conditioning(self, instruction: str, cameras: Sequence[PinholeCamera]) -> Conditioning:
        if self._instruction is None or self._instruction[0] != instruction:
            self._instruction = (instruction, *self.text(instruction))
        self._prepare_cameras(cameras)
        _, words, mask = self._instruction
        return Conditioning(self._cameras[1][None], words[None], mask[None])

    def _prepare_cameras(self, cameras: Sequence[PinholeCamera]) -> None:
        key = tuple(id(c) for c in cameras)
        if self._cameras is not None and self._cameras[0] == key:
            return
        if len(cameras) != self.config.views:
            raise ModelError(f"this model sees {self.config.views} views; got {len(cameras)}: "
                             "list exactly that many under `views` in the cell file")
        seen = tuple(model_camera(c, self.config.image_size) for c in cameras)
        coarse = tuple(c.resized(self.config.action_size) for c in seen)
        # The key is of identities, so the cameras themselves are kept: a new object can not take an old one's id.
        self._keep = tuple(cameras)
        self._cameras = (key, plucker_rays(seen, self.config.action_size, self.config.ray_frame), coarse)


def _views_first(latents: np.ndarray) -> np.ndarray:
    """(F, V, C, h, w) -> (1, V, F, C, h, w)."""
    return np.ascontiguousarray(latents.swapaxes(0, 1)[None])

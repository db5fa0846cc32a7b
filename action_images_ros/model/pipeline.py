"""Images, calibration, state and instruction -> a canvas -> the sampler -> images: one road for every mode and
denoiser."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..codec.encoding import encode
from ..errors import ModelError
from ..geometry import PinholeCamera
from .canvas import CanvasLayout, Mode
from .conditioning import Conditioner
from .config import ModelConfig
from .denoiser import Denoiser
from .frames import FrameCodec, FrameCodecs, make_frame_codecs, model_image
from .sampler import Canvas, sample
from .text import TextEncoder, make_text_encoder


@dataclass(frozen=True)
class Given:
    """What a request gives, all views in canvas order.

    video: (T', V, H, W, 3) uint8 model images, T' = 1 (the observation) or chunk_size (mode label); base_T_tcps (K,
    4, 4)
    and openness (K,): the pose at the observation, then what is already committed (K >= 1), or the whole
    chunk (mode world); not looked at in mode video, which has no action segment.
    """

    video: np.ndarray
    base_T_tcps: np.ndarray
    openness: np.ndarray
    instruction: str


@dataclass(frozen=True)
class Generated:
    """action_images (T, V, h, w, 3) uint8 and video (T, V, H, W, 3) uint8, each None where the mode has no such
    segment."""

    action_images: np.ndarray | None
    video: np.ndarray | None


class Pipeline:
    """Binds a model's configuration to a denoiser. What a denoiser is told of cameras and instruction is computed once
    per camera set and instruction, not once per chunk."""

    def __init__(
        self,
        config: ModelConfig,
        denoiser: Denoiser,
        text: TextEncoder | None = None,
        codecs: FrameCodecs | None = None,
    ) -> None:
        """text, codecs: may be left out where they need no files; see `from_directory`."""
        self.config, self.denoiser = config, denoiser
        self.codecs = codecs or make_frame_codecs(config)
        self.conditioner = Conditioner(config, self.codecs, text or make_text_encoder(config.text))

    @classmethod
    def from_directory(cls, directory: Path, config: ModelConfig, denoiser: Denoiser) -> Pipeline:
        """With the frame codec and the text encoder of a model directory; a VAE is put on the denoiser's device.

        Raises ModelError where one is missing or does not fit the configuration.
        """
        codecs = make_frame_codecs(config, directory, getattr(denoiser, "device", "cpu"))
        return cls(config, denoiser, make_text_encoder(config.text, directory), codecs)

    def action_cameras(self, cameras: Sequence[PinholeCamera]) -> tuple[PinholeCamera, ...]:
        """The cameras of the action images: crop and resize carried along.

        Raises ModelError where the number of views is not the model's.
        """
        return self.conditioner.action_cameras(cameras)

    def model_images(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """V images (H, W, 3) of any size -> (1, V, h, w, 3) uint8 as the model sees them."""
        return np.stack([model_image(image, self.config.image_size) for image in images])[None]

    def run(
        self,
        mode: Mode,
        given: Given,
        cameras: Sequence[PinholeCamera],
        rng: np.random.Generator,
        on_step: Callable[[int, int], None] | None = None,
    ) -> Generated:
        """Generate what `mode` asks for. cameras: V, at the live images' size.

        What is given comes back as it was given; of committed poses, those count that fill a latent frame. Raises
        ModelError where the request does not fit the mode or the model, EngineError where the denoiser fails.
        """
        config, layout = self.config, self._layout(mode, given)
        drawn = encode(given.base_T_tcps, given.openness, self.action_cameras(cameras), config.encoding)
        conditioning = self.conditioner(given.instruction, cameras)
        without = None if config.sampler.guidance_scale == 1 else self.conditioner.without_instruction(cameras)
        canvas = Canvas(
            self._latents(self.codecs.video, given.video, layout.clean_video),
            self._latents(self.codecs.action, drawn, layout.clean_action),
        )
        made = sample(self.denoiser, canvas, layout, conditioning, config.sampler.of(mode), rng, on_step, without)
        return Generated(
            self._images(self.codecs.action, made.action, drawn, layout.clean_action),
            self._images(self.codecs.video, made.video, given.video, layout.clean_video),
        )

    def _layout(self, mode: Mode, given: Given) -> CanvasLayout:
        config, known = self.config, len(given.base_T_tcps)
        if mode.value not in config.modes:
            raise ModelError(f"this model was not trained for mode {mode.value!r}; legal: {', '.join(config.modes)}")
        images = config.chunk_size if mode is Mode.LABEL else 1
        least = config.chunk_size if mode is Mode.WORLD else 1
        if len(given.video) != images or not least <= known <= config.chunk_size:
            raise ModelError(
                f"mode {mode.value} needs {images} video frames and {least} to {config.chunk_size} poses; "
                f"got {len(given.video)} and {known}"
            )
        committed = 0 if mode in (Mode.WORLD, Mode.VIDEO) else config.compression.latent_frames(known) - 1
        return CanvasLayout.for_mode(mode, config.views, config.latent_frames, config.latent_frames, committed)

    def _latents(self, codec: FrameCodec, images: np.ndarray, clean: tuple[bool, ...]) -> np.ndarray:
        """(T', V, H, W, 3) uint8 -> (1, V, F, C, h, w): its clean latent frames true, the others zero."""
        count = sum(clean)
        frames = images[: self.config.compression.frames(max(count, 1))]
        true = codec.encode(frames.swapaxes(0, 1))
        out = np.zeros((1, len(true), len(clean), *true.shape[2:]), np.float32)
        out[0, :, :count] = true[:, :count]
        return out

    def _images(
        self, codec: FrameCodec, latents: np.ndarray, given: np.ndarray, clean: tuple[bool, ...]
    ) -> np.ndarray | None:
        """A generated segment (T, V, H, W, 3), its clean frames as given; None where the canvas has no whole one."""
        if len(clean) < self.config.latent_frames:
            return None
        known = self.config.compression.frames(sum(clean))
        if all(clean):
            return given[:known]
        images = np.ascontiguousarray(codec.decode(latents[0]).swapaxes(0, 1))
        images[:known] = given[:known]
        return images

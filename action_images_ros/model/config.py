"""The contract that made a model: everything that training and the robot must agree on.

Stored as `config.json` beside the weights. A model directory is accepted only if every key is known.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path

from ..codec import ActionEncoding, DecodeConfig
from ..errors import ModelError, one_of
from .canvas import Mode
from .compression import COMPRESSIONS, Compression
from .config_json import build
from .contract import DataContract
from .wan.config import WanConfig

FORMAT_VERSION = 1
DENOISERS = ("conv_canvas", "wan")
FRAME_CODECS = ("pixels", "wan_vae")
TEXT_ENCODERS = ("wordllama_256", "umt5_xxl")
RAY_FRAMES = ("base", "first_view")


@dataclass(frozen=True)
class TextConfig:
    """encoder: a name from TEXT_ENCODERS; max_tokens: instructions are cut or padded to this length;
    width: features per token."""

    encoder: str = "wordllama_256"
    max_tokens: int = 16
    width: int = 256

    def __post_init__(self) -> None:
        one_of("text.encoder", self.encoder, TEXT_ENCODERS, ModelError)


@dataclass(frozen=True)
class ConvCanvasConfig:
    """Size of the small denoiser: width of its tokens, channels at the action grid, blocks, attention heads.

    frame_channels: of each future frame on its own, where the canvas has a future.
    """

    width: int = 192
    channels: int = 64
    blocks: int = 5
    heads: int = 3
    mlp_ratio: int = 4
    frame_channels: int = 32

    def __post_init__(self) -> None:
        whole = not (self.width % self.heads or self.channels % 8 or self.frame_channels % 8 or self.frame_channels < 8)
        if not whole or self.width < 32 or self.blocks < 1:
            raise ModelError(
                f"conv_canvas width {self.width} must be a multiple of heads {self.heads} and at least 32, channels "
                f"{self.channels} and frame_channels {self.frame_channels} multiples of 8, blocks {self.blocks} > 0"
            )


@dataclass(frozen=True)
class SamplerConfig:
    """Euler steps of the flow and the shift of their noise levels: s' = shift s / (1 + (shift - 1) s).

    guidance_scale: of classifier-free guidance towards the instruction; 1 = none, at half the cost. reused: steps
    (1, 2, ...) that take the velocity of the step before instead of asking the network: where two velocities hardly
    differ (`action-images bench steps --reuse-above` measures that), this costs little. by_mode: denoising steps of
    modes that need another number of them; these reuse none.
    """

    denoising_steps: int = 4
    shift: float = 1.0
    guidance_scale: float = 1.0
    reused: tuple[int, ...] = ()
    by_mode: dict[str, int] = field(default_factory=dict, hash=False)

    def of(self, mode: Mode) -> SamplerConfig:
        """The sampler of one mode."""
        if mode.value not in self.by_mode:
            return dataclasses.replace(self, by_mode={})
        return SamplerConfig(self.by_mode[mode.value], self.shift, self.guidance_scale)

    def __post_init__(self) -> None:
        if not isinstance(self.by_mode, dict):
            raise ModelError(f"sampler: by_mode is {self.by_mode!r}; expected an object of modes and their steps")
        for mode, steps in self.by_mode.items():
            Mode.parse(mode)
            if not isinstance(steps, int) or not 1 <= steps <= 1000:
                raise ModelError(f"sampler: by_mode gives {mode} {steps!r} steps; legal: 1 to 1000")
        if not all(1 <= k < self.denoising_steps for k in self.reused):
            raise ModelError(f"sampler: reused {self.reused} must be steps from 1 to denoising_steps "
                             f"{self.denoising_steps} - 1")
        if not 1 <= self.denoising_steps <= 1000 or not self.shift > 0 or not 1 <= self.guidance_scale <= 100:
            raise ModelError(
                f"sampler: denoising_steps {self.denoising_steps} (1..1000), shift {self.shift} (> 0), "
                f"guidance_scale {self.guidance_scale} (1..100)"
            )


@dataclass(frozen=True)
class ModelConfig:
    """views: cameras on the canvas. chunk_size: T action steps, index 0 = the pose at the observation.
    dt_s: spacing of action steps. image_size, action_size: (width, height) px of the square camera images that the
    model sees and of the action images that it makes. modes: what it was trained for. ray_frame: that of the camera
    rays. conv_canvas, wan: sizes of the one that `denoiser` names. decode: what of its own images is credible
    enough to act on. data: what the training data was made with. continued_steps: action steps of a plan that the next
    chunk is given as known however soon it comes, so that a plan of several stages is not thrown over half way.

    Raises ModelError where values do not fit each other.
    """

    views: int = 2
    chunk_size: int = 9
    dt_s: float = 0.4
    image_size: tuple[int, int] = (96, 96)
    action_size: tuple[int, int] = (24, 24)
    modes: tuple[str, ...] = ("policy", "joint", "world", "label")
    denoiser: str = "conv_canvas"
    frame_codec: str = "pixels"
    ray_frame: str = "base"
    encoding: ActionEncoding = field(default_factory=ActionEncoding)
    text: TextConfig = field(default_factory=TextConfig)
    conv_canvas: ConvCanvasConfig = field(default_factory=ConvCanvasConfig)
    wan: WanConfig = field(default_factory=WanConfig)
    sampler: SamplerConfig = field(default_factory=SamplerConfig)
    decode: DecodeConfig = field(default_factory=DecodeConfig)
    data: DataContract = field(default_factory=DataContract)
    continued_steps: int = 0
    format_version: int = FORMAT_VERSION

    def __post_init__(self) -> None:
        one_of("denoiser", self.denoiser, DENOISERS, ModelError)
        one_of("frame_codec", self.frame_codec, FRAME_CODECS, ModelError)
        one_of("ray_frame", self.ray_frame, RAY_FRAMES, ModelError)
        if self.format_version != FORMAT_VERSION:
            raise ModelError(
                f"model format_version is {self.format_version}; this version reads {FORMAT_VERSION}; "
                "convert the model or install the matching release"
            )
        if self.views < 2 or self.chunk_size < 2 or not self.dt_s > 0:
            raise ModelError(
                f"views {self.views} (>= 2), chunk_size {self.chunk_size} (>= 2) and dt_s {self.dt_s} (> 0) "
                "must make a chunk that can be triangulated and executed"
            )
        if not 0 <= self.continued_steps <= self.chunk_size - 2:
            raise ModelError(
                f"continued_steps is {self.continued_steps}; legal: 0 to {self.chunk_size - 2}, so that a chunk of "
                f"{self.chunk_size} steps adds something to what it continues"
            )
        if self.data.views and len(self.data.views) != self.views:
            raise ModelError(f"views is {self.views}, but data.views names {', '.join(self.data.views)}")
        if not self.modes:
            raise ModelError(f"modes is empty; give at least one of {', '.join(m.value for m in Mode)}")
        for mode in self.modes:
            Mode.parse(mode)
        if self.image_size[0] != self.image_size[1] or min(*self.image_size, *self.action_size) < 1:
            raise ModelError(f"image_size {self.image_size} must be square and action_size {self.action_size} positive")
        (_check_conv_canvas if self.denoiser == "conv_canvas" else _check_wan)(self)

    @property
    def compression(self) -> Compression:
        """What one latent stands for."""
        return COMPRESSIONS[self.frame_codec]

    @property
    def latent_frames(self) -> int:
        """Latent frames of a whole segment."""
        return self.compression.latent_frames(self.chunk_size)

    @property
    def pixel_factor(self) -> int:
        """Camera pixels per action-image pixel, along one side."""
        return self.image_size[0] // self.action_size[0]

    def to_json(self) -> str:
        values = dataclasses.asdict(self)
        for name in set(DENOISERS) - {self.denoiser}:
            del values[name]
        return json.dumps(values, indent=2) + "\n"

    def save(self, directory: Path) -> None:
        (Path(directory) / "config.json").write_text(self.to_json())

    @classmethod
    def load(cls, directory: Path) -> ModelConfig:
        """Read `directory`/config.json. Raises ModelError where it is missing, malformed or has unknown keys."""
        path = Path(directory) / "config.json"
        if not path.is_file():
            raise ModelError(
                f"{directory} is not a model directory: it has no config.json; "
                "give a directory such as models/reach, or train one with `action-images train`"
            )
        try:
            raw = json.loads(path.read_text())
        except (ValueError, RecursionError, OSError) as e:
            raise ModelError(f"{path} is not valid JSON: {e}") from e
        return build(cls, raw, str(path))


def _check_conv_canvas(config: ModelConfig) -> None:
    size, action = config.image_size, config.action_size
    factor = size[0] // action[0]
    if (factor * action[0], factor * action[1]) != size:
        raise ModelError(f"image_size {size} must be a whole multiple of action_size {action}")
    if config.frame_codec != "pixels":
        raise ModelError(
            f"frame_codec is {config.frame_codec!r}, but denoiser conv_canvas works on plain pixels; set it to 'pixels'"
        )
    if Mode.VIDEO.value in config.modes:
        raise ModelError(
            "denoiser conv_canvas has no mode 'video': its canvas always has action segments; "
            "legal: policy, joint, world, label"
        )


def _check_wan(config: ModelConfig) -> None:
    compression, wan = config.compression, config.wan
    if config.image_size != config.action_size:
        raise ModelError(
            f"denoiser wan packs video and action in one sequence, so action_size {config.action_size} "
            f"must equal image_size {config.image_size}"
        )
    cell = compression.space * wan.patch
    if config.image_size[0] % cell:
        raise ModelError(
            f"image_size {config.image_size} must be a multiple of {cell}: {compression.space} pixels a "
            f"latent cell ({config.frame_codec}), {wan.patch} cells a token (wan.patch)"
        )
    if (config.chunk_size - 1) % compression.time:
        q = (config.chunk_size - 1) // compression.time
        raise ModelError(
            f"chunk_size is {config.chunk_size}; frame_codec {config.frame_codec} takes "
            f"{compression.time} q + 1 frames, such as {compression.frames(q + 1)} or "
            f"{compression.frames(q + 2)}"
        )
    if config.frame_codec == "pixels" and wan.latent_channels != 3:
        raise ModelError(f"wan.latent_channels is {wan.latent_channels}; plain pixels have 3")
    if config.ray_frame != "first_view":
        raise ModelError(
            f"ray_frame is {config.ray_frame!r}, but denoiser wan takes camera rays relative to the first "
            "view; set it to 'first_view'"
        )

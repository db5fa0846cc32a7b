"""A whole model directory around a converted transformer: config.json from its sizes, and the parts it runs with."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from ...errors import ModelError
from ..canvas import Mode
from ..config import ModelConfig, SamplerConfig, TextConfig
from ..factory import FROZEN_PARTS
from .config import WanConfig

_PIXEL_CHANNELS = 3
_WORDS = 512


@dataclass(frozen=True)
class Use:
    """What weights do not tell. image: side (px); dt_s: spacing of action steps in the data that they were trained on;
    denoising_steps, shift, guidance_scale: of the sampler (defaults: the release's)."""

    views: int = 2
    frames: int = 41
    image: int = 512
    dt_s: float = 0.1
    denoising_steps: int = 50
    shift: float = 5.0
    guidance_scale: float = 5.0


def config_for(transformer: dict, use: Use) -> ModelConfig:
    """transformer: its config.json. Raises ModelError where the two do not fit each other."""
    time, height, width = transformer["patch_size"]
    if height != width or time != 1:
        raise ModelError(f"the transformer's patch is {transformer['patch_size']}; a model directory needs (1, n, n)")
    channels = transformer["in_channels"]
    wan = WanConfig(
        transformer["dim"], transformer["ffn_dim"], transformer["num_heads"], transformer["num_layers"], channels,
        height, transformer["freq_dim"], tuple(transformer["camera_pool"]), transformer["eps"],
        transformer["ray_convention"])
    return ModelConfig(
        views=use.views, chunk_size=use.frames, dt_s=use.dt_s, image_size=(use.image, use.image),
        action_size=(use.image, use.image), modes=tuple(m.value for m in Mode), denoiser="wan",
        frame_codec="pixels" if channels == _PIXEL_CHANNELS else "wan_vae", ray_frame="first_view",
        text=TextConfig("umt5_xxl", _WORDS, transformer["text_dim"]), wan=wan,
        sampler=SamplerConfig(use.denoising_steps, use.shift, use.guidance_scale))


def complete(directory: Path, use: Use, parts: Path | None, copy: bool) -> list[str]:
    """Write config.json beside `directory`/transformer, and put vae, text_encoder and tokenizer of the folder `parts`
    there, as links or copies. Returns the parts that are still missing.

    Raises ModelError where `parts` lacks one of them, or the sizes do not fit.
    """
    directory = Path(directory)
    config = config_for(json.loads((directory / "transformer" / "config.json").read_text()), use)
    needed = [p for p in FROZEN_PARTS if p != "vae" or config.frame_codec == "wan_vae"]
    if parts is not None:
        absent = [p for p in needed if not (Path(parts) / p).is_dir()]
        if absent:
            raise ModelError(f"{parts} has no {', '.join(absent)}; give the folder of Wan2.2-TI2V in diffusers' layout")
        for part in needed:
            source = (Path(parts) / part).resolve()
            if copy:
                shutil.copytree(source, directory / part)
            else:
                os.symlink(source, directory / part, target_is_directory=True)
    config.save(directory)
    return [p for p in needed if not (directory / p).is_dir()]

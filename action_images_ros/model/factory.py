"""The torch denoiser that a configuration describes, whichever it is. Needs torch, and diffusers for `wan`."""

from __future__ import annotations

import shutil
from pathlib import Path

from .config import ModelConfig

FROZEN_PARTS = ("vae", "text_encoder", "tokenizer")
"""Folders of a model directory that training does not change."""


def build_denoiser(config: ModelConfig):
    """A new, untrained torch module with `predicts`, `config` and the Denoiser Protocol on torch tensors."""
    if config.denoiser == "wan":
        from .wan.denoiser import WanDenoiser
        from .wan.transformer import WanActionTransformer

        return WanDenoiser(config, WanActionTransformer(**config.wan.transformer_arguments(config.text.width)))
    import torch

    from .small import ConvCanvas

    canvas = ConvCanvas(config)
    return canvas.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # not in torch's annotations


def save_denoiser(model, directory: Path) -> None:
    """Write the module's weights, and nothing else, into a model directory: model.safetensors, or transformer/."""
    directory = Path(directory)
    if model.config.denoiser == "wan":
        from .wan.denoiser import TRANSFORMER_FOLDER

        model.transformer.save_pretrained(directory / TRANSFORMER_FOLDER)
        return
    from safetensors.torch import save_file

    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, directory / "model.safetensors")


def copy_frozen_parts(source: Path, directory: Path) -> None:
    """Copy the folders of `source` that a model trained from it needs to be whole."""
    for part in FROZEN_PARTS:
        if (Path(source) / part).is_dir():
            shutil.copytree(Path(source) / part, Path(directory) / part, dirs_exist_ok=True)

"""The denoiser in torch, eager, on the CPU or the first GPU."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np

from ..errors import ModelError
from ..model.config import ModelConfig
from ..model.denoiser import Conditioning, Denoiser


def available() -> str:
    return "" if importlib.util.find_spec("torch") else "torch is not installed (pip install 'action_images_ros[train]')"


def load(directory: Path, config: ModelConfig) -> Denoiser:
    """Raises ModelError where weights are missing or do not fit the configuration."""
    return TorchEager(load_module(directory, config))


def load_module(directory: Path, config: ModelConfig):
    """The torch module of a model directory, in eval mode."""
    from safetensors.torch import load_file

    from ..model.small import ConvCanvas

    if config.denoiser != "conv_canvas":
        raise ModelError(f"denoiser {config.denoiser!r} is not served by this loader; legal: conv_canvas")
    path = Path(directory) / "model.safetensors"
    if not path.is_file():
        raise ModelError(f"{directory} has no model.safetensors; copy the whole model directory or train again")
    model = ConvCanvas(config)
    try:
        model.load_state_dict(load_file(path))
    except Exception as e:  # noqa: BLE001 - safetensors and torch raise several kinds for broken files
        raise ModelError(f"{path} does not hold this model's weights: {str(e).splitlines()[0]}") from e
    return model.eval()


class TorchEager:
    """Numpy in, numpy out around a torch denoiser."""

    def __init__(self, module) -> None:
        self.module = module

    def velocity(self, video: np.ndarray, action: np.ndarray, sigma: np.ndarray, conditioning: Conditioning):
        import torch

        with torch.inference_mode():
            given = Conditioning(*(torch.from_numpy(x) for x in (conditioning.rays, conditioning.text, conditioning.text_mask)))
            out = self.module.velocity(torch.from_numpy(video), torch.from_numpy(action), torch.from_numpy(sigma), given)
        return tuple(None if x is None else x.float().numpy() for x in out)

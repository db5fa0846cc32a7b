"""The denoiser in torch, eager, on the CPU."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import numpy as np

from ..errors import ModelError
from ..model.config import ModelConfig
from ..model.denoiser import Conditioning, Denoiser
from .options import EngineOptions, Precision
from .weights import TensorSpec, require_match, weights_path

PRECISIONS = (Precision.AUTO, Precision.F32)


def available() -> str:
    if importlib.util.find_spec("torch"):
        return ""
    return "torch is not installed (pip install 'action_images_ros[train]')"


def serves(directory: Path) -> str:
    """ "": torch runs every model directory."""
    return ""


def load(directory: Path, config: ModelConfig, options: EngineOptions = EngineOptions()) -> Denoiser:
    """Raises ModelError where weights are missing or do not fit the configuration."""
    # Read when torch's OpenMP runtime is loaded: waiting threads sleep instead of spinning beside a control loop.
    os.environ.setdefault("GOMP_SPINCOUNT", "0")
    import torch

    torch.set_num_threads(options.thread_count)
    return TorchEager(load_module(directory, config))


def load_module(directory: Path, config: ModelConfig):
    """The torch module of a model directory, in eval mode."""
    from safetensors.torch import load_file

    from ..model.small import ConvCanvas

    if config.denoiser != "conv_canvas":
        raise ModelError(f"denoiser {config.denoiser!r} is not served by this loader; legal: conv_canvas")
    path = weights_path(directory)
    model = ConvCanvas(config)
    require_match(path, tensor_specs(model))
    model.load_state_dict(load_file(path))
    return model.eval()


def tensor_specs(module) -> dict[str, TensorSpec]:
    """What a file with the module's weights has to hold (float32)."""
    return {name: TensorSpec("F32", tuple(value.shape)) for name, value in module.state_dict().items()}


class TorchEager:
    """Numpy in, numpy out around a torch denoiser."""

    def __init__(self, module) -> None:
        self.module = module

    def velocity(self, video: np.ndarray, action: np.ndarray, sigma: np.ndarray, conditioning: Conditioning):
        import torch

        with torch.inference_mode():
            arrays = (video, action, sigma, conditioning.rays, conditioning.text, conditioning.text_mask)
            video, action, sigma, *given = (torch.from_numpy(x) for x in arrays)
            out = self.module.velocity(video, action, sigma, Conditioning(*given))
        return tuple(None if x is None else x.float().numpy() for x in out)

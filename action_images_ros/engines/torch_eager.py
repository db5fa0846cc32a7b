"""The denoiser in torch, eager, on the CPU."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import numpy as np

from ..errors import ModelError
from ..model.config import ModelConfig
from ..model.denoiser import Conditioning, Denoiser
from ..model.recent import Recent
from .options import EngineOptions, Precision
from .weights import TensorSpec, read_weights, weights_path

PRECISIONS = (Precision.AUTO, Precision.F32)
_CONDITIONINGS = 4


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
    return TorchEager(load_denoiser(directory, config))


def load_denoiser(directory: Path, config: ModelConfig):
    """The torch module of any model directory, in eval mode.

    Raises ModelError where anything is missing or does not fit.
    """
    if config.denoiser != "wan":
        return load_module(directory, config)
    try:
        from ..model.wan.denoiser import load_wan
    except ModuleNotFoundError as e:
        raise ModelError(f"denoiser 'wan' needs {e.name}: pip install 'action_images_ros[train]'") from e
    return load_wan(directory, config)


def load_module(directory: Path, config: ModelConfig):
    """The torch module of a model directory of the small denoiser, in eval mode."""
    import torch

    from ..model.small import ConvCanvas

    if config.denoiser != "conv_canvas":
        raise ModelError(f"denoiser {config.denoiser!r} is not served by this loader; legal: conv_canvas")
    model = ConvCanvas(config)
    specs = tensor_specs(model)
    weights = read_weights(weights_path(directory), specs, tuple(specs))
    model.load_state_dict({name: torch.from_numpy(value) for name, value in weights.items()})
    return model.eval()


def tensor_specs(module) -> dict[str, TensorSpec]:
    """What a file with the module's weights has to hold (float32)."""
    return {name: TensorSpec("F32", tuple(value.shape)) for name, value in module.state_dict().items()}


class TorchEager:
    """Numpy in, numpy out around a torch denoiser. One Conditioning object stays one on the other side."""

    def __init__(self, module) -> None:
        self.module = module
        self._conditionings = Recent(_CONDITIONINGS)

    def velocity(self, video: np.ndarray, action: np.ndarray, sigma: np.ndarray, conditioning: Conditioning):
        import torch

        with torch.inference_mode():
            given = self._conditionings.get(conditioning, lambda: Conditioning(
                *(torch.from_numpy(x) for x in (conditioning.rays, conditioning.text, conditioning.text_mask))))
            state = (torch.from_numpy(x) for x in (video, action, sigma))
            out = self.module.velocity(*state, given)
        return tuple(None if x is None else x.float().numpy() for x in out)

"""The denoiser in torch, eager, on the CPU or a GPU."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import numpy as np

from ..errors import EngineError, ModelError, pip_install
from ..model.config import ModelConfig
from ..model.denoiser import Conditioning, Denoiser
from ..model.recent import Recent
from .options import EngineOptions, Precision
from .weights import TensorSpec, read_weights, weights_path

PRECISIONS = (Precision.AUTO, Precision.F32)
WAN_PRECISIONS = tuple(Precision)
_CONDITIONINGS = 4


def available() -> str:
    if importlib.util.find_spec("torch"):
        return ""
    return f"torch is not installed ({pip_install('train')})"


def serves(directory: Path, options: EngineOptions = EngineOptions()) -> str:
    """ "": torch runs every model directory."""
    return ""


def unfit(config: ModelConfig, options: EngineOptions) -> str:
    """ "" where the precision serves this denoiser: reduced ones are for the Wan-style transformer."""
    legal = WAN_PRECISIONS if config.denoiser == "wan" else PRECISIONS
    if options.precision in legal:
        return ""
    return f"it has no precision {options.precision.value}; legal: {', '.join(p.value for p in legal)}"


def load(directory: Path, config: ModelConfig, options: EngineOptions = EngineOptions()) -> Denoiser:
    """On the CPU one denoising step a call, on a GPU all of them without leaving it.

    Raises ModelError where weights are missing or do not fit the configuration, EngineError where the device lacks
    memory or the precision.
    """
    device = prepare(options)
    module = load_placed(directory, config, options.precision, device)
    if device.type == "cpu":
        return TorchEager(module)
    from .torch_device import TorchDevice

    return TorchDevice(module, device, capture=False)


def prepare(options: EngineOptions):
    """Set torch's threads; the device that the options mean. Raises EngineError for a GPU that is not there."""
    # Read when torch's OpenMP runtime is loaded: waiting threads sleep instead of spinning beside a control loop.
    os.environ.setdefault("GOMP_SPINCOUNT", "0")
    import torch

    torch.set_num_threads(options.thread_count)
    found = torch.cuda.is_available()
    if options.device == "cuda" and not found:
        raise EngineError("device is cuda, but torch sees no GPU: install a CUDA build of torch and the driver, or use "
                          "device cpu")
    return torch.device("cuda" if found and options.device != "cpu" else "cpu")


def load_placed(directory: Path, config: ModelConfig, precision: Precision, device, fused: bool = False):
    """The torch module on its device in its precision. AUTO: bfloat16 for the Wan-style transformer on a GPU, else
    float32. fused: fewer, larger matrix products (`model.wan.fused`)."""
    from ..model.device_faults import device_faults

    with device_faults(device):
        if config.denoiser != "wan":
            return load_module(directory, config).to(device)
        return place_wan(load_denoiser(directory, config, wan_dtype(precision, device), device), precision, fused)


def place_wan(module, precision: Precision, fused: bool):
    """Fuse and quantise a loaded WanDenoiser in place, as asked for."""
    if fused:
        from ..model.wan.fused import fuse

        fuse(module.transformer)
    if precision is Precision.FP8:
        from ..model.wan.fp8 import quantise

        quantise(module.transformer)
    module.forget()
    return module


def wan_dtype(precision: Precision, device):
    """Of the weights that `precision` does not quantise."""
    import torch

    reduced = torch.bfloat16 if device.type == "cuda" else torch.float32
    return {Precision.AUTO: reduced, Precision.F32: torch.float32, Precision.F16: torch.float16}.get(
        precision, torch.bfloat16)


def load_denoiser(directory: Path, config: ModelConfig, dtype=None, device="cpu"):
    """The torch module of any model directory, in eval mode. dtype, device: of the Wan-style transformer; default
    float32.

    Raises ModelError where anything is missing or does not fit.
    """
    if config.denoiser != "wan":
        return load_module(directory, config)
    try:
        import torch

        from ..model.wan.denoiser import load_wan
    except ModuleNotFoundError as e:
        raise ModelError(f"denoiser 'wan' needs {e.name}: {pip_install('train')}") from e
    return load_wan(directory, config, dtype or torch.float32, device)


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

"""The denoiser through torch.compile: fused kernels, and on a GPU all denoising steps as one CUDA graph.

The Wan-style transformer is compiled block by block: its blocks are alike, so one compilation serves all of them.
"""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

from ..errors import pip_install
from ..model.config import ModelConfig
from ..model.denoiser import Denoiser
from .options import EngineOptions
from .torch_eager import PRECISIONS, load_placed, prepare, serves, unfit

__all__ = ["PRECISIONS", "available", "load", "only_by_name", "serves", "unfit"]

_COMPILERS = ("c++", "g++", "clang++")


def available() -> str:
    if not importlib.util.find_spec("torch"):
        return f"torch is not installed ({pip_install('train')})"
    if not any(map(shutil.which, _COMPILERS)):
        return f"torch.compile needs a C++ compiler ({', '.join(_COMPILERS)}): apt-get install g++"
    return ""


def only_by_name(config: ModelConfig) -> str:
    """Compilation takes minutes on a CPU, and pays for the Wan-style transformer on a GPU."""
    if config.denoiser == "wan":
        import torch

        if torch.cuda.is_available():
            return ""
    return "it is chosen by itself only for denoiser wan on a GPU"


def load(directory: Path, config: ModelConfig, options: EngineOptions = EngineOptions()) -> Denoiser:
    """Raises ModelError where weights are missing or do not fit, EngineError where the device lacks memory or the
    precision. Compilation happens with the first chunk of each shape."""
    from .torch_device import TorchDevice

    device = prepare(options)
    module = load_placed(directory, config, options.precision, device, fused=True)
    compile_module(module)
    return TorchDevice(module, device)


def compile_module(module) -> None:
    """Compile in place, for shapes that do not change."""
    transformer = getattr(module, "transformer", None)
    for part in (module,) if transformer is None else (*transformer.blocks, transformer.head):
        part.compile(dynamic=False)

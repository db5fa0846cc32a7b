"""The denoiser on TensorRT, from an engine that `action-images compile` built and verified."""

from __future__ import annotations

from pathlib import Path

from ..model.config import ModelConfig
from ..model.denoiser import Denoiser
from . import plans
from .options import EngineOptions
from .plans import PRECISIONS

__all__ = ["PRECISIONS", "available", "load", "only_by_name", "serves"]

KIND = "tensorrt"


def available() -> str:
    return plans.available(KIND)


def serves(directory: Path, options: EngineOptions = EngineOptions()) -> str:
    """ "" where the trusted directory has an engine of this model."""
    return plans.serves(KIND, directory, options)


def only_by_name(config: ModelConfig) -> str:
    """`auto` takes a built engine wherever there is a GPU to run it."""
    import torch

    return "" if torch.cuda.is_available() else f"{KIND} needs a CUDA GPU"


def load(directory: Path, config: ModelConfig, options: EngineOptions = EngineOptions()) -> Denoiser:
    """Raises EngineError where the engine does not match the model or this machine, or must not be trusted."""
    return plans.load(KIND, directory, config, options)

"""Runtimes for a denoiser, behind the Denoiser Protocol on numpy arrays. Each is imported only when it is asked for."""

from .base import ENGINES, load_engine
from .options import EngineOptions, Precision

__all__ = ["ENGINES", "EngineOptions", "Precision", "load_engine"]

"""Choice of engine. An engine is a `Denoiser` on numpy arrays that was built from one model directory."""

from __future__ import annotations

import importlib
from pathlib import Path

from ..errors import EngineError, one_of
from ..model.config import ModelConfig
from ..model.denoiser import Denoiser

ENGINES = {
    "torch": "action_images_ros.engines.torch_eager",
}
"""Engine name -> module with `load(directory, config) -> Denoiser` and `available() -> str` ("" or what is missing)."""

PREFERENCE = ("torch",)
"""Order of `auto`: fastest first."""


def load_engine(name: str, directory: Path, config: ModelConfig) -> tuple[str, Denoiser]:
    """name: a key of ENGINES or "auto" -> (the engine's name, denoiser).

    Raises EngineError naming what is missing and how to install it.
    """
    one_of("engine", name, ("auto", *ENGINES), EngineError)
    reasons = []
    for candidate in PREFERENCE if name == "auto" else (name,):
        module = importlib.import_module(ENGINES[candidate])
        missing = module.available()
        if not missing:
            return candidate, module.load(Path(directory), config)
        reasons.append(f"{candidate}: {missing}")
    raise EngineError(f"no engine for {directory}; " + "; ".join(reasons))

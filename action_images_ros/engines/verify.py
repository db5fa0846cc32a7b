"""Exported graphs against torch, on random canvases. Needs torch."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np

from ..errors import EngineError
from ..model.config import ModelConfig
from ..model.denoiser import Conditioning, Denoiser
from .base import ENGINES, GRAPH_ENGINES
from .graph import input_shapes
from .manifest import GraphManifest
from .options import EngineOptions, Precision
from .torch_eager import load as load_torch

RELATIVE_ERROR = 1e-4


def verify_graphs(directory: Path) -> dict[str, float]:
    """Engine -> largest `velocity_error` of its graphs in float32, for every installed runtime.

    Raises EngineError where one exceeds RELATIVE_ERROR or is not finite.
    """
    config = ModelConfig.load(directory)
    frames = [g.video_frames for g in GraphManifest.load(directory).graphs]
    reference = load_torch(directory, config)
    errors = {}
    for name in GRAPH_ENGINES:
        module = importlib.import_module(ENGINES[name])
        if module.available():
            continue
        engine = module.load(directory, config, EngineOptions(precision=Precision.F32))
        errors[name] = max(velocity_error(engine, reference, *random_canvas(config, f, seed=f)) for f in frames)
        if not errors[name] <= RELATIVE_ERROR:
            raise EngineError(f"the graph on {name} differs from torch by {errors[name]:.2g} of its output (limit "
                              f"{RELATIVE_ERROR:g}); use engine torch and report the versions of {name} and torch")
    return errors


def velocity_error(engine: Denoiser, reference: Denoiser, *canvas) -> float:
    """Largest difference of any velocity of a canvas, relative to the root mean square of the reference's."""
    pairs = zip(engine.velocity(*canvas), reference.velocity(*canvas))
    return max(float(np.abs(a - b).max() / np.sqrt(np.mean(b**2))) for a, b in pairs if b is not None)


def random_canvas(config: ModelConfig, video_frames: int, seed: int) -> tuple:
    """video, action, sigma and conditioning of a Denoiser call, batch 1, half of the text masked."""
    rng = np.random.default_rng(seed)
    shapes = input_shapes(config, video_frames)
    x = {k: rng.standard_normal(shapes[k], np.float32) for k in ("video", "action", "rays", "text")}
    mask = np.arange(config.text.max_tokens)[None] < config.text.max_tokens // 2
    return x["video"], x["action"], np.array([0.75], np.float32), Conditioning(x["rays"], x["text"], mask)

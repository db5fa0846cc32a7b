"""Flow-matching sampler on the canvas: Euler steps from noise to data, clean frames restored after every step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..errors import EngineError, ModelError
from .canvas import CanvasLayout, restore_clean
from .config import SamplerConfig
from .denoiser import Conditioning, Denoiser


@dataclass(frozen=True)
class Canvas:
    """video (B, V, Fv, C, h, w) and action (B, V, Fa, C', h', w'): latents, whole segments of a layout."""

    video: np.ndarray
    action: np.ndarray


def noise_levels(config: SamplerConfig) -> np.ndarray:
    """sigmas (steps + 1,) from 1 to 0, shifted: s' = shift s / (1 + (shift - 1) s) (method, section 6)."""
    s = np.linspace(1.0, 0.0, config.denoising_steps + 1)
    return config.shift * s / (1.0 + (config.shift - 1.0) * s)


def sample(denoiser: Denoiser, given: Canvas, layout: CanvasLayout, conditioning: Conditioning, config: SamplerConfig,
           rng: np.random.Generator, on_step: Callable[[int, int], None] | None = None,
           without_instruction: Conditioning | None = None) -> Canvas:
    """Generate what `layout` does not give.

    given: latents whose clean frames are true; the others are ignored. on_step(done, total) reports progress.
    without_instruction: needed where `config` asks for guidance. A denoiser with a method `sample` (one that keeps the
    canvas on its device: `engines.resident`) runs all steps itself, from the same noise. Raises EngineError where the
    denoiser returns NaN or infinity: such a chunk must never reach an arm.
    """
    video_mask, action_mask = layout.video_mask(given.video), layout.action_mask(given.action)
    video = restore_clean(rng.standard_normal(given.video.shape, np.float32), given.video, video_mask)
    action = restore_clean(rng.standard_normal(given.action.shape, np.float32), given.action, action_mask)
    whole = getattr(denoiser, "sample", None)
    if whole is not None:
        made = whole(Canvas(video, action), given, layout, conditioning, config, without_instruction)
        _require_finite(made)
        if on_step is not None:
            on_step(config.denoising_steps, config.denoising_steps)
        return made
    sigmas = noise_levels(config)
    for step, (sigma, next_sigma) in enumerate(zip(sigmas[:-1], sigmas[1:])):
        level = np.full(len(given.action), sigma, np.float32)
        if step not in config.reused:
            velocity = _velocity(denoiser, (video, action, level), conditioning, without_instruction, config)
        v_video, v_action = velocity
        width = np.float32(next_sigma - sigma)
        if v_video is not None:
            video = restore_clean(video + width * v_video, given.video, video_mask)
        if v_action is not None:
            action = restore_clean(action + width * v_action, given.action, action_mask)
        if on_step is not None:
            on_step(step + 1, config.denoising_steps)
    made = Canvas(video, action)
    _require_finite(made)
    return made


def _require_finite(made: Canvas) -> None:
    if not (np.all(np.isfinite(made.video)) and np.all(np.isfinite(made.action))):
        raise EngineError("the denoiser returned NaN or infinity; the chunk is dropped: "
                          "verify the engine with `action-images bench policy --verify`")


def _velocity(denoiser: Denoiser, state: tuple[np.ndarray, np.ndarray, np.ndarray], conditioning: Conditioning,
              without: Conditioning | None, config: SamplerConfig):
    """Velocities, moved away from those without an instruction by guidance_scale (Ho & Salimans 2022)."""
    told = denoiser.velocity(*state, conditioning)
    if config.guidance_scale == 1.0:
        return told
    if without is None:
        raise ModelError(f"guidance_scale {config.guidance_scale} needs the conditioning without an instruction")
    untold, scale = denoiser.velocity(*state, without), np.float32(config.guidance_scale)
    return tuple(None if a is None else b + scale * (a - b) for a, b in zip(told, untold))

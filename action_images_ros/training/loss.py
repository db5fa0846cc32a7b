"""The loss: flow matching on the canvas, over the frames that are not given.

x_s = (1 - s) x + s eps. A denoiser that predicts x (the small one) is compared with x: weighting the squared error of
x instead of the velocity's keeps large noise levels, where a few-step sampler lives, from being drowned. One that
predicts the velocity (the Wan-style one) is compared with eps - x.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum

import torch
from torch import Tensor

from ..errors import ConfigError
from ..model.canvas import restore_clean
from ..model.denoiser import Conditioning, Prediction
from .data import Batch
from .structure import dissimilarity

_MIN_SIGMA = 0.02
Noise = torch.Generator | Sequence[torch.Generator]
"""Where noise is drawn from: one generator for a batch, or one for each of its canvases."""


class LevelWeight(str, Enum):
    """Weight of a sample by its noise level. BELL: around the middle, zero at both ends, mean 1 over uniform levels (as
    the released weights were trained)."""

    UNIFORM = "uniform"
    BELL = "bell"


@dataclass(frozen=True)
class LossConfig:
    """full_noise_share: samples at s = 1 exactly, the rest uniform, then shifted: s' = shift s / (1 + (shift - 1) s).
    level_weight: see LevelWeight. In plain pixels only: blob_weight, extra weight where a blob is (most of an action
    image is empty); change_weight, extra weight of pixels that change in the future; structure_weight, of 1 - SSIM of
    the generated pictures."""

    full_noise_share: float = 0.35
    blob_weight: float = 8.0
    change_weight: float = 4.0
    video_weight: float = 1.0
    structure_weight: float = 0.0
    shift: float = 1.0
    level_weight: LevelWeight = LevelWeight.UNIFORM

    def __post_init__(self) -> None:
        if not self.shift > 0 or not 0 <= self.full_noise_share <= 1:
            raise ConfigError(f"loss: shift {self.shift} (> 0), full_noise_share {self.full_noise_share} (0..1)")
        if self.level_weight is LevelWeight.BELL and self.full_noise_share:
            raise ConfigError("loss: level_weight bell gives full noise no weight, so full_noise_share "
                              f"{self.full_noise_share} of the samples would teach nothing; set it to 0")


def canvas_loss(model, batch: Batch, config: LossConfig, noise_source: Noise, device="cpu") -> dict[str, Tensor]:
    """Losses by name: `action`, `video` where they apply, and their weighted sum `total`."""
    video, action, *conditions = on_device(batch, device)
    conditioning = Conditioning(*conditions)
    sigma, layout = _draw_levels(len(action), config, noise_source).to(device), batch.layout
    noise = [rows(torch.randn, x.shape, noise_source).to(device) for x in (video, action)]
    noisy_video, noisy_action = (
        restore_clean(mix(x, n, sigma), x, mask)
        for x, n, mask in zip((video, action), noise, (layout.video_mask(video), layout.action_mask(action))))
    made = predict(model, noisy_video, noisy_action, sigma, conditioning)
    clean = model.predicts is Prediction.CLEAN
    targets = (video, action) if clean else (noise[0] - video, noise[1] - action)
    weights = pixel_weights(model, (video, action), config)
    level = _level_weight(sigma, config.level_weight)
    out = {}
    if generates(layout.clean_action):
        out["action"] = masked_error(made[1], targets[1], weights[1] * level, layout.action_mask(action))
    if made[0] is not None and generates(layout.clean_video):
        error = masked_error(made[0], targets[0], weights[0] * level, layout.video_mask(video))
        out["video"] = config.video_weight * error
        if config.structure_weight and model.config.frame_codec == "pixels" and clean:
            out["structure"] = config.structure_weight * dissimilarity(made[0][:, :, 1:].float(), video[:, :, 1:],
                                                                       model.config.pixel_factor)
    out["total"] = sum(out.values(), torch.zeros((), device=device))
    return out


def pixel_weights(model, clean: tuple[Tensor, Tensor], config: LossConfig) -> tuple[Tensor, Tensor]:
    """Weights of the squared errors of (video, action), from the clean latents; ones where latents are not pixels."""
    if model.config.frame_codec != "pixels":
        ones = torch.ones((), device=clean[1].device)
        return ones, ones
    video, action = clean
    return (1.0 + config.change_weight * (video - video[:, :, :1]).abs(),
            1.0 + config.blob_weight * (action + 1.0) / 2.0)


def generates(clean: tuple[bool, ...]) -> bool:
    """Whether any frame of a segment is not given."""
    return not all(clean)


def on_device(batch: Batch, device) -> list[Tensor]:
    """video, action, rays, text and text_mask of a batch."""
    arrays = batch.video, batch.action, batch.rays, batch.text, batch.text_mask
    return [torch.from_numpy(x).to(device) for x in arrays]


def rows(draw: Callable[..., Tensor], shape: Sequence[int], noise: Noise) -> Tensor:
    """`draw` of that shape."""
    if isinstance(noise, torch.Generator):
        return draw(shape, generator=noise)
    return torch.stack([draw(shape[1:], generator=generator) for generator in noise])


def _draw_levels(count: int, config: LossConfig, noise: Noise) -> Tensor:
    sigma = rows(torch.rand, (count,), noise).clamp_min(_MIN_SIGMA)
    sigma = torch.where(rows(torch.rand, (count,), noise) < config.full_noise_share, torch.ones(()), sigma)
    return sigma if config.shift == 1 else config.shift * sigma / (1 + (config.shift - 1) * sigma)


def _level_weight(sigma: Tensor, kind: LevelWeight) -> Tensor:
    """sigma (B,) -> (B, 1, 1, 1, 1, 1)."""
    if kind is LevelWeight.UNIFORM:
        return torch.ones((), device=sigma.device)
    end = math.exp(-0.5)
    mean = math.sqrt(math.pi / 2) * math.erf(math.sqrt(0.5)) - end
    return ((torch.exp(-2 * (sigma - 0.5) ** 2) - end) / mean).reshape(-1, 1, 1, 1, 1, 1)


def predict(model, video: Tensor, action: Tensor, sigma: Tensor, conditioning: Conditioning):
    """(video, action) as the model predicts them, None where it generates nothing of that kind."""
    if model.predicts is Prediction.VELOCITY:
        return model.velocity(video, action, sigma, conditioning)
    c = conditioning
    clean_action, clean_video = model(video, action, sigma, c.rays, c.text, c.text_mask)
    return clean_video, clean_action


def mix(x: Tensor, noise: Tensor, sigma: Tensor) -> Tensor:
    """(1 - s) x + s noise; sigma (B,), x (B, V, F, C, h, w)."""
    s = sigma.reshape(-1, 1, 1, 1, 1, 1)
    return (1 - s) * x + s * noise


def masked_error(made: Tensor, target: Tensor, weight: Tensor, given: Tensor) -> Tensor:
    """Weighted squared error over the frames that are not given."""
    mask = (~given).expand_as(target)
    return (weight * (made.float() - target) ** 2 * mask).sum() / mask.sum()

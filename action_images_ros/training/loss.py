"""The loss: flow matching through the predicted clean sample, over the frames that are not given.

x_s = (1 - s) x + s eps; the small denoiser predicts x, and its velocity (x_s - x) / s follows. Weighting the squared
error of x instead of the velocity's keeps large noise levels, where a few-step sampler lives, from being drowned.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..model.canvas import restore_clean
from .data import Batch


@dataclass(frozen=True)
class LossConfig:
    """full_noise_share: samples at s = 1 exactly, the rest uniform; blob_weight: extra weight where a blob is
    (most of an action image is empty); change_weight: extra weight of pixels that change in the future."""

    full_noise_share: float = 0.35
    blob_weight: float = 8.0
    change_weight: float = 4.0
    video_weight: float = 1.0


def canvas_loss(model, batch: Batch, config: LossConfig, generator: torch.Generator) -> dict[str, Tensor]:
    """Losses by name: `action`, `video` where they apply, and their weighted sum `total`."""
    video, action = torch.from_numpy(batch.video), torch.from_numpy(batch.action)
    rays, text, mask = torch.from_numpy(batch.rays), torch.from_numpy(batch.text), torch.from_numpy(batch.text_mask)
    sigma = torch.rand(len(action), generator=generator).clamp_min(0.02)
    sigma = torch.where(torch.rand(len(action), generator=generator) < config.full_noise_share, torch.ones(()), sigma)
    video_mask, action_mask = batch.layout.video_mask(video), batch.layout.action_mask(action)
    noisy_video = restore_clean(_mix(video, sigma, generator), video, video_mask)
    noisy_action = restore_clean(_mix(action, sigma, generator), action, action_mask)
    clean_action, clean_video = model(noisy_video, noisy_action, sigma, rays, text, mask)
    out = {}
    if not all(batch.layout.clean_action):
        blob = (action + 1.0) / 2.0
        error = (1.0 + config.blob_weight * blob) * (clean_action.float() - action) ** 2
        out["action"] = _masked_mean(error, ~action_mask)
    if clean_video is not None and not all(batch.layout.clean_video):
        change = (video - video[:, :, :1]).abs()
        error = (1.0 + config.change_weight * change) * (clean_video.float() - video) ** 2
        out["video"] = config.video_weight * _masked_mean(error, ~video_mask)
    out["total"] = sum(out.values())
    return out


def _mix(x: Tensor, sigma: Tensor, generator: torch.Generator) -> Tensor:
    s = sigma.reshape(-1, 1, 1, 1, 1, 1)
    return (1 - s) * x + s * torch.randn(x.shape, generator=generator)


def _masked_mean(x: Tensor, mask: Tensor) -> Tensor:
    mask = mask.expand_as(x)
    return (x * mask).sum() / mask.sum()

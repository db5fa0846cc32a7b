"""What a torch denoiser computes in every step of one schedule, with all that can be known beforehand made once.

The tensors stay where they are when cameras or instruction change (`replace` copies into them), so that a captured
graph of the steps stays valid. Needs torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from .denoiser import Conditioning


class Steps(Protocol):
    """velocity(k, video, action): what `Denoiser.velocity` gives at the schedule's noise level k, without host
    synchronisation. replace: from now on under another conditioning of the same shapes."""

    def velocity(self, k: int, video: Tensor, action: Tensor) -> tuple[Tensor | None, Tensor | None]: ...
    def replace(self, conditioning: Conditioning) -> None: ...


class PlainSteps:
    """Of a denoiser that prepares nothing: conditioning and noise levels are tensors on its device."""

    def __init__(self, module, conditioning: Conditioning, levels: Sequence[float], batch: int) -> None:
        self.module = module
        self._conditioning = Conditioning(*(x.clone() for x in fields_of(conditioning)))
        device = conditioning.rays.device
        self._levels = [torch.full((batch,), level, dtype=torch.float32, device=device) for level in levels]

    def velocity(self, k: int, video: Tensor, action: Tensor):
        return self.module.velocity(video, action, self._levels[k], self._conditioning)

    def replace(self, conditioning: Conditioning) -> None:
        for mine, given in zip(fields_of(self._conditioning), fields_of(conditioning)):
            mine.copy_(given)


def make_steps(module, conditioning: Conditioning, levels: Sequence[float], batch: int,
               video_frames: int, action_frames: int) -> Steps:
    """conditioning: tensors on the module's device. levels: sigma of every denoising step."""
    if hasattr(module, "steps"):
        return module.steps(conditioning, levels, batch, video_frames, action_frames)
    return PlainSteps(module, conditioning, levels, batch)


def fields_of(conditioning: Conditioning) -> tuple:
    return conditioning.rays, conditioning.text, conditioning.text_mask

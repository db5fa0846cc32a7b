"""What every denoiser is to the sampler, whatever its architecture or runtime."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np


@dataclass(frozen=True)
class Conditioning:
    """What does not change while one canvas is denoised, batch first.

    rays (B, V, 6, h, w) Plücker rays on the action grid; text (B, L, D) token features; text_mask (B, L) bool, True
    where there is a token. Arrays are of the denoiser's kind (numpy for engines, torch in training).
    """

    rays: np.ndarray
    text: np.ndarray
    text_mask: np.ndarray


class Denoiser(Protocol):
    """velocity(video, action, sigma, conditioning) -> (velocity of video, velocity of action).

    video (B, V, Fv, C, h, w) and action (B, V, Fa, C', h', w') at noise level sigma (B,) in [0, 1], 1 = noise; a
    velocity is d sample / d sigma = noise - data (method, section 6), of its sample's shape, or None where the mode
    generates nothing of that kind (a first frame alone, an empty segment).
    """

    def velocity(self, video, action, sigma, conditioning: Conditioning): ...

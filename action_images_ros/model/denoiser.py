"""What every denoiser is to the sampler, whatever its architecture or runtime."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Generic, Protocol, TypeVar

Array = TypeVar("Array")


class Prediction(str, Enum):
    """What a trained network puts out before it is turned into a velocity: what its loss compares."""

    CLEAN = "clean"
    VELOCITY = "velocity"


@dataclass(frozen=True, eq=False)
class Conditioning(Generic[Array]):
    """What does not change while one canvas is denoised, batch first.

    rays: what the denoiser is told of the cameras (`conditioning.camera_features`): (B, V, 6, h, w) Plücker rays on
    the action grid, or (B, V, F, 2 C, h, w) camera latents. text (B, L, D) token features; text_mask (B, L) bool, True
    where there is a token. Arrays are of the denoiser's kind (numpy for engines, torch in training).

    Compared by identity: a denoiser may keep what it derived from one object for as long as it gets that object.
    """

    rays: Array
    text: Array
    text_mask: Array


class Denoiser(Protocol):
    """velocity(video, action, sigma, conditioning) -> (velocity of video, velocity of action).

    video (B, V, Fv, C, h, w) and action (B, V, Fa, C', h', w') at noise level sigma (B,) in [0, 1], 1 = noise; a
    velocity is d sample / d sigma = noise - data (method, section 6), of its sample's shape, or None where the mode
    generates nothing of that kind (a first frame alone, an empty segment).
    """

    def velocity(self, video, action, sigma, conditioning: Conditioning): ...

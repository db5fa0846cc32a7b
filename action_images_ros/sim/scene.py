"""What one episode looks like: objects, colours, light and the start of the arm. Data only."""

from __future__ import annotations

import colorsys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..errors import SimError
from .split import HeldOut, Split

Rgb = tuple[float, float, float]

HUES_DEG = {"red": 0.0, "yellow": 56.0, "green": 120.0, "cyan": 184.0, "blue": 232.0, "purple": 288.0}
_HUE_HALF_RANGE_DEG = 8.0
_HUE_BIN_DEG = 2.0
_MUTED_VALUE = HeldOut(0.25, 0.90, 0.05)
_LIGHT_AZIMUTH_DEG = HeldOut(-180.0, 180.0, 15.0)


@dataclass(frozen=True)
class SceneObject:
    """A thing on or above the table. position_m (3,) of its centre in the base frame; rgb in [0, 1]."""

    name: str
    colour: str
    rgb: Rgb
    position_m: tuple[float, float, float]

    @property
    def yaw_rad(self) -> float:
        """Turn about the vertical."""
        return 0.0

    @property
    def joint_m(self) -> float:
        """How far its sliding part is moved: a button pressed, a drawer open."""
        return 0.0


@dataclass(frozen=True)
class TurnedObject(SceneObject):
    """A thing whose turn about the vertical and sliding part matter."""

    yaw_rad: float = 0.0
    joint_m: float = 0.0


def scene_object(recorded: Mapping) -> SceneObject:
    """The object that a recording's description {name, colour, rgb, position_m[, yaw_rad, joint_m]} is of."""
    fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in recorded.items()}
    return TurnedObject(**fields) if "yaw_rad" in fields else SceneObject(**fields)


@dataclass(frozen=True)
class Look:
    """Colours of the room and the light. light_direction: unit vector along which the light travels."""

    table_rgb: Rgb
    floor_rgb: Rgb
    wall_rgb: Rgb
    light_direction: tuple[float, float, float]
    light_level: float
    ambient_level: float


@dataclass(frozen=True)
class Scene:
    """One episode's start. target: index into objects; q_start (7,) rad; start_openness 0 or 1; instructions:
    the canonical instruction for each object that may be asked for; those come first."""

    task: str
    split: Split
    instruction: str
    canonical_instruction: str
    objects: tuple[SceneObject, ...]
    target: int
    look: Look
    q_start: tuple[float, ...]
    start_openness: float
    instructions: tuple[str, ...]

    def __post_init__(self) -> None:
        texts = len(self.instructions)
        if len(self.q_start) != 7 or self.start_openness not in (0.0, 1.0) or not 0 < texts <= len(self.objects):
            raise SimError(f"scene needs 7 start joints (got {len(self.q_start)}), start_openness 0 or 1 (got "
                           f"{self.start_openness}), one instruction for each object to ask for (got {texts})")
        self._require_target(self.target)

    @property
    def wrong_instructions(self) -> tuple[str, ...]:
        """Instructions that name another object of this scene."""
        return tuple(text for i, text in enumerate(self.instructions) if i != self.target)

    def instructed(self, target: int) -> Scene:
        """The same scene when asked, canonically, for another object."""
        self._require_target(target)
        text = self.instructions[target]
        return replace(self, target=target, instruction=text, canonical_instruction=text)

    def _require_target(self, target: int) -> None:
        if not 0 <= target < len(self.instructions):
            raise SimError(f"target {target} is no object to ask for; legal: 0 to {len(self.instructions) - 1}")


def hue_range(colour: str) -> HeldOut:
    """Hues (degrees) that bear this name, with TEST shades held out."""
    if colour not in HUES_DEG:
        raise SimError(f"colour is {colour!r}; legal: {', '.join(HUES_DEG)}")
    centre = HUES_DEG[colour]
    return HeldOut(centre - _HUE_HALF_RANGE_DEG, centre + _HUE_HALF_RANGE_DEG, _HUE_BIN_DEG)


def sample_shade(rng: np.random.Generator, split: Split, colour: str) -> Rgb:
    """A shade of a named colour; hue from the split's own bins of 2 degrees."""
    hue = hue_range(colour).sample(rng, split)
    return colorsys.hsv_to_rgb(hue / 360.0 % 1.0, rng.uniform(0.8, 1.0), rng.uniform(0.75, 1.0))


def sample_look(rng: np.random.Generator, split: Split) -> Look:
    """Muted room colours (brightness in the split's bins of 0.05) and a light (azimuth in its bins of 15 degrees)."""
    azimuth = np.deg2rad(_LIGHT_AZIMUTH_DEG.sample(rng, split))
    elevation = np.deg2rad(rng.uniform(35.0, 85.0))
    direction = -np.array([np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)])
    table, floor, wall = (colorsys.hsv_to_rgb(rng.uniform(), rng.uniform(0.0, 0.3), _MUTED_VALUE.sample(rng, split))
                          for _ in range(3))
    return Look(table, floor, wall, light_direction=tuple(direction), light_level=float(rng.uniform(0.35, 0.7)),
                ambient_level=float(rng.uniform(0.3, 0.5)))

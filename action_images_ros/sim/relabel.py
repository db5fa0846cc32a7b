"""What else could have been asked for in a recorded scene.

The expert is memoryless and the first image does not depend on what is asked, so every other object of a scene is
a further demonstration: the same picture, another instruction, another path. Pairs of that kind are what
teaches a model to read the instruction.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..geometry.se3 import make
from .expert import StraightLineExpert
from .reach import HAND_DOWN, PARAPHRASES


@dataclass(frozen=True)
class Choice:
    """One thing that could be asked for: paraphrases of the instruction, and the expert that does it."""

    instructions: tuple[str, ...]
    expert: StraightLineExpert


def choices(task: str, objects: list[dict]) -> tuple[Choice, ...]:
    """Everything that could be asked for among the recorded objects of a scene; () for a task without alternatives."""
    if task != "reach_target":
        return ()
    return tuple(Choice(tuple(p.format(o["colour"]) for p in PARAPHRASES),
                        StraightLineExpert(make(HAND_DOWN, np.array(o["position_m"], float)))) for o in objects)

"""What else could have been asked for in a recorded scene.

The expert is memoryless and the first image does not depend on what is asked, so every other object of a scene is
a further demonstration: the same picture, another instruction, another path. Pairs of that kind are what
teaches a model to read the instruction.
"""

from __future__ import annotations

from dataclasses import dataclass

from .expert import Expert
from .scene import SceneObject, scene_object
from .tasks import TASKS, make_task

_SAME_CUBES = ("pick_cube", "place_in_bowl")


@dataclass(frozen=True)
class Choice:
    """One thing that could be asked for: paraphrases of the instruction, and the expert that does it."""

    instructions: tuple[str, ...]
    expert: Expert


def choices(task: str, objects: list[dict]) -> tuple[Choice, ...]:
    """Everything that could be asked for among the recorded objects of a scene; () for an unknown task. Cubes with a
    bowl may be picked up or put into it, whichever was recorded.

    Show an expert the objects as they are in a picture (`seeing`) before asking it from there.
    """
    if task not in TASKS:
        return ()
    things = tuple(scene_object(o) for o in objects)
    asked = [task, *(other for other in _SAME_CUBES if other != task)] if _cubes_with_bowl(things) else [task]
    return tuple(Choice(made.phrases(things, i), made.expert_of(things, i))
                 for made in map(make_task, asked) for i in range(made.askable(things)))


def _cubes_with_bowl(things: tuple[SceneObject, ...]) -> bool:
    return {"cube0", "bowl"} <= {thing.name for thing in things}

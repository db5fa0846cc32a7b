"""What the tasks on the table have in common."""

from __future__ import annotations

import numpy as np

from .scene import Scene, SceneObject, sample_look
from .split import Split
from .tasks import Task


def initial_states(objects: tuple[SceneObject, ...]) -> np.ndarray:
    """(O, 8): the states, as of `SimCell.thing_states`, in which a scene puts these objects."""
    half = np.array([o.yaw_rad for o in objects]) / 2
    out = np.zeros((len(objects), 8))
    out[:, :3] = [o.position_m for o in objects]
    out[:, 5], out[:, 6], out[:, 7] = np.sin(half), np.cos(half), [o.joint_m for o in objects]
    return out


def compose(task: Task, rng: np.random.Generator, split: Split, objects: tuple[SceneObject, ...], target: int,
            q_start: np.ndarray) -> Scene:
    """The scene of these objects; instructions are paraphrased at random in TRAIN and canonical in TEST."""
    phrases = task.phrases(objects, target)
    said = phrases[int(rng.integers(len(phrases)))] if split is Split.TRAIN else phrases[0]
    every = tuple(task.phrases(objects, i)[0] for i in range(task.askable(objects)))
    return Scene(task.name, split, said, phrases[0], objects, target, sample_look(rng, split),
                 tuple(map(float, q_start)), float(rng.integers(2)), every)

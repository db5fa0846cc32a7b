"""Tasks by name: each samples scenes, judges what the arm did and knows the expert's motion."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

import numpy as np

from ..errors import SimError, one_of
from .expert import Expert
from .kinematics import ArmKinematics
from .props import Prop
from .scene import Scene, SceneObject
from .split import Split


class Outcome(Enum):
    PENDING = "pending"
    SUCCESS = "success"
    FAILURE = "failure"


@dataclass(frozen=True)
class Verdict:
    """The cell's own opinion of an episode; reason is empty only while pending."""

    outcome: Outcome
    reason: str = ""


class Situation(Protocol):
    """What a judge looks at; SimCell is one."""

    @property
    def base_T_tcp(self) -> np.ndarray: ...

    @property
    def openness(self) -> float: ...

    def thing_states(self) -> np.ndarray: ...


class Judge(Protocol):
    def update(self, time_s: float, cell: Situation) -> Verdict: ...


class Task(Protocol):
    """name is also the registry key. `judge` may look at the simulator; a policy never does.

    props: what a cell for this task is built with (`SimCellConfig.props`). exploration_m: standard deviation by which
    collection displaces TRAIN targets, so that the expert is seen mending it; 0 for a task without contact, whose
    episodes need no physics. askable: how many of a scene's objects may be asked for; those come first. phrases: what
    asks for one of them, the canonical instruction first.
    """

    @property
    def name(self) -> str: ...

    @property
    def exploration_m(self) -> float: ...

    @property
    def props(self) -> tuple[Prop, ...]: ...

    def askable(self, objects: tuple[SceneObject, ...]) -> int: ...

    def phrases(self, objects: tuple[SceneObject, ...], target: int) -> tuple[str, ...]: ...

    def expert_of(self, objects: tuple[SceneObject, ...], target: int) -> Expert: ...

    def sample(self, rng: np.random.Generator, split: Split, kinematics: ArmKinematics) -> Scene: ...

    def judge(self, scene: Scene, timeout_s: float = 20.0) -> Judge: ...

    def expert(self, scene: Scene) -> Expert: ...


def _reach_target() -> Task:
    from .reach import ReachTarget

    return ReachTarget()


def _push_button() -> Task:
    from .push_button import PushButton

    return PushButton()


def _close_drawer() -> Task:
    from .close_drawer import CloseDrawer

    return CloseDrawer()


def _pick_cube() -> Task:
    from .pick_cube import PickCube

    return PickCube()


def _place_in_bowl() -> Task:
    from .place_in_bowl import PlaceInBowl

    return PlaceInBowl()


TASKS: dict[str, Callable[[], Task]] = {"reach_target": _reach_target, "push_button": _push_button,
                                        "close_drawer": _close_drawer, "pick_cube": _pick_cube,
                                        "place_in_bowl": _place_in_bowl}


def make_task(name: str) -> Task:
    """The task of that name. Raises SimError naming the legal ones."""
    one_of("task", name, TASKS, SimError)
    return TASKS[name]()


def task_names(text: str) -> tuple[str, ...]:
    """The tasks that "all" or "name[,name]" means. Raises SimError for an unknown or repeated one."""
    names = tuple(TASKS) if text == "all" else tuple(text.split(","))
    for name in names:
        one_of("task", name, TASKS, SimError)
    if len(set(names)) < len(names):
        raise SimError(f"tasks are {text!r}; name each once, or all")
    return names

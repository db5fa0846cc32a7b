"""Tasks by name: each samples scenes, judges what the arm did and knows the expert's motion."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

import numpy as np

from ..errors import SimError, one_of
from .expert import StraightLineExpert
from .kinematics import ArmKinematics
from .scene import Scene
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


class Judge(Protocol):
    def update(self, time_s: float, cell: Situation) -> Verdict: ...


class Task(Protocol):
    """name is also the registry key. `judge` may look at the simulator; a policy never does."""

    name: str

    def sample(self, rng: np.random.Generator, split: Split, kinematics: ArmKinematics) -> Scene: ...

    def judge(self, scene: Scene, timeout_s: float = 20.0) -> Judge: ...

    def expert(self, scene: Scene) -> StraightLineExpert: ...


def _reach_target() -> Task:
    from .reach import ReachTarget

    return ReachTarget()


TASKS: dict[str, Callable[[], Task]] = {"reach_target": _reach_target}


def make_task(name: str) -> Task:
    """The task of that name. Raises SimError naming the legal ones."""
    one_of("task", name, TASKS, SimError)
    return TASKS[name]()

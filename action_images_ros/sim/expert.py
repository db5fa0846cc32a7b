"""Scripted experts: memoryless, so that they can say from any state what to do next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ..errors import SimError
from ..geometry.se3 import angle_between, interpolate
from ..types import ActionChunk


class Expert(Protocol):
    """Knows one thing that is to be done. goal_base_T_tcp (4, 4): where the TCP will end, as seen from the start."""

    @property
    def goal_base_T_tcp(self) -> np.ndarray: ...

    def seeing(self, things: np.ndarray) -> Expert:
        """The same with the objects in these states (`SimCell.thing_states`)."""

    def possible(self, base_T_tcp: np.ndarray, openness: float) -> bool:
        """Whether this can sensibly be asked for now."""

    def arrived(self, base_T_tcp: np.ndarray, openness: float) -> bool:
        """Whether nothing is left to do."""

    def chunk(self, base_T_tcp: np.ndarray, openness: float, n_steps: int, dt_s: float) -> ActionChunk:
        """n_steps >= 1 targets dt_s apart; index 0 is the current pose and openness."""


@dataclass(frozen=True)
class StraightLineExpert:
    """From any pose: at most max_step_m and max_step_rad an action step, rotation in proportion to translation.

    goal_base_T_tcp (4, 4). Openness is `travel_openness` on the way and `goal_openness` at every step
    whose TCP is within at_goal_m of the goal. Markov: the chunk depends on the current pose only.
    """

    goal_base_T_tcp: np.ndarray
    travel_openness: float = 1.0
    goal_openness: float = 0.0
    at_goal_m: float = 0.01
    max_step_m: float = 0.06
    max_step_rad: float = 0.5

    def advance(self, base_T_tcp: np.ndarray) -> np.ndarray:
        """The pose one action step later (4, 4)."""
        distance = float(np.linalg.norm(self.goal_base_T_tcp[:3, 3] - base_T_tcp[:3, 3]))
        angle = float(angle_between(base_T_tcp[:3, :3], self.goal_base_T_tcp[:3, :3]))
        steps = max(distance / self.max_step_m, angle / self.max_step_rad, 1.0)
        return interpolate(base_T_tcp, self.goal_base_T_tcp, np.array(1.0 / steps))

    def at_goal(self, base_T_tcp: np.ndarray) -> bool:
        return bool(np.linalg.norm(self.goal_base_T_tcp[:3, 3] - base_T_tcp[:3, 3]) <= self.at_goal_m)

    def seeing(self, things: np.ndarray) -> StraightLineExpert:
        return self

    def possible(self, base_T_tcp: np.ndarray, openness: float) -> bool:
        return True

    def arrived(self, base_T_tcp: np.ndarray, openness: float) -> bool:
        """At the goal with nothing left to move, to 1 mm and 0.01 rad."""
        return bool(np.linalg.norm(self.goal_base_T_tcp[:3, 3] - base_T_tcp[:3, 3]) < 1e-3
                    and angle_between(base_T_tcp[:3, :3], self.goal_base_T_tcp[:3, :3]) < 1e-2)

    def chunk(self, base_T_tcp: np.ndarray, openness: float, n_steps: int, dt_s: float) -> ActionChunk:
        """n_steps >= 1 targets dt_s apart; index 0 is the current pose and openness."""
        if n_steps < 1:
            raise SimError(f"n_steps is {n_steps}; a chunk has at least 1 step")
        poses, grips = [np.asarray(base_T_tcp, float)], [float(openness)]
        for _ in range(n_steps - 1):
            poses.append(self.advance(poses[-1]))
            grips.append(self.goal_openness if self.at_goal(poses[-1]) else self.travel_openness)
        chunk = ActionChunk.from_poses(np.stack(poses), np.array(grips))
        return chunk.stamped(0, dt_s)

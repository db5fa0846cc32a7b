"""PlaceInBowl: "put the yellow cube in the bowl", three loose cubes and a bowl."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..geometry.se3 import make
from .judging import Standing
from .pick_cube import CUBES, CubeTask, PickExpert, between, fallen, holds, in_bowl, over_bowl
from .props import CUBE_SIDE_M
from .scene import Scene, SceneObject
from .staged import Aim, Moment
from .tasks import Situation

_DROP_Z_M, _CARRY_Z_M, _LEAVE_Z_M = 0.105, 0.13, 0.19
_OVER_BOWL_M, _NEAR_BOWL_M = 0.022, 0.06


@dataclass(frozen=True)
class PlaceExpert(PickExpert):
    """Picks the cube, carries it over the bowl, lets go, and leaves upwards. The bowl is the last of the things."""

    @property
    def goal_base_T_tcp(self) -> np.ndarray:
        return make(self.grasp(self.things)[:3, :3], [*self.things[-1, :2], _LEAVE_Z_M])

    def possible(self, base_T_tcp: np.ndarray, openness: float) -> bool:
        """Not while another cube is held."""
        now = Moment(base_T_tcp, openness, self.things)
        return not any(holds(now, i) for i in range(CUBES) if i != self.target)

    def aim(self, now: Moment) -> Aim:
        if in_bowl(now.things, self.target) and not holds(now, self.target):
            start = now.tcp
            return Aim(make(now.base_T_tcp[:3, :3], [*start[:2], max(_LEAVE_Z_M, start[2])]), 1.0, last=True)
        if not holds(now, self.target):
            return self.towards_grasp(now)
        bowl, R = now.things[-1], now.base_T_tcp[:3, :3]
        off = float(np.linalg.norm(now.things[self.target, :2] - bowl[:2]))
        drop = make(R, [*(bowl[:2] + now.tcp[:2] - now.things[self.target, :2]), _DROP_Z_M])
        if off < _OVER_BOWL_M and now.tcp[2] < _DROP_Z_M + 0.02:
            return Aim(drop, 1.0)
        if off > _NEAR_BOWL_M and now.tcp[2] < _DROP_Z_M - 0.015:
            return Aim(make(R, [*now.tcp[:2], _CARRY_Z_M]), 0.0)
        return Aim(drop, 0.0)

    def after(self, now: Moment, base_T_tcp: np.ndarray, aim: Aim) -> Moment:
        """A cube let go over the bowl lies in it."""
        then = super().after(now, base_T_tcp, aim)
        if aim.openness < 0.5 or not holds(now, self.target) or not over_bowl(now.things, self.target):
            return then
        things = then.things.copy()
        things[self.target, :3] = [*things[-1, :2], CUBE_SIDE_M / 2 + 0.006]
        return Moment(then.base_T_tcp, then.openness, things)


@dataclass(frozen=True)
class PlaceInBowl(CubeTask):
    """The cube must lie in the bowl, let go of."""

    name: str = "place_in_bowl"
    expert_type = PlaceExpert

    def phrases(self, objects: tuple[SceneObject, ...], target: int) -> tuple[str, ...]:
        colour = objects[target].colour
        return tuple(p.format(colour) for p in ("put the {} cube in the bowl", "place the {} cube in the bowl",
                                                "drop the {} cube into the bowl", "move the {} cube into the bowl"))

    def has_bowl(self, rng: np.random.Generator) -> bool:
        return True

    def standing(self, scene: Scene, cell: Situation) -> Standing:
        now = Moment(cell.base_T_tcp, cell.openness, cell.thing_states())
        free = [not between(now, i) or now.openness > 0.75 for i in range(CUBES)]
        off = float(np.linalg.norm(now.things[scene.target, :2] - now.things[-1, :2]))
        return Standing(tuple(in_bowl(now.things, i) and free[i] for i in range(CUBES)),
                        f"{off * 1e3:.0f} mm from the bowl's middle",
                        fallen(scene, now.things[:CUBES, 2] - CUBE_SIDE_M / 2))

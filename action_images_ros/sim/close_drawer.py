"""CloseDrawer: "close the blue drawer", two cabinets with an open drawer each.

The drawers open away from the robot, so that cameras before it see them; the hand reaches over and pulls one shut with
the outside of closed fingers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import SimError
from ..geometry.se3 import make
from .judging import KeptJudge, Standing
from .kinematics import ArmKinematics
from .layout import hand_down, on_table, random_start
from .props import DRAWER_FRONT_M, DRAWER_HEIGHT_M, DRAWER_WIDTH_M, Drawer, Prop
from .scene import HUES_DEG, Scene, SceneObject, TurnedObject, sample_shade
from .split import HeldOut, Split
from .staged import Aim, Moment, StagedExpert, over, yaw_of
from .tabletop import compose, initial_states
from .tasks import Situation

DRAWERS = 2
OPENING_M = HeldOut(0.06, 0.12, 0.005)
_BOXES_M = (((0.35, 0.10), (0.43, 0.25)), ((0.35, -0.25), (0.43, -0.10)))
_YAW_RAD = np.deg2rad(22.0)
_INWARD_YAW_RAD = np.deg2rad(4.0)
_FINGER_M = 0.010
_HAND_Z_M = 0.056
_CLEAR_Z_M = DRAWER_HEIGHT_M + 0.045
_BEFORE_M, _OVERPUSH_M, _SHUT_M = 0.045, 0.003, 0.004
_TRIES = 500


@dataclass(frozen=True)
class CloseExpert(StagedExpert):
    """Over the open drawer, down before its front, straight towards the cabinet, and staying where it is shut."""

    def _pose(self, things: np.ndarray, out_m: float, z_m: float) -> np.ndarray:
        """Hand square to the drawer, out_m before the closed front."""
        place, yaw = things[self.target, :3], yaw_of(things[self.target, 3:7])
        return make(hand_down(yaw), [place[0] + np.cos(yaw) * out_m, place[1] + np.sin(yaw) * out_m, z_m])

    @property
    def goal_base_T_tcp(self) -> np.ndarray:
        return self._pose(self.things, DRAWER_FRONT_M + _FINGER_M - _OVERPUSH_M, _HAND_Z_M)

    def aim(self, now: Moment) -> Aim:
        thing = now.things[self.target]
        yaw = yaw_of(thing[3:7])
        off = now.tcp - thing[:3]
        out, aside = off[0] * np.cos(yaw) + off[1] * np.sin(yaw), -off[0] * np.sin(yaw) + off[1] * np.cos(yaw)
        if thing[7] < _SHUT_M:
            return Aim(now.base_T_tcp, 0.0, last=True)
        touching = thing[7] + DRAWER_FRONT_M
        before = out > touching + _FINGER_M / 2 and abs(aside) < DRAWER_WIDTH_M / 2 - 0.02
        if before and now.tcp[2] < _HAND_Z_M + 0.02:
            return Aim(self._pose(now.things, DRAWER_FRONT_M + _FINGER_M - _OVERPUSH_M, _HAND_Z_M), 0.0, last=True)
        outside = touching + _FINGER_M + _BEFORE_M
        if before and out > touching + _FINGER_M + 0.012 and out < outside + 0.04 and abs(aside) < 0.04:
            return Aim(self._pose(now.things, max(outside - 0.015, min(out, outside)), _HAND_Z_M), 0.0)
        above = self._pose(now.things, outside, _CLEAR_Z_M + 0.015)
        return over(now, above[:3, 3], yaw, _CLEAR_Z_M, 0.0)

    def after(self, now: Moment, base_T_tcp: np.ndarray, aim: Aim) -> Moment:
        if not aim.last:
            return Moment(base_T_tcp, aim.openness, now.things)
        things = now.things.copy()
        thing = things[self.target]
        yaw, off = yaw_of(thing[3:7]), base_T_tcp[:3, 3] - thing[:3]
        pushed = off[0] * np.cos(yaw) + off[1] * np.sin(yaw) - DRAWER_FRONT_M - _FINGER_M
        thing[7] = np.clip(pushed, 0.0, max(thing[7], 0.0))
        return Moment(base_T_tcp, aim.openness, things)


@dataclass(frozen=True)
class CloseDrawer:
    """closed_m: how far the drawer may still be open, for dwell_s of simulation time."""

    name: str = "close_drawer"
    closed_m: float = 0.012
    dwell_s: float = 0.3
    exploration_m: float = 0.012

    @property
    def props(self) -> tuple[Prop, ...]:
        return tuple(Drawer(f"drawer{i}") for i in range(DRAWERS))

    def phrases(self, objects: tuple[SceneObject, ...], target: int) -> tuple[str, ...]:
        colour = objects[target].colour
        return tuple(p.format(colour) for p in ("close the {} drawer", "shut the {} drawer", "push the {} drawer shut",
                                                "push the {} drawer in"))

    def askable(self, objects: tuple[SceneObject, ...]) -> int:
        return len(objects)

    def expert_of(self, objects: tuple[SceneObject, ...], target: int) -> CloseExpert:
        return CloseExpert(initial_states(objects), target)

    def expert(self, scene: Scene) -> CloseExpert:
        return self.expert_of(scene.objects, scene.target)

    def sample(self, rng: np.random.Generator, split: Split, kinematics: ArmKinematics) -> Scene:
        """Closed fronts in the split's own cells of the table, openings in its bins of 5 mm."""
        for _ in range(_TRIES):
            colours = [str(c) for c in rng.choice(list(HUES_DEG), DRAWERS, replace=False)]
            objects = tuple(_drawer(rng, split, i, c) for i, c in enumerate(colours))
            target = int(rng.integers(DRAWERS))
            experts = [self.expert_of(objects, i) for i in range(DRAWERS)]
            poses = [e.goal_base_T_tcp for e in experts] + [
                e._pose(e.things, e.things[i, 7] + 0.08, z) for i, e in enumerate(experts)
                for z in (_HAND_Z_M, _CLEAR_Z_M + 0.02)]
            q = random_start(rng, kinematics, poses) if _room(experts) else None
            if q is not None:
                return compose(self, rng, split, objects, target, q)
        raise SimError(f"no reachable {self.name} scene in {_TRIES} tries")

    def judge(self, scene: Scene, timeout_s: float = 20.0) -> KeptJudge:
        names = tuple(f"{o.colour} drawer" for o in scene.objects)
        return KeptJudge(scene, lambda cell: self._standing(scene, cell), names, self.dwell_s, timeout_s)

    def _standing(self, scene: Scene, cell: Situation) -> Standing:
        opening = cell.thing_states()[:, 7]
        return Standing(tuple(opening <= self.closed_m), f"open {opening[scene.target] * 1e3:.0f} mm")


def _drawer(rng: np.random.Generator, split: Split, index: int, colour: str) -> TurnedObject:
    side = 1.0 if index == 0 else -1.0
    x, y = on_table(rng, split, _BOXES_M[index])
    yaw = side * rng.uniform(-_INWARD_YAW_RAD, _YAW_RAD)
    place = (float(x), float(y), DRAWER_HEIGHT_M)
    return TurnedObject(f"drawer{index}", colour, sample_shade(rng, split, colour), place, float(yaw),
                        OPENING_M.sample(rng, split))


def _room(experts: list[CloseExpert]) -> bool:
    """Whether the two drawers are out of each other's way, closed and open."""
    ends = [[e._pose(e.things, out, 0.0)[:2, 3] for out in (-0.13, 0.0, e.things[i, 7])] for i, e in enumerate(experts)]
    return all(np.linalg.norm(a - b) > DRAWER_WIDTH_M + 0.045 for a in ends[0] for b in ends[1])

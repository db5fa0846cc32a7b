"""PickCube: "pick up the green cube", three loose cubes of 42 mm, at times with a bowl among them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from ..errors import SimError
from ..geometry.se3 import angle_between, make, matrix_from_quat, quat_from_matrix
from .cell import MAX_GRIPPER_WIDTH_M
from .judging import KeptJudge, Standing
from .kinematics import ArmKinematics
from .layout import apart, hand_down, on_table, random_start
from .props import BOWL_HEIGHT_M, BOWL_RADIUS_M, CUBE_SIDE_M, Bowl, Cube, Prop
from .scene import HUES_DEG, Scene, SceneObject, TurnedObject, sample_shade
from .split import Split
from .staged import Aim, Moment, StagedExpert, over
from .tabletop import compose, initial_states
from .tasks import Situation

CUBES = 3
HELD_OPENNESS = CUBE_SIDE_M / MAX_GRIPPER_WIDTH_M
LIFTED_TCP_Z_M = 0.17
CUBE_SEPARATION_M, BOWL_SEPARATION_M = 0.11, 0.16
_YAW_RAD = np.deg2rad(20.0)
_ABOVE_M, _CLEAR_M, _GRASP_M = 0.08, 0.060, 0.003
_CLOSING, _OPEN = 0.68, 0.85
_ASIDE_M, _FUNNEL = 0.012, 0.25
_GRASP_NEAR_M, _GRASP_TURN_RAD = 0.013, 0.25
_BOWL_SHARE = 0.4
_TRIES = 1000


@dataclass(frozen=True)
class PickExpert(StagedExpert):
    """Over the cube with open fingers turned to its sides, down, close, and up once the cube is between them."""

    @property
    def goal_base_T_tcp(self) -> np.ndarray:
        grasp = self.grasp(self.things)
        return make(grasp[:3, :3], [*grasp[:2, 3], LIFTED_TCP_Z_M])

    def grasp(self, things: np.ndarray) -> np.ndarray:
        """base_T_tcp (4, 4) at which the cube is gripped: of its four sides' turns the one nearest to straight."""
        return make(hand_down(side_yaw(things[self.target])), things[self.target, :3] + [0, 0, _GRASP_M])

    def possible(self, base_T_tcp: np.ndarray, openness: float) -> bool:
        """Not while another cube is held, nor for a cube in the bowl."""
        now = Moment(base_T_tcp, openness, self.things)
        if len(self.things) > CUBES and in_bowl(self.things, self.target) and not holds(now, self.target):
            return False
        return not any(holds(now, i) for i in range(CUBES) if i != self.target)

    def aim(self, now: Moment) -> Aim:
        if holds(now, self.target):
            return Aim(make(now.base_T_tcp[:3, :3], [*now.tcp[:2], max(LIFTED_TCP_Z_M, now.tcp[2])]), 0.0, last=True)
        return self.towards_grasp(now)

    def towards_grasp(self, now: Moment) -> Aim:
        grasp = self.grasp(now.things)
        off, turn = now.tcp - grasp[:3, 3], angle_between(now.base_T_tcp[:3, :3], grasp[:3, :3])
        aside = float(np.linalg.norm(off[:2]))
        if aside <= _GRASP_NEAR_M and abs(off[2]) <= _GRASP_NEAR_M and turn <= _GRASP_TURN_RAD:
            return Aim(grasp, 0.0)
        straight = aside <= _ASIDE_M + _FUNNEL * max(off[2], 0.0) and turn <= _GRASP_TURN_RAD
        if straight and now.openness > _OPEN:
            return Aim(grasp, 1.0)
        above = grasp[:3, 3] + [0, 0, _ABOVE_M]
        return over(now, above, side_yaw(now.things[self.target]), grasp[2, 3] + _CLEAR_M, 1.0)

    def after(self, now: Moment, base_T_tcp: np.ndarray, aim: Aim) -> Moment:
        """A cube that is held goes along; fingers that close stop at the cube they find."""
        things, closing = now.things, aim.openness < 0.5
        if holds(now, self.target) and closing:
            things = things.copy()
            turned = base_T_tcp[:3, :3] @ now.base_T_tcp[:3, :3].T
            things[self.target, :3] = base_T_tcp[:3, 3] + turned @ (things[self.target, :3] - now.tcp)
            things[self.target, 3:7] = quat_from_matrix(turned @ matrix_from_quat(things[self.target, 3:7]))
        then = Moment(base_T_tcp, HELD_OPENNESS if closing else 1.0, things)
        return then if not closing or between(then, self.target) else replace(then, openness=0.0)


@dataclass(frozen=True)
class CubeTask:
    """Three cubes. Subclasses say what asks for one (`phrases`), whether there is a bowl (`has_bowl`), who can do it
    (`expert_type`) and when it is done (`standing`), which must last dwell_s of simulation time."""

    name: str = ""
    dwell_s: float = 0.5
    exploration_m: float = 0.008
    expert_type: ClassVar[type[PickExpert]] = PickExpert

    @property
    def props(self) -> tuple[Prop, ...]:
        return (*(Cube(f"cube{i}") for i in range(CUBES)), Bowl("bowl"))

    def phrases(self, objects: tuple[SceneObject, ...], target: int) -> tuple[str, ...]:
        raise NotImplementedError

    def has_bowl(self, rng: np.random.Generator) -> bool:
        raise NotImplementedError

    def standing(self, scene: Scene, cell: Situation) -> Standing:
        raise NotImplementedError

    def askable(self, objects: tuple[SceneObject, ...]) -> int:
        return CUBES

    def expert_of(self, objects: tuple[SceneObject, ...], target: int) -> PickExpert:
        return self.expert_type(initial_states(objects), target)

    def expert(self, scene: Scene) -> PickExpert:
        return self.expert_of(scene.objects, scene.target)

    def sample(self, rng: np.random.Generator, split: Split, kinematics: ArmKinematics) -> Scene:
        """In the split's own cells of the table."""
        with_bowl = self.has_bowl(rng)
        for _ in range(_TRIES):
            objects = sample_objects(rng, split, with_bowl)
            if objects is None:
                continue
            target = int(rng.integers(CUBES))
            experts = [self.expert_of(objects, i) for i in range(CUBES)]
            q = random_start(rng, kinematics, [p for e in experts for p in (e.grasp(e.things), e.goal_base_T_tcp)])
            if q is not None:
                return compose(self, rng, split, objects, target, q)
        raise SimError(f"no reachable {self.name} scene in {_TRIES} tries")

    def judge(self, scene: Scene, timeout_s: float = 20.0) -> KeptJudge:
        names = tuple(f"{o.colour} cube" for o in scene.objects[:CUBES])
        return KeptJudge(scene, lambda cell: self.standing(scene, cell), names, self.dwell_s, timeout_s)


@dataclass(frozen=True)
class PickCube(CubeTask):
    """lifted_m: how far the cube's centre must be above where it lay. In four scenes of ten there is a bowl."""

    name: str = "pick_cube"
    lifted_m: float = 0.06

    def phrases(self, objects: tuple[SceneObject, ...], target: int) -> tuple[str, ...]:
        return pick_phrases(objects[target].colour)

    def has_bowl(self, rng: np.random.Generator) -> bool:
        return bool(rng.uniform() < _BOWL_SHARE)

    def standing(self, scene: Scene, cell: Situation) -> Standing:
        height = cell.thing_states()[:CUBES, 2] - CUBE_SIDE_M / 2
        return Standing(tuple(height >= self.lifted_m), f"lifted {height[scene.target] * 1e3:.0f} mm",
                        fallen(scene, height))


def pick_phrases(colour: str) -> tuple[str, ...]:
    return tuple(p.format(colour) for p in ("pick up the {} cube", "lift the {} cube", "grasp the {} cube and lift it",
                                            "pick the {} cube up"))


def fallen(scene: Scene, height_m: np.ndarray) -> str:
    """Why the task is spoilt: the asked cube is below the table. height_m: of each cube above where it lay."""
    return f"dropped: the {scene.objects[scene.target].colour} cube is off the table" * bool(
        height_m[scene.target] < -0.05)


def side_yaw(thing: np.ndarray) -> float:
    """Turn (rad, within 45 degrees) of the cube's side that is nearest to the hand's straight posture; thing (8,)."""
    R = matrix_from_quat(thing[3:7])
    level = R[:2, np.argmin(np.abs(R[2]))]
    return float((np.arctan2(level[1], level[0]) + np.pi / 4) % (np.pi / 2) - np.pi / 4)


def between(now: Moment, index: int) -> bool:
    """Whether the cube is where the fingers can grip it."""
    x, y, z = now.base_T_tcp[:3, :3].T @ (now.things[index, :3] - now.tcp)
    return bool(abs(x) < 0.022 and abs(y) < 0.03 and abs(z) < 0.026)


def holds(now: Moment, index: int) -> bool:
    return HELD_OPENNESS - 0.08 < now.openness < _CLOSING and between(now, index)


def over_bowl(things: np.ndarray, index: int) -> bool:
    return float(np.linalg.norm(things[index, :2] - things[-1, :2])) < BOWL_RADIUS_M - 0.02


def in_bowl(things: np.ndarray, index: int) -> bool:
    """Whether the centre of that cube is within the bowl, the last of the things, and not above its rim."""
    return over_bowl(things, index) and bool(things[index, 2] < BOWL_HEIGHT_M + 0.012)


def sample_objects(rng: np.random.Generator, split: Split, with_bowl: bool) -> tuple[TurnedObject, ...] | None:
    """Three cubes of different colours, then perhaps a pale bowl; None where this draw has them too near each other."""
    places = [on_table(rng, split) for _ in range(CUBES)]
    bowl = on_table(rng, split)
    if not apart(places, CUBE_SEPARATION_M):
        return None
    if with_bowl and min(np.linalg.norm(bowl - p) for p in places) < BOWL_SEPARATION_M:
        return None
    colours = [str(c) for c in rng.choice(list(HUES_DEG), CUBES, replace=False)]
    cubes = [TurnedObject(f"cube{i}", c, sample_shade(rng, split, c), (float(p[0]), float(p[1]), CUBE_SIDE_M / 2),
                          float(rng.uniform(-_YAW_RAD, _YAW_RAD))) for i, (c, p) in enumerate(zip(colours, places))]
    level = float(rng.uniform(0.75, 0.95))
    dish = TurnedObject("bowl", "white", (level, level, level), (float(bowl[0]), float(bowl[1]), BOWL_HEIGHT_M))
    return (*cubes, dish) if with_bowl else tuple(cubes)

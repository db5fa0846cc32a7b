"""PushButton: "push the red button", three mushroom buttons of three colours on the table."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import SimError
from ..geometry.se3 import make
from .judging import KeptJudge, Standing
from .kinematics import ArmKinematics
from .layout import HAND_DOWN, apart, on_table, random_start
from .props import BUTTON_TOP_M, Button, Prop
from .scene import HUES_DEG, Scene, SceneObject, TurnedObject, sample_shade
from .split import Split
from .staged import Aim, Moment, StagedExpert, over
from .tabletop import compose, initial_states
from .tasks import Situation

BUTTONS = 3
FINGERTIP_M = 0.0087
_SEPARATION_M = 0.13
_ABOVE_M, _CLEAR_M = 0.065, 0.045
_ASIDE_M = 0.02
_AIMED_PRESS_M = 0.015
_TRIES = 500


@dataclass(frozen=True)
class PushExpert(StagedExpert):
    """Over the button with closed fingers, down until it is pressed 15 mm, and staying there."""

    @property
    def goal_base_T_tcp(self) -> np.ndarray:
        return make(HAND_DOWN, self.things[self.target, :3] + [0, 0, FINGERTIP_M - _AIMED_PRESS_M])

    def aim(self, now: Moment) -> Aim:
        cap, goal = now.things[self.target, :3], self.goal_base_T_tcp
        if np.linalg.norm(now.tcp[:2] - cap[:2]) > _ASIDE_M:
            return over(now, cap + [0, 0, _ABOVE_M], 0.0, cap[2] + _CLEAR_M, 0.0)
        return Aim(goal, 0.0, last=True)


@dataclass(frozen=True)
class PushButton:
    """pressed_m: how deep (of 25 mm) the button must be pressed, for dwell_s of simulation time."""

    name: str = "push_button"
    pressed_m: float = 0.008
    dwell_s: float = 0.2
    exploration_m: float = 0.012

    @property
    def props(self) -> tuple[Prop, ...]:
        return tuple(Button(f"button{i}") for i in range(BUTTONS))

    def phrases(self, objects: tuple[SceneObject, ...], target: int) -> tuple[str, ...]:
        colour = objects[target].colour
        return tuple(p.format(colour) for p in ("push the {} button", "press the {} button", "push the {} button down",
                                                "press down on the {} button"))

    def askable(self, objects: tuple[SceneObject, ...]) -> int:
        return len(objects)

    def expert_of(self, objects: tuple[SceneObject, ...], target: int) -> PushExpert:
        return PushExpert(initial_states(objects), target)

    def expert(self, scene: Scene) -> PushExpert:
        return self.expert_of(scene.objects, scene.target)

    def sample(self, rng: np.random.Generator, split: Split, kinematics: ArmKinematics) -> Scene:
        """Buttons in the split's own cells of the table. TRAIN instructions are paraphrased at random."""
        for _ in range(_TRIES):
            places = [on_table(rng, split) for _ in range(BUTTONS)]
            if not apart(places, _SEPARATION_M):
                continue
            colours = [str(c) for c in rng.choice(list(HUES_DEG), BUTTONS, replace=False)]
            objects = tuple(TurnedObject(f"button{i}", c, sample_shade(rng, split, c),
                                         (float(p[0]), float(p[1]), BUTTON_TOP_M), float(rng.uniform(-0.7, 0.7)))
                            for i, (c, p) in enumerate(zip(colours, places)))
            target = int(rng.integers(BUTTONS))
            q = random_start(rng, kinematics, [self.expert_of(objects, i).goal_base_T_tcp for i in range(BUTTONS)])
            if q is not None:
                return compose(self, rng, split, objects, target, q)
        raise SimError(f"no reachable {self.name} scene in {_TRIES} tries")

    def judge(self, scene: Scene, timeout_s: float = 20.0) -> KeptJudge:
        names = tuple(f"{o.colour} button" for o in scene.objects)
        return KeptJudge(scene, lambda cell: self._standing(scene, cell), names, self.dwell_s, timeout_s)

    def _standing(self, scene: Scene, cell: Situation) -> Standing:
        depth = cell.thing_states()[:, 7]
        return Standing(tuple(depth >= self.pressed_m), f"pressed {depth[scene.target] * 1e3:.0f} mm")

"""ReachTarget: "reach the red ball", three balls of three colours on and above the table.

The balls are visual targets without contact, as in RLBench's reach_target: the TCP has to get to the
centre of the named one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import SimError
from ..geometry.se3 import make
from .expert import StraightLineExpert
from .kinematics import NOMINAL_Q, ArmKinematics
from .layout import HAND_DOWN, layout_split, random_orientation
from .props import BALL_PROPS, BALL_RADIUS_M, BALLS, Prop, ball_name
from .scene import HUES_DEG, Scene, SceneObject, sample_look, sample_shade
from .split import Split
from .tasks import Outcome, Situation, Verdict

PARAPHRASES = ("reach the {} ball", "go to the {} ball", "touch the {} ball", "move to the {} ball")
BALL_BOX_M = ((0.35, -0.25, BALL_RADIUS_M), (0.65, 0.25, 0.20))
START_BOX_M = ((0.30, -0.30, 0.10), (0.60, 0.30, 0.50))
MIN_SEPARATION_M = 0.10
_LYING_FRACTION = 0.35
_MAX_TILT_RAD, _MAX_YAW_RAD = np.deg2rad(20.0), np.deg2rad(40.0)
_NEAR_FRACTION, _NEAR_M, _NEAR_TILT_RAD = 0.15, (0.02, 0.08), np.deg2rad(10.0)
_START_CLEARANCE_M, _WRONG_BALL_CLEARANCE_M = 0.12, 0.08
_TRIES = 500


@dataclass(frozen=True)
class ReachTarget:
    """success_m: how near the TCP must be to the named ball's centre, for dwell_s of simulation time.

    near_fraction of the TRAIN scenes start 2 to 8 cm from the goal, so that the last centimetres are
    seen often; TEST scenes never do.
    """

    name: str = "reach_target"
    success_m: float = 0.03
    dwell_s: float = 0.5
    near_fraction: float = _NEAR_FRACTION
    exploration_m: float = 0.0

    def sample(self, rng: np.random.Generator, split: Split, kinematics: ArmKinematics) -> Scene:
        """A scene whose balls lie in the split's own 5 cm cells of the table, and an arm that can do it.

        TRAIN instructions are paraphrased at random; TEST ones are canonical.
        """
        for _ in range(_TRIES):
            colours = [str(c) for c in rng.choice(list(HUES_DEG), BALLS, replace=False)]
            objects = tuple(SceneObject(ball_name(i), c, sample_shade(rng, split, c), _ball_position(rng, split))
                            for i, c in enumerate(colours))
            look = sample_look(rng, split)
            near = split is Split.TRAIN and rng.uniform() < self.near_fraction
            target = int(rng.integers(BALLS))
            q = _start(rng, objects, target, near, kinematics) if _separated(objects) else None
            openness = float(rng.integers(2))
            phrase = PARAPHRASES[int(rng.integers(len(PARAPHRASES)))] if split is Split.TRAIN else PARAPHRASES[0]
            if q is not None:
                return Scene(self.name, split, phrase.format(colours[target]), PARAPHRASES[0].format(colours[target]),
                             objects, target, look, tuple(q), openness,
                             tuple(PARAPHRASES[0].format(c) for c in colours))
        raise SimError(f"no reachable {self.name} scene in {_TRIES} tries; the ball or start box is out of reach")

    def expert(self, scene: Scene) -> StraightLineExpert:
        return self.expert_of(scene.objects, scene.target)

    def expert_of(self, objects: tuple[SceneObject, ...], target: int) -> StraightLineExpert:
        """The TCP at the named ball's centre, hand straight down."""
        return StraightLineExpert(make(HAND_DOWN, np.array(objects[target].position_m, float)))

    def phrases(self, objects: tuple[SceneObject, ...], target: int) -> tuple[str, ...]:
        return tuple(p.format(objects[target].colour) for p in PARAPHRASES)

    def askable(self, objects: tuple[SceneObject, ...]) -> int:
        return len(objects)

    @property
    def props(self) -> tuple[Prop, ...]:
        return BALL_PROPS

    def judge(self, scene: Scene, timeout_s: float = 20.0) -> ReachJudge:
        return ReachJudge(scene, self.success_m, self.dwell_s, timeout_s)


class ReachJudge:
    """SUCCESS after dwell_s within success_m of the named ball; FAILURE as long at another, or at timeout_s.

    Times are simulation seconds, never decreasing; the first update starts the timeout. Once decided,
    the verdict stays.
    """

    def __init__(self, scene: Scene, success_m: float, dwell_s: float, timeout_s: float):
        self._scene, self._success_m, self._dwell_s, self._timeout_s = scene, success_m, dwell_s, timeout_s
        self._centres = np.array([o.position_m for o in scene.objects])
        self._since: list[float | None] = [None] * len(scene.objects)
        self._start_s: float | None = None
        self._verdict = Verdict(Outcome.PENDING)

    def update(self, time_s: float, cell: Situation) -> Verdict:
        if self._verdict.outcome is not Outcome.PENDING:
            return self._verdict
        self._start_s = time_s if self._start_s is None else self._start_s
        distances = np.linalg.norm(self._centres - cell.base_T_tcp[:3, 3], axis=1)
        for i, distance in enumerate(distances):
            since = self._since[i]
            if distance > self._success_m:
                self._since[i] = None
            elif since is None:
                self._since[i] = time_s
            elif time_s - since >= self._dwell_s - 1e-9:
                self._verdict = self._decide(i, distance)
                return self._verdict
        if time_s - self._start_s >= self._timeout_s:
            self._verdict = Verdict(Outcome.FAILURE, f"timeout after {self._timeout_s:g} s, "
                                                     f"{distances[self._scene.target] * 1e3:.0f} mm from the ball")
        return self._verdict

    def _decide(self, index: int, distance: float) -> Verdict:
        ball = f"{self._scene.objects[index].colour} ball"
        if index == self._scene.target:
            return Verdict(Outcome.SUCCESS, f"{distance * 1e3:.0f} mm from the {ball}")
        return Verdict(Outcome.FAILURE, f"wrong ball: dwelt at the {ball}")


def _ball_position(rng: np.random.Generator, split: Split) -> tuple[float, float, float]:
    low, high = BALL_BOX_M
    while True:
        x, y, z = rng.uniform(low, high)
        if rng.uniform() < _LYING_FRACTION:
            z = BALL_RADIUS_M
        if layout_split((x, y, z)) is split:
            return float(x), float(y), float(z)


def _separated(objects: tuple[SceneObject, ...]) -> bool:
    p = np.array([o.position_m for o in objects])
    gaps = np.linalg.norm(p[:, None] - p[None], axis=-1)[np.triu_indices(len(p), 1)]
    return bool(gaps.min() >= MIN_SEPARATION_M)


def _start(rng: np.random.Generator, objects: tuple[SceneObject, ...], target: int, near: bool,
           kinematics: ArmKinematics) -> np.ndarray | None:
    """Start joints, or None where this draw is too near a ball or out of the arm's reach."""
    centres = np.array([o.position_m for o in objects])
    if near:
        direction = rng.normal(size=3)
        p = centres[target] + direction / np.linalg.norm(direction) * rng.uniform(*_NEAR_M)
        if p[2] < BALL_RADIUS_M:
            return None
    else:
        p = rng.uniform(*START_BOX_M)
        gaps = np.linalg.norm(centres - p, axis=1)
        if gaps[target] < _START_CLEARANCE_M or gaps.min() < _WRONG_BALL_CLEARANCE_M:
            return None
    q_goal = kinematics.ik(make(HAND_DOWN, centres[target]), NOMINAL_Q)
    if q_goal is None:
        return None
    return kinematics.ik(make(random_orientation(rng, _NEAR_TILT_RAD if near else _MAX_TILT_RAD), p), NOMINAL_Q)

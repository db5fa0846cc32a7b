"""Success rates of a policy over many episodes, with what they must be compared with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Protocol

import numpy as np

from ..errors import SimError
from ..geometry import PinholeCamera
from ..metrics.intervals import wilson
from .cameras import view_names
from .cell import SimCell, SimCellConfig
from .episodes import episode_rng, sample_seen_scene, sample_setting
from .rollout import ChunkPolicy, Observer, ReplayPolicy, RolloutConfig, RolloutMode, RolloutResult, rollout
from .scene import Scene
from .split import Split
from .tasks import Task, make_task


class Column(Enum):
    """CLOSED_LOOP and OPEN_LOOP: the scene's own instruction. WRONG_INSTRUCTION: closed loop, told another
    object of the same scene, success is reaching that one (a policy that ignores the instruction fails
    it). REPLAY: the expert's chunks through encoder and decoder, the ceiling."""

    CLOSED_LOOP = "closed_loop"
    OPEN_LOOP = "open_loop"
    WRONG_INSTRUCTION = "wrong_instruction"
    REPLAY = "replay"


class PolicyConfig(Protocol):
    """The part of a model's config that a trial needs; ModelConfig is one."""

    @property
    def views(self) -> int: ...

    @property
    def chunk_size(self) -> int: ...

    @property
    def dt_s(self) -> float: ...

    @property
    def action_size(self) -> tuple[int, int]: ...


@dataclass(frozen=True)
class EvalConfig:
    """episodes are numbered from 0; each depends on (seed, number, split) and the cameras alone. cameras: of all
    episodes, by view; None draws others for each episode, from camera_split, or where that is None from split."""

    task: str = "reach_target"
    episodes: int = 50
    seed: int = 0
    split: Split = Split.TEST
    image_size: tuple[int, int] = (320, 240)
    rollout: RolloutConfig = field(default_factory=RolloutConfig)
    columns: tuple[Column, ...] = tuple(Column)
    cameras: Mapping[str, PinholeCamera] | None = None
    camera_split: Split | None = None

    def __post_init__(self) -> None:
        if self.cameras is not None and self.camera_split is not None:
            raise SimError("cameras are given, and a split to draw them from; give one of the two")
        if self.episodes < 1 or not self.columns:
            raise SimError(f"episodes is {self.episodes}, columns {self.columns}; give at least one of each")
        sizes = {c.image_size for c in (self.cameras or {}).values()}
        if len(sizes) > 1:
            raise SimError(f"all views are rendered at one size; the cameras have {sorted(sizes)}")
        if sizes:
            object.__setattr__(self, "image_size", sizes.pop())


@dataclass(frozen=True)
class EpisodeOutcome:
    episode: int
    column: Column
    instruction: str
    result: RolloutResult


@dataclass(frozen=True)
class ColumnReport:
    """successes of n with the 95 % Wilson interval; medians over the episodes (m; s over successes, NaN if none)."""

    column: Column
    successes: int
    n: int
    interval: tuple[float, float]
    median_final_distance_m: float
    median_success_time_s: float
    reasons: dict[str, int]


def setting(config: EvalConfig, task: Task, cell: SimCell, episode: int) -> tuple[Scene, dict[str, PinholeCamera]]:
    """Scene, canonically instructed, and cameras of one numbered episode."""
    rng = episode_rng(config.seed, episode, config.split)
    if config.cameras is not None:
        fixed = dict(config.cameras)
        scene = sample_seen_scene(task, rng, config.split, cell.kinematics, fixed)
        return scene.instructed(scene.target), fixed
    scene, cameras = sample_setting(task, rng, config.split, cell.kinematics, len(cell.config.views), config.image_size,
                                    config.camera_split)
    return scene.instructed(scene.target), cameras


def misinstructed(scene: Scene, episode: int) -> Scene:
    """The same scene asked for another of its objects, alternating with the episode number."""
    others = [i for i in range(len(scene.instructions)) if i != scene.target]
    return scene.instructed(others[episode % len(others)])


Watchers = Callable[[int, Column, Scene], Sequence[Observer]]


def evaluate(policy: ChunkPolicy, model: PolicyConfig, config: EvalConfig = EvalConfig(),
             on_episode: Callable[[EpisodeOutcome], None] = lambda outcome: None,
             watchers: Watchers = lambda episode, column, scene: ()) -> list[ColumnReport]:
    """Roll every column out over the same episodes; `on_episode` is called after each.

    watchers: gives the observers of one episode, for videos.
    """
    task = make_task(config.task)
    views = view_names(model.views) if config.cameras is None else tuple(config.cameras)
    if len(views) != model.views:
        raise SimError(f"the cell has views {', '.join(views)}; the model takes {model.views}")
    cell = SimCell(SimCellConfig(views, config.image_size, task.props))
    outcomes: list[EpisodeOutcome] = []
    for episode in range(config.episodes):
        scene, cameras = setting(config, task, cell, episode)
        cell.place_cameras(cameras)
        for column in config.columns:
            asked = misinstructed(scene, episode) if column is Column.WRONG_INSTRUCTION else scene
            actor = _actor(column, policy, model, task, asked, cell)
            result = rollout(actor, cell, task, asked, _rollout_config(config, column, episode),
                             watchers(episode, column, asked))
            outcomes.append(EpisodeOutcome(episode, column, asked.instruction, result))
            on_episode(outcomes[-1])
    cell.close()
    return [_summary(column, [o.result for o in outcomes if o.column is column]) for column in config.columns]


def _actor(column: Column, policy: ChunkPolicy, model: PolicyConfig, task: Task, scene: Scene,
           cell: SimCell) -> ChunkPolicy:
    if column is not Column.REPLAY:
        return policy
    return ReplayPolicy(task.expert(scene), model.action_size, model.chunk_size, model.dt_s, look=cell.thing_states)


def _rollout_config(config: EvalConfig, column: Column, episode: int) -> RolloutConfig:
    mode = RolloutMode.OPEN_LOOP if column is Column.OPEN_LOOP else RolloutMode.CLOSED_LOOP
    committed = 0 if column is Column.REPLAY else config.rollout.committed_steps
    return replace(config.rollout, mode=mode, seed=config.rollout.seed + 1000 * episode, committed_steps=committed)


def _summary(column: Column, results: list[RolloutResult]) -> ColumnReport:
    good = [r for r in results if r.success]
    reasons: dict[str, int] = {}
    for result in results:
        if not result.success:
            kind = result.verdict.reason.split(":")[0].split(" after")[0]
            reasons[kind] = reasons.get(kind, 0) + 1
    return ColumnReport(column, len(good), len(results), wilson(len(good), len(results)),
                        float(np.median([r.final_distance_m for r in results])),
                        float(np.median([r.time_s for r in good])) if good else float("nan"), reasons)

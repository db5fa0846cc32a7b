"""One episode of a policy in the simulated cell, in lockstep: simulation time stands still while the policy thinks.

What the model can do, without the latency, transport and controller of the real stack, which the node
graph's own demo measures.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

import numpy as np

from ..codec import ActionEncoding, decode, encode
from ..control import ChunkRules, usable
from ..errors import SimError
from ..model.frames import model_camera
from ..types import ActionChunk, SyncedFrames
from .cell import SimCell
from .expert import Expert
from .motion import TcpMover
from .scene import Scene
from .tasks import Judge, Outcome, Task, Verdict


class ChunkPolicy(Protocol):
    """What is rolled out; ActionImagePolicy is one. Where the rollout commits, it is asked with `committed` too."""

    def infer(self, frames: SyncedFrames, base_T_tcp: np.ndarray, openness: float, instruction: str, *,
              seed: int = 0) -> ActionChunk: ...


class RolloutMode(Enum):
    """CLOSED_LOOP looks again after n_action_steps; OPEN_LOOP executes one whole chunk and looks once."""

    CLOSED_LOOP = "closed_loop"
    OPEN_LOOP = "open_loop"


@dataclass(frozen=True)
class RolloutConfig:
    """n_action_steps: steps of a chunk executed before looking again. committed_steps: further steps of it that the
    next chunk is told to continue, as when it is computed while they are executed. settle_s: time that an open-loop
    trial is given after its chunk. max_gap_steps: steps in a row that are not credible and still bridged, as in the
    controller. seed: of the policy's noise."""

    mode: RolloutMode = RolloutMode.CLOSED_LOOP
    n_action_steps: int = 2
    committed_steps: int = 0
    timeout_s: float = 20.0
    settle_s: float = 1.5
    max_gap_steps: int = ChunkRules.max_gap_steps
    seed: int = 0

    def __post_init__(self) -> None:
        if self.n_action_steps < 1 or self.committed_steps < 0 or self.timeout_s <= 0 or self.settle_s < 0:
            raise SimError(f"n_action_steps {self.n_action_steps} must be at least 1, committed_steps "
                           f"{self.committed_steps} not negative, timeout_s {self.timeout_s} "
                           f"positive, settle_s {self.settle_s} not negative")


class Observer(Protocol):
    """Sees the loop; the loop does not know what it does with that."""

    def on_chunk(self, cell: SimCell, chunk: ActionChunk) -> None: ...

    def on_tick(self, cell: SimCell) -> None: ...


@dataclass(frozen=True)
class RolloutResult:
    """verdict: the cell's own. time_s: simulation time used. chunks: how often the policy was asked.
    skipped_steps: targets that were not credible. final_distance_m: TCP to the goal's position."""

    verdict: Verdict
    time_s: float
    chunks: int
    skipped_steps: int
    unreachable_ticks: int
    final_distance_m: float

    @property
    def success(self) -> bool:
        return self.verdict.outcome is Outcome.SUCCESS


@dataclass
class _Watch:
    """Asks the judge at every tick and tells the observers."""

    judge: Judge
    observers: Sequence[Observer]
    verdict: Verdict = field(default_factory=lambda: Verdict(Outcome.PENDING))

    def tick(self, cell: SimCell) -> bool:
        for observer in self.observers:
            observer.on_tick(cell)
        self.verdict = self.judge.update(cell.time_s, cell)
        return self.verdict.outcome is Outcome.PENDING


def observe(cell: SimCell) -> SyncedFrames:
    """All views now, stamped with simulation time."""
    cameras = cell.cameras
    return SyncedFrames(tuple(cameras), tuple(cell.render(view) for view in cameras), tuple(cameras.values()),
                        (round(cell.time_s * 1e9),) * len(cameras))


def rollout(policy: ChunkPolicy, cell: SimCell, task: Task, scene: Scene, config: RolloutConfig = RolloutConfig(),
            observers: Sequence[Observer] = ()) -> RolloutResult:
    """Reset the cell to the scene, let the policy act until the judge decides, and report.

    The cameras must be placed. The policy gets images, calibration, TCP pose, gripper opening and the
    scene's instruction, nothing else.
    """
    cell.reset(scene)
    mover, watch = TcpMover(cell), _Watch(task.judge(scene, config.timeout_s), observers)
    chunks = skipped = 0
    running = watch.tick(cell)
    told: dict[str, ActionChunk] = {}
    while running:
        chunk = policy.infer(observe(cell), cell.base_T_tcp, cell.openness, scene.instruction,
                             seed=config.seed + chunks, **told)
        chunks += 1
        for observer in observers:
            observer.on_chunk(cell, chunk)
        steps = len(chunk) - 1 if config.mode is RolloutMode.OPEN_LOOP else min(config.n_action_steps, len(chunk) - 1)
        running, missed = _execute(chunk, steps, config.max_gap_steps, mover, watch)
        skipped += missed
        told = _committed(chunk, steps, config)
        if config.mode is RolloutMode.OPEN_LOOP:
            if running:
                mover.hold(config.settle_s, watch.tick)
            break
    verdict = watch.verdict
    if verdict.outcome is Outcome.PENDING:
        verdict = Verdict(Outcome.FAILURE, "the single chunk did not end at the goal")
    goal = task.expert(scene).goal_base_T_tcp[:3, 3]
    return RolloutResult(verdict, cell.time_s, chunks, skipped, mover.unreachable_ticks,
                         float(np.linalg.norm(cell.base_T_tcp[:3, 3] - goal)))


def _committed(chunk: ActionChunk, executed: int, config: RolloutConfig) -> dict[str, ActionChunk]:
    """What the next chunk is told to continue: the steps after those executed, where they can be used."""
    part = usable(chunk, config.max_gap_steps)
    ahead = slice(executed + 1, executed + 1 + config.committed_steps)
    if not len(part.openness[ahead]):
        return {}
    return {"committed": ActionChunk.from_poses(part.base_T_tcps[ahead], part.openness[ahead], None, chunk.dt_s)}


def _execute(chunk: ActionChunk, steps: int, max_gap_steps: int, mover: TcpMover, watch: _Watch) -> tuple[bool, int]:
    """Execute targets 1 to `steps` of what can be used of the chunk, as the controller would; time of the rest
    passes at rest.

    Returns whether the episode goes on, and how many of these targets were not credible.
    """
    if chunk.dt_s is None:
        raise SimError("the policy's chunk has no dt_s; stamp it with the model's step")
    part = usable(chunk, max_gap_steps)
    for k in range(1, min(steps + 1, len(part))):
        if not mover.move(part.base_T_tcps[k], float(part.openness[k] >= 0.5), chunk.dt_s, watch.tick):
            return False, int((~chunk.credible[1 : k + 1]).sum())
    unused = steps - max(len(part) - 1, 0)
    running = mover.hold(unused * chunk.dt_s, watch.tick) if unused > 0 else True
    return running, int((~chunk.credible[1 : steps + 1]).sum())


@dataclass(frozen=True)
class ReplayPolicy:
    """The ceiling: the expert's own chunk, drawn as action images and decoded again.

    It knows the goal and sees the objects' states through `look`, so it is no policy under test; what it cannot do, no
    model behind this encoding, decoder and executor can.
    """

    expert: Expert
    action_size: tuple[int, int] = (24, 24)
    chunk_size: int = 9
    dt_s: float = 0.4
    encoding: ActionEncoding = field(default_factory=ActionEncoding)
    look: Callable[[], np.ndarray] | None = None

    def infer(self, frames: SyncedFrames, base_T_tcp: np.ndarray, openness: float, instruction: str, *,
              seed: int = 0) -> ActionChunk:
        expert = self.expert if self.look is None else self.expert.seeing(self.look())
        chunk = expert.chunk(base_T_tcp, openness, self.chunk_size, self.dt_s)
        cameras = [model_camera(camera, self.action_size) for camera in frames.cameras]
        images = encode(chunk.base_T_tcps, chunk.openness, cameras, self.encoding)
        return decode(images, cameras, self.encoding).stamped(frames.stamp_ns, self.dt_s)


@dataclass(frozen=True)
class ExpertPolicy:
    """The expert itself, without drawing or decoding: what executor, physics and judge allow at best."""

    expert: Expert
    chunk_size: int = 9
    dt_s: float = 0.4
    look: Callable[[], np.ndarray] | None = None

    def infer(self, frames: SyncedFrames, base_T_tcp: np.ndarray, openness: float, instruction: str, *,
              seed: int = 0) -> ActionChunk:
        expert = self.expert if self.look is None else self.expert.seeing(self.look())
        return expert.chunk(base_T_tcp, openness, self.chunk_size, self.dt_s).stamped(frames.stamp_ns, self.dt_s)

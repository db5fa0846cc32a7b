"""What the policy is given at many moments of an episode: from recorded shards, or rendered by the simulated cell."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..types import SyncedFrames


@dataclass(frozen=True)
class Observation:
    """The arguments of one `ActionImagePolicy.infer`."""

    frames: SyncedFrames
    base_T_tcp: np.ndarray
    openness: float
    instruction: str


def recorded(directory: Path, count: int, seed: int) -> list[Observation]:
    """Random moments of the episodes of `directory`."""
    from ..training.data import load_episodes

    rng, episodes = np.random.default_rng(seed), load_episodes(directory)
    out = []
    for _ in range(count):
        episode = episodes[int(rng.integers(len(episodes)))]
        at = int(rng.integers(len(episode.images)))
        views = tuple(f"view_{v}" for v in range(len(episode.cameras)))
        frames = SyncedFrames(views, tuple(episode.images[at]), episode.cameras, (0,) * len(views))
        out.append(Observation(frames, episode.base_T_tcps[at], float(episode.openness[at]), episode.instructions[0]))
    return out


def rendered(task: str, views: int, count: int, seed: int) -> list[Observation]:
    """One moment each of `count` test-split episodes, at 320x240, between its start and 18 cm on. Needs MuJoCo."""
    from ..sim.cameras import view_names
    from ..sim.cell import SimCell, SimCellConfig
    from ..sim.episodes import episode_rng, sample_setting
    from ..sim.evaluation import EvalConfig
    from ..sim.rollout import observe
    from ..sim.split import Split
    from ..sim.tasks import make_task

    size, chosen = EvalConfig().image_size, make_task(task)
    cell = SimCell(SimCellConfig(view_names(views), size))
    out = []
    for number in range(count):
        rng = episode_rng(seed, number, Split.TEST)
        scene, cameras = sample_setting(chosen, rng, Split.TEST, cell.kinematics, views, size)
        cell.place_cameras(cameras)
        cell.reset(scene)
        way = chosen.expert(scene).chunk(cell.base_T_tcp, cell.openness, 5, 0.4)
        q = cell.kinematics.ik(way.base_T_tcps[number % 4], cell.q)
        if q is not None:
            cell.teleport(q, cell.gripper_width_m)
        out.append(Observation(observe(cell), cell.base_T_tcp, cell.openness, scene.instruction))
    cell.close()
    return out

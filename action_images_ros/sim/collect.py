"""Collecting expert episodes as shards of arrays: one safetensors file for 200 episodes.

A shard holds, over all frames of all its episodes (N): `images` uint8 (N, V, 96, 96, 3), `base_T_tcp`
float32 (N, 4, 4), `openness` float32 (N,), `q` float32 (N, 7), `frame_index` and `episode_index` int32
(N,); for each episode (E): `K` float32 (E, V, 3, 3) at 96x96, `base_T_camera` float32 (E, V, 4, 4),
`goal_base_T_tcp` float32 (E, 4, 4); and in the file's metadata the key `episodes`, JSON, a list of E
objects {episode, task, split, seed, dt_s, instruction, canonical_instruction, target, objects}.
A task that moves things adds over the frames `things` float32 (N, O, 8), the objects' states as of
`SimCell.thing_states` (NaN beyond the episode's own objects), and `commanded` float32 (N,), the opening commanded on
the way to that frame (`openness` is what the fingers measure). `meta.json` describes the set.
An episode depends on (seed, episode number, split) alone: not on the shard, the worker or the order.
"""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path

import cv2
import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file

from ..errors import DatasetError, SimError
from ..interrupts import deaf_children
from .cameras import view_names
from .cell import MAX_GRIPPER_WIDTH_M, SimCell, SimCellConfig
from .episodes import episode_rng, sample_setting
from .motion import TcpMover
from .scene import Scene
from .split import Split
from .tasks import Task, make_task

DATASET_VERSION = 1
_PER_EPISODE = ("K", "base_T_camera", "goal_base_T_tcp")
_RENDER_SCALE = 2
_MAX_FRAMES = 60
_SCENE_TRIES = 20
_EXPLORED_SHARE = 0.3
_LOWEST_TCP_M = 0.012
_SERVO_LAG_M = 0.02
_Frame = dict[str, np.ndarray | np.float32]


class CollectMotion(Enum):
    """KINEMATIC sets the joints by IK at every action step; PHYSICS drives the servos through the motion."""

    KINEMATIC = "kinematic"
    PHYSICS = "physics"


@dataclass(frozen=True)
class CollectConfig:
    """What to collect. image_px: side of the stored square images (rendered at twice that, area-averaged).

    dwell_frames: frames at the goal at the end of an episode. motion: None is KINEMATIC where the task touches
    nothing, else PHYSICS, which is then the only legal one.
    """

    task: str
    episodes: int
    seed: int
    split: Split
    n_views: int = 2
    image_px: int = 96
    dt_s: float = 0.4
    dwell_frames: int = 2
    shard_episodes: int = 200
    motion: CollectMotion | None = None

    def __post_init__(self) -> None:
        if min(self.episodes, self.image_px, self.dwell_frames, self.shard_episodes) < 1 or self.dt_s <= 0:
            raise DatasetError(f"episodes {self.episodes}, image_px {self.image_px}, dwell_frames {self.dwell_frames}, "
                               f"shard_episodes {self.shard_episodes} must be at least 1 and dt_s {self.dt_s} positive")
        view_names(self.n_views)
        touches = make_task(self.task).exploration_m > 0
        if touches and self.motion is CollectMotion.KINEMATIC:
            raise DatasetError(f"motion is kinematic, but {self.task} moves things by contact; legal: physics")
        if self.motion is None:
            object.__setattr__(self, "motion", CollectMotion.PHYSICS if touches else CollectMotion.KINEMATIC)

    @property
    def shards(self) -> int:
        return -(-self.episodes // self.shard_episodes)

    def shard_range(self, shard: int) -> range:
        return range(shard * self.shard_episodes, min((shard + 1) * self.shard_episodes, self.episodes))


@dataclass(frozen=True)
class Progress:
    """What collect_episodes reports after every shard."""

    episodes_done: int
    episodes_total: int
    frames_written: int


class EpisodeCollector:
    """Renders expert episodes one after another in one cell. One thread only (OpenGL)."""

    def __init__(self, config: CollectConfig):
        self._config = config
        side = config.image_px * _RENDER_SCALE
        self._task: Task = make_task(config.task)
        self._cell = SimCell(SimCellConfig(view_names(config.n_views), (side, side), self._task.props))

    def episode(self, index: int) -> tuple[dict[str, np.ndarray], dict]:
        """The arrays of one episode (frames first) and its JSON description."""
        config, cell = self._config, self._cell
        rng = episode_rng(config.seed, index, config.split)
        for _ in range(_SCENE_TRIES):
            scene, cameras = sample_setting(self._task, rng, config.split, cell.kinematics, config.n_views,
                                            cell.config.image_size)
            cell.place_cameras(cameras)
            cell.reset(scene)
            try:
                if self._task.exploration_m > 0:
                    frames = [self._frame() | seen for seen in self._contact_motion(scene, rng)]
                else:
                    frames = [self._frame() for _ in self._motion(scene)]
                break
            except _Unusable:
                continue
        else:
            raise SimError(f"episode {index}: in {_SCENE_TRIES} scenes the expert's way left the arm's reach or did "
                           "not end")
        stored = [camera.resized((config.image_px, config.image_px)) for camera in cell.cameras.values()]
        arrays = {key: np.stack([frame[key] for frame in frames]) for key in frames[0]}
        arrays |= {"K": np.stack([c.K for c in stored]).astype(np.float32),
                   "base_T_camera": np.stack([c.base_T_camera for c in stored]).astype(np.float32),
                   "goal_base_T_tcp": self._task.expert(scene).goal_base_T_tcp.astype(np.float32)}
        return arrays, _describe(index, scene, config)

    def _motion(self, scene: Scene) -> Iterator[None]:
        """Yields at every frame to record: the start, each action step, the dwell at the goal."""
        cell, expert = self._cell, self._task.expert(scene)
        mover, pose, openness, at_goal = TcpMover(cell), cell.base_T_tcp, cell.openness, 0
        for _ in range(_MAX_FRAMES):
            yield
            chunk = expert.chunk(pose, openness, 2, self._config.dt_s)
            at_goal += expert.arrived(pose, openness)
            if at_goal >= self._config.dwell_frames:
                return
            if self._config.motion is CollectMotion.PHYSICS:
                mover.move(chunk.base_T_tcps[1], float(chunk.openness[1]), self._config.dt_s)
            else:
                self._teleport(chunk.base_T_tcps[1], float(chunk.openness[1]))
            pose, openness = chunk.base_T_tcps[1], float(chunk.openness[1])
        raise SimError(f"the expert did not finish {scene.instruction!r} in {_MAX_FRAMES} action steps")

    def _contact_motion(self, scene: Scene, rng: np.random.Generator) -> Iterator[_Frame]:
        """Like _motion where things are touched: always physics, always the next step from where everything really is,
        and in TRAIN some steps end a little beside the expert's target, so that mending is seen."""
        cell, mover, at_goal = self._cell, TcpMover(self._cell), 0
        command = scene.start_openness
        for _ in range(_MAX_FRAMES):
            things = cell.thing_states()
            padded = np.full((len(self._task.props), things.shape[1]), np.nan, np.float32)
            padded[: len(things)] = things
            yield {"things": padded, "commanded": np.float32(command)}
            expert = self._task.expert(scene).seeing(things)
            at_goal = at_goal + 1 if expert.arrived(cell.base_T_tcp, cell.openness) else 0
            if at_goal >= self._config.dwell_frames:
                return
            chunk = expert.chunk(self._pose_to_go_on_from(mover), cell.openness, 2, self._config.dt_s)
            target, command = chunk.base_T_tcps[1].copy(), float(chunk.openness[1])
            if scene.split is Split.TRAIN and rng.uniform() < _EXPLORED_SHARE:
                target[:3, 3] += np.clip(rng.normal(size=3), -2, 2) * self._task.exploration_m
                target[2, 3] = max(target[2, 3], _LOWEST_TCP_M)
            mover.move(target, command, self._config.dt_s)
            if mover.unreachable_ticks:
                raise _Unusable
        raise _Unusable

    def _pose_to_go_on_from(self, mover: TcpMover) -> np.ndarray:
        """Where the arm is about to be: what was commanded, unless something keeps the arm from it."""
        behind_m = np.linalg.norm(mover.commanded[:3, 3] - self._cell.base_T_tcp[:3, 3])
        return mover.commanded if behind_m < _SERVO_LAG_M else self._cell.base_T_tcp

    def _teleport(self, base_T_tcp: np.ndarray, openness: float) -> None:
        q = self._cell.kinematics.ik(base_T_tcp, self._cell.q)
        if q is None:
            raise _Unusable
        self._cell.teleport(q, openness * MAX_GRIPPER_WIDTH_M)

    def _frame(self) -> _Frame:
        side = (self._config.image_px,) * 2
        images = [cv2.resize(self._cell.render(v), side, interpolation=cv2.INTER_AREA) for v in self._cell.cameras]
        return {"images": np.stack(images), "base_T_tcp": self._cell.base_T_tcp.astype(np.float32),
                "openness": np.float32(self._cell.openness), "q": self._cell.q.astype(np.float32)}


class _Unusable(Exception):
    """The arm cannot reach a pose on the way, or the expert does not come to an end."""


def _describe(index: int, scene: Scene, config: CollectConfig) -> dict:
    return {"episode": index, "task": scene.task, "split": scene.split.value, "seed": config.seed, "dt_s": config.dt_s,
            "instruction": scene.instruction, "canonical_instruction": scene.canonical_instruction,
            "target": scene.target, "objects": [asdict(thing) for thing in scene.objects]}


def shard_path(directory: Path, shard: int) -> Path:
    return Path(directory) / f"shard_{shard:05d}.safetensors"


def write_shard(directory: Path, shard: int, collector: EpisodeCollector, config: CollectConfig) -> int:
    """Collect and write one shard atomically; returns its number of frames."""
    parts: dict[str, list] = {}
    described, frame_index, episode_index = [], [], []
    for episode in config.shard_range(shard):
        arrays, description = collector.episode(episode)
        for key, array in arrays.items():
            parts.setdefault(key, []).append(array)
        described.append(description)
        frame_index.append(np.arange(len(arrays["q"]), dtype=np.int32))
        episode_index.append(np.full(len(arrays["q"]), episode, np.int32))
    tensors = {key: (np.stack if key in _PER_EPISODE else np.concatenate)(of) for key, of in parts.items()}
    tensors |= {"frame_index": np.concatenate(frame_index), "episode_index": np.concatenate(episode_index)}
    metadata = {"episodes": json.dumps(described)}  # one key only: the file format orders several at random
    final = shard_path(directory, shard)
    partial = final.with_suffix(f".partial{os.getpid()}")
    save_file(tensors, partial, metadata=metadata)
    os.replace(partial, final)
    return len(tensors["openness"])


def read_shard(path: Path) -> tuple[dict[str, np.ndarray], list[dict]]:
    """The arrays and the episode descriptions of one shard. Raises DatasetError where it is broken."""
    try:
        with safe_open(path, "numpy") as file:
            arrays = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (safe_open is no dict)
            return arrays, json.loads((file.metadata() or {})["episodes"])
    except Exception as error:
        raise DatasetError(f"{path} is no episode shard ({error}); delete it and collect again") from error


def collect_episodes(directory: Path, config: CollectConfig, workers: int = 1, command: str = "",
                     on_progress: Callable[[Progress], None] = lambda progress: None) -> int:
    """Collect config.episodes into `directory`, skipping shards that are already there; returns the frames.

    workers > 1 collects shards in that many processes (spawned, each with its own OpenGL context); the
    files are the same bytes whatever their number. on_progress is called after every shard.
    Raises DatasetError where the directory holds a set collected with another configuration.
    """
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    _claim(directory, config)
    done = [s for s in range(config.shards) if shard_path(directory, s).exists()]
    frames = sum(len(_openness(shard_path(directory, s))) for s in done)
    episodes = sum(len(config.shard_range(s)) for s in done)
    todo = [s for s in range(config.shards) if s not in set(done)]
    for shard, n in _run(directory, config, todo, workers):
        frames, episodes = frames + n, episodes + len(config.shard_range(shard))
        on_progress(Progress(episodes, config.episodes, frames))
    _write_json(directory / "meta.json", _meta(config) | {"complete": True, "frames": frames, "command": command})
    return frames


_worker: tuple[Path, CollectConfig, EpisodeCollector] | None = None


def _start_worker(directory: Path, config: CollectConfig) -> None:
    global _worker
    _worker = (directory, config, EpisodeCollector(config))


def _work(shard: int) -> tuple[int, int]:
    assert _worker is not None, "the pool starts its processes with _start_worker"
    directory, config, collector = _worker
    return shard, write_shard(directory, shard, collector, config)


def _run(directory: Path, config: CollectConfig, shards: list[int], workers: int) -> Iterator[tuple[int, int]]:
    if workers < 1:
        raise DatasetError(f"workers is {workers}; legal: 1 or more")
    if not shards:
        return
    if workers == 1 or len(shards) == 1:
        collector = EpisodeCollector(config)
        for shard in shards:
            yield shard, write_shard(directory, shard, collector, config)
        return
    context = multiprocessing.get_context("spawn")
    with deaf_children():
        pool = context.Pool(min(workers, len(shards)), _start_worker, (directory, config))
    with pool:
        yield from pool.imap_unordered(_work, shards)
        pool.close()
        pool.join()


def _openness(path: Path) -> np.ndarray:
    with safe_open(path, "numpy") as file:
        return file.get_tensor("openness")


def _meta(config: CollectConfig) -> dict:
    facts = {key: value.value if isinstance(value, Enum) else value for key, value in asdict(config).items()}
    return {"version": DATASET_VERSION, **facts, "views": list(view_names(config.n_views)), "shards": config.shards}


def _claim(directory: Path, config: CollectConfig) -> None:
    """Mark the directory as this set's, or refuse where it is another's."""
    path = directory / "meta.json"
    want = _meta(config)
    if path.exists():
        have = json.loads(path.read_text())
        other = [key for key, value in want.items() if have.get(key) != value]
        if other:
            raise DatasetError(f"{directory} holds a set with other " + ", ".join(
                f"{key} ({have.get(key)!r}, asked {want[key]!r})" for key in other) + "; choose another --out")
    elif any(directory.glob("shard_*.safetensors")):
        raise DatasetError(f"{directory} holds shards but no meta.json; choose another --out")
    else:
        _write_json(path, want | {"complete": False})


def _write_json(path: Path, content: dict) -> None:
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(content, indent=1) + "\n")
    os.replace(partial, path)

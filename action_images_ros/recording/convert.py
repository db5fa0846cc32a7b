"""Bags, and data sets of others, -> one LeRobot data set: in several processes, resumable, what is broken never half in
it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from pathlib import Path

import numpy as np

from ..errors import ActionImagesError, DatasetError
from . import action_vector
from .bag import Bag
from .bag_metadata import FILE_NAME
from .executors import Executor, Processes
from .lerobot_import import ImportMap, LeRobotSource
from .lerobot_layout import Staged, write_dataset
from .lerobot_read import is_dataset
from .recorded import SOURCES, ReadRules, read_recording
from .stage import DONE, EPISODE, StageRules, bag_key, stage
from .stage_import import episode_key, stage_episode

STAGING = ".episodes"
_PLAN = "plan.json"
_USUAL_RATES = (5, 10, 15, 20, 25, 30, 60)
MakeFk = Callable[[], Callable[[np.ndarray], np.ndarray]]


class Keep(str, Enum):
    """Which episodes get into the data set by their success."""

    ALL = "all"
    NOT_FAILED = "not_failed"
    SUCCESS = "success"


@dataclass(frozen=True)
class ConvertConfig:
    """fps 0: the rate of the slowest camera of the first bag. validation: share of bags held out, by the bag's name.
    map, calibrations: how data sets of others are read."""

    out: Path
    fps: float = 0.0
    video: str = "h264"
    validation: float = 0.1
    keep: Keep = Keep.ALL
    read: ReadRules = ReadRules()
    map: ImportMap | None = None
    calibrations: Path | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.validation < 1 or not 0 <= self.fps <= 1000:
            raise DatasetError(f"validation {self.validation} (0 to 1, 1 not included), fps {self.fps} (0 to 1000)")


@dataclass
class Converted:
    """skipped: bag -> why. episodes in the order of the data set; reused: bags that were already converted."""

    frames: int
    fps: float
    episodes: list[Staged]
    skipped: dict[str, str] = field(default_factory=dict)
    left_out: int = 0
    reused: int = 0
    splits: dict[str, str] = field(default_factory=dict)


def find_bags(paths: Sequence[Path]) -> list[Path]:
    """Bags and data sets among paths and, where a path is a directory of bags, in it; sorted, each once. Nothing else
    is followed."""
    found: list[Path] = []
    for path in map(Path, paths):
        single = _is_bag(path) or is_dataset(path)
        inside = [p for p in sorted(path.iterdir()) if _is_bag(p)] if path.is_dir() and not single else []
        found += inside or [path]
    return sorted({p.resolve(): p for p in found}.values())


def _is_bag(path: Path) -> bool:
    if path.is_file():
        return path.suffix in (".mcap", ".db3")
    return path.is_dir() and ((path / FILE_NAME).exists() or any(path.glob("*.mcap")) or any(path.glob("*.db3")))


@dataclass(frozen=True)
class _Job:
    """source: how it is named to the user; action(directory): makes the staged form, or raises."""

    source: Path
    key: str
    action: Callable[[Path], object]


def convert(bags: Sequence[Path], config: ConvertConfig, make_fk: MakeFk,
            on_progress: Callable[[Path, str, int, int], None] = lambda *_: None,
            execute: Executor = Processes(1)) -> Converted:  # fmt: skip
    """Convert what is not converted yet, then write the data set of everything.

    make_fk: joints (7,) -> base_T_tcp, made in each process. on_progress(bag, what became of it, done, of).
    Raises DatasetError where no bag gives an episode, or the directory holds another data set.
    """
    if not bags:
        raise DatasetError("no bag given; give bag directories, .mcap or .db3 files, or directories of them")
    sources = [_source(b, config) for b in bags if is_dataset(b)]
    bags = [b for b in bags if not is_dataset(b)]
    staging = config.out / STAGING
    staging.mkdir(parents=True, exist_ok=True)
    fps = config.fps or _plan_fps(staging) or (sources[0].fps if sources else _common_rate(bags, config.read))
    _claim(staging, config, fps)
    rules = StageRules(fps, config.video, 1, config.read)
    jobs = [_Job(b, bag_key(b), partial(_stage_bag, b, rules, make_fk)) for b in bags]
    jobs += [_Job(Path(f"{s.root}#{k}"), episode_key(s, k), partial(stage_episode, s, k, rules=rules))
             for s in sources for k in range(len(s))]  # fmt: skip
    todo = [j for j in jobs if not (staging / j.key / DONE).exists()]
    result = Converted(0, fps, [], reused=len(jobs) - len(todo))
    for count, (source, problem) in enumerate(execute(_work, [(j, staging / j.key) for j in todo]), 1):
        if problem:
            result.skipped[str(source)] = problem
        on_progress(source, problem or "converted", count, len(todo))
    _assemble(config, result, [j for j in jobs if str(j.source) not in result.skipped])
    return result


def _source(root: Path, config: ConvertConfig) -> LeRobotSource:
    if config.map is None:
        raise DatasetError(f"{root} is a LeRobot data set; say by --map what its columns mean (droid, or a file)")
    return LeRobotSource(root, config.map, config.calibrations)


def _stage_bag(bag: Path, rules: StageRules, make_fk: MakeFk, directory: Path) -> None:
    stage(bag, directory, rules, make_fk())


def _assemble(config: ConvertConfig, result: Converted, jobs: Sequence[_Job]) -> None:
    kept: dict[Path, list[Staged]] = {}
    for job in jobs:
        folders = [p.parent for p in sorted((config.out / STAGING / job.key).glob(f"*/{EPISODE}"))]
        for staged in (Staged(f, json.loads((f / EPISODE).read_text(encoding="utf-8"))) for f in folders):
            if _kept(staged.about["success"], config.keep):
                kept.setdefault(job.source, []).append(staged)
            else:
                result.left_out += 1
    held_out = _held_out(list(kept), config.validation)
    train_on = [e for source, episodes in kept.items() if source not in held_out for e in episodes]
    judge_on = [e for source, episodes in kept.items() if source in held_out for e in episodes]
    result.episodes = _of_one_shape([*train_on, *judge_on], result)
    if not result.episodes:
        why = "; ".join(f"{b}: {w}" for b, w in list(result.skipped.items())[:3])
        raise DatasetError(f"no episode out of {len(jobs) + len(result.skipped)} recordings. {why}")
    n, train = len(result.episodes), sum(e in train_on for e in result.episodes)
    result.splits = {"train": f"0:{train}"} | ({"val": f"{train}:{n}"} if train < n else {})
    result.frames = write_dataset(config.out, result.episodes, result.splits, result.fps, config.video,
                                  _contract(result, config))  # fmt: skip


def _of_one_shape(episodes: list[Staged], result: Converted) -> list[Staged]:
    """A data set has one set of views and sizes; bags of another cell are named and left out."""
    shape = None
    kept = []
    for e in episodes:
        sizes = {v: tuple(c["image_size"]) for v, c in e.about["calibration"].items()}
        mine = sizes, sorted(k for k in e.about["stats"] if "images" not in k)
        shape = shape or mine
        if mine == shape:
            kept.append(e)
        else:
            why = f"views and columns {mine} differ from the data set's {shape}; make another"
            result.skipped[e.about["bag"]] = why
    return kept


def _kept(success: str, keep: Keep) -> bool:
    return keep is Keep.ALL or success == "success" or (keep is Keep.NOT_FAILED and success == "unknown")


def _held_out(bags: Sequence[Path], share: float) -> set[Path]:
    """By each bag's name alone, so that the same bag is always in the same split; but of several at least one is held
    out, and at least one is not."""
    place = {bag: int(hashlib.sha256(bag.name.encode()).hexdigest()[:8], 16) / 2**32 for bag in bags}
    ordered = sorted(bags, key=lambda bag: place[bag])
    if share <= 0 or len(bags) < 2:
        return set()
    return {bag for bag in ordered if place[bag] < share and bag != ordered[-1]} | {ordered[0]}


def _contract(result: Converted, config: ConvertConfig) -> dict:
    """What a model trained on this has to agree with, and a reader has to know."""
    first = result.episodes[0].about
    return {
        "version": 1,
        "fps": result.fps,
        "video": config.video,
        "views": list(first["calibration"]),
        "base_frame": "fr3_link0",
        "tcp_frame": "fr3_hand_tcp",
        "action": action_vector.contract(),
        "control_sources": list(SOURCES),
        "splits": result.splits,
        "skipped": result.skipped,
    }  # fmt: skip


def _plan_fps(staging: Path) -> float:
    plan = staging / _PLAN
    return float(json.loads(plan.read_text())["fps"]) if plan.exists() else 0.0


def _claim(staging: Path, config: ConvertConfig, fps: float) -> None:
    """One directory, one way to convert."""
    cell = config.read.cell.to_yaml() if config.read.cell else ""
    want = {"fps": fps, "video": config.video, "instruction": config.read.instruction, "max_gap_s":
            config.read.max_gap_s, "min_s": config.read.min_s,
            "cell_sha256": hashlib.sha256(cell.encode()).hexdigest(),
            "map_sha256": hashlib.sha256(repr(config.map).encode()).hexdigest()}  # fmt: skip
    plan = staging / _PLAN
    if not plan.exists():
        plan.write_text(json.dumps(want))
        return
    have = json.loads(plan.read_text())
    other = [k for k, v in want.items() if have.get(k) != v]
    if other:
        said = ", ".join(f"{k} {have.get(k)!r}, now {want[k]!r}" for k in other)
        raise DatasetError(f"{config.out} was made with another {said}; choose another --out")


def _common_rate(bags: Sequence[Path], rules: ReadRules) -> float:
    """The usual rate nearest to that of the slowest camera of the first bag that can be read."""
    problems = []
    for path in bags:
        try:
            with Bag(path) as bag:
                slowest = min(read_recording(bag, rules).rates_hz.values())
        except ActionImagesError as error:
            problems.append(str(error))
            continue
        return float(min(_USUAL_RATES, key=lambda rate: abs(np.log(rate / max(slowest, 0.1)))))
    raise DatasetError(f"none of {len(bags)} bags can be read. {problems[0]}")


def _work(item: tuple[_Job, Path]) -> tuple[Path, str]:
    """The source and what is wrong with it, "" where it was converted."""
    job, directory = item
    try:
        job.action(directory)
    except ActionImagesError as error:
        return job.source, " ".join(str(error).split())
    except OSError as error:
        text = f"{job.source}: {error}; make room and run the same command again, it goes on there"
        raise DatasetError(text) from error
    return job.source, ""

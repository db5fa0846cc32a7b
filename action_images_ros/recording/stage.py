"""One bag -> its episodes in a directory of their own, complete or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..cell import Cell
from ..errors import DatasetError
from ..geometry import PinholeCamera
from . import action_vector, statistics
from .bag import Bag
from .recorded import SOURCES, Moments, ReadRules, Recording, openness, pictures, read_recording, tcp_poses
from .video import VideoWriter

_STATS_PICTURES = 20
COLUMNS = "columns.npz"
EPISODE = "episode.json"
DONE = "bag.json"


@dataclass(frozen=True)
class StageRules:
    """fps: of the data set. video: h264 or lossless. threads: of one encoder."""

    fps: float
    video: str = "h264"
    threads: int = 1
    read: ReadRules = ReadRules()


def bag_key(path: Path) -> str:
    """A name for the staged form of a bag: of its place and its content's outline, so that a bag that was repaired or
    replaced is converted again."""
    path = Path(path).resolve()
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    outline = [(f.name, f.stat().st_size, f.stat().st_mtime_ns) for f in files if f.is_file()]
    return hashlib.sha256(json.dumps([str(path), outline]).encode()).hexdigest()[:16]


def grid(times_ns: np.ndarray, fps: float) -> np.ndarray:
    """Index of the set nearest to every tick k / fps from the first set on; ticks at most half a period behind the
    last set."""
    ticks = np.arange(int((times_ns[-1] - times_ns[0]) * 1e-9 * fps + 0.5) + 1) * (1e9 / fps) + times_ns[0]
    after = np.clip(np.searchsorted(times_ns, ticks), 1, max(len(times_ns) - 1, 1))
    if len(times_ns) == 1:
        return np.zeros(len(ticks), int)
    nearer_before = ticks - times_ns[after - 1] <= times_ns[after] - ticks
    return np.where(nearer_before, after - 1, after)


def stage(bag_path: Path, directory: Path, rules: StageRules, fk: Callable[[np.ndarray], np.ndarray]) -> dict:
    """Convert a bag into `directory`, which appears only when it is complete. What DONE then holds.

    Raises DatasetError where the bag cannot be converted.
    """
    with whole(directory) as partial:
        with Bag(bag_path) as bag:
            recording = read_recording(bag, rules.read)
            picks = [grid(e.times_ns, rules.fps) for e in recording.episodes]
            columns = [_columns(e, pick, fk) for e, pick in zip(recording.episodes, picks)]
            seen = _videos(bag, recording, picks, partial, rules)
            done = {"bag": str(bag_path), "torn": bag.torn, "notes": list(recording.notes), "rates_hz":
                    recording.rates_hz, "episodes": len(picks)}  # fmt: skip
        for number, (episode, pick) in enumerate(zip(recording.episodes, picks)):
            folder = partial / f"{number:03d}"
            arrays: dict[str, Any] = columns[number]
            np.savez(folder / COLUMNS, **arrays)
            about = _describe(bag_path, recording, episode, pick, rules)
            stats = {k: statistics.of_values(v) for k, v in columns[number].items()} | seen[number]
            (folder / EPISODE).write_text(json.dumps(about | {"stats": statistics.plain(stats)}), encoding="utf-8")
        (partial / DONE).write_text(json.dumps(done), encoding="utf-8")
    return done


@contextlib.contextmanager
def whole(directory: Path) -> Iterator[Path]:
    """A place to write in, which becomes `directory` when nothing went wrong, and else is gone."""
    partial = directory.with_name(f"{directory.name}.partial{os.getpid()}")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
        shutil.rmtree(directory, ignore_errors=True)
        os.replace(partial, directory)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def _columns(episode: Moments, pick: np.ndarray, fk: Callable[[np.ndarray], np.ndarray]) -> dict[str, np.ndarray]:
    """Every feature that is no video, by its name in the data set; action k is the state of frame k + 1."""
    states = tuple(episode.states[k] for k in pick)
    state = action_vector.vectors(tcp_poses(states, fk), openness(states))
    last = np.zeros(len(pick), bool)
    last[-1] = True
    return {
        "observation.state": state.astype(np.float32),
        "action": np.concatenate([state[1:], state[-1:]]).astype(np.float32),
        "observation.joint_position": np.stack([s.q for s in states]).astype(np.float32),
        "observation.joint_velocity": np.stack([s.dq for s in states]).astype(np.float32),
        "observation.stamp_ns": episode.times_ns[pick],
        "control_source": episode.sources[pick].astype(np.int64),
        "next.done": last,
    }


def _videos(bag: Bag, recording: Recording, picks: list[np.ndarray], directory: Path, rules: StageRules
            ) -> list[dict[str, statistics.Stats]]:  # fmt: skip
    """Writes the video of every view of every episode; statistics of their pictures."""
    views = recording.cell.view_names
    wanted: dict[str, dict[int, int]] = {v: {} for v in views}
    owner: dict[tuple[str, int], int] = {}
    for number, (episode, pick) in enumerate(zip(recording.episodes, picks)):
        (directory / f"{number:03d}").mkdir()
        for column, view in enumerate(views):
            for stamp_ns, times in zip(*np.unique(episode.stamps_ns[pick, column], return_counts=True)):
                wanted[view][int(stamp_ns)] = int(times)
                owner[view, int(stamp_ns)] = number
    kept: list[dict[str, list]] = [{v: [] for v in views} for _ in picks]
    writers: dict[tuple[int, str], VideoWriter] = {}
    sizes = {v.name: v.camera.image_size for v in recording.cell.views}
    try:
        for view, stamp_ns, picture, times in pictures(bag, recording, wanted):
            number = owner[view, stamp_ns]
            if (number, view) not in writers:
                path = directory / f"{number:03d}" / f"{view}.mp4"
                writers[number, view] = VideoWriter(path, sizes[view], rules.fps, rules.video, rules.threads)
            writer = writers[number, view]
            every = max(1, len(picks[number]) // _STATS_PICTURES)
            if writer.frames % every == 0:
                kept[number][view].append(picture.copy())
            writer.write(picture, times)
    except BaseException as error:
        for writer in writers.values():
            writer.__exit__(type(error))
        raise
    for (number, view), writer in writers.items():
        writer.__exit__(None)
        if writer.frames != len(picks[number]):
            raise DatasetError(f"{bag.path}: view {view} gave {writer.frames} of {len(picks[number])} frames")
    return [{f"observation.images.{v}": statistics.of_pictures(kept[n][v]) for v in views} for n in range(len(picks))]


def _describe(bag_path: Path, recording: Recording, episode: Moments, pick: np.ndarray, rules: StageRules) -> dict:
    used, counts = np.unique(pick, return_counts=True)
    times = episode.times_ns
    return {
        "bag": str(bag_path),
        "instruction": episode.instruction,
        "success": recording.success.value,
        "frames": len(pick),
        "calibration": calibration_of(recording.cell),
        "cell": recording.cell.to_yaml(),
        "sources": sorted({SOURCES[s] for s in episode.sources}),
        "corrections": corrections(episode.sources[pick]),
        "audit": {
            "duration_s": 1e-9 * float(times[-1] - times[0]),
            "sets": len(times),
            "sets_unused": int(len(times) - len(used)),
            "frames_repeated": int((counts - 1).sum()),
            "longest_gap_s": 1e-9 * float(np.diff(times).max()) if len(times) > 1 else 0.0,
            "skew_ms": [1e3 * float(np.median(episode.skew_s)), 1e3 * float(episode.skew_s.max())],
            "rates_hz": recording.rates_hz,
            "notes": list(recording.notes),
        },
        "video": rules.video,
        "fps": rules.fps,
    }


def corrections(sources: np.ndarray) -> list[list[int]]:
    """[first frame, behind the last] of every piece in which a human or a teleoperation took over from the policy.
    sources (N,): index into SOURCES."""
    names = [SOURCES[s] for s in sources]
    edges = [0, *(k for k in range(1, len(names)) if names[k] != names[k - 1]), len(names)]
    return [[a, b] for a, b in zip(edges[1:], edges[2:])
            if names[a] in ("human", "teleoperation") and names[a - 1] == "policy"]  # fmt: skip


def calibration_of(cell: Cell) -> dict:
    """By view, JSON-able: K (3, 3), distortion, image_size, base_T_camera (4, 4), serial, date, method,
    reproj_rms_px."""
    return {
        v.name: geometry_of(v.camera)
        | {
            "serial": v.serial,
            "date": v.calibration.date,
            "method": v.calibration.method,
            "reproj_rms_px": v.calibration.reproj_rms_px,
        }
        for v in cell.views
    }


def geometry_of(camera: PinholeCamera) -> dict:
    """JSON-able: K, distortion, image_size, base_T_camera."""
    return {
        "K": camera.K.tolist(),
        "distortion": None if camera.distortion is None else list(map(float, camera.distortion)),
        "image_size": list(camera.image_size),
        "base_T_camera": camera.base_T_camera.tolist(),
    }

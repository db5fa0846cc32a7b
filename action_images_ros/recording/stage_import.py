"""One episode of another's data set -> the staged form that bags have, complete or not at all."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DatasetError
from . import action_vector, statistics
from .lerobot_import import ImportedEpisode, LeRobotSource
from .lerobot_layout import INFO
from .stage import COLUMNS, DONE, EPISODE, StageRules, geometry_of, whole
from .video import VideoWriter, read_part

_STATS_PICTURES = 20


def episode_key(source: LeRobotSource, index: int) -> str:
    """A name for its staged form, another one where the data set or its calibrations are changed."""
    files = [source.root / INFO, *([source.calibrations] if source.calibrations else [])]
    outline = [(str(f.resolve()), f.stat().st_size, f.stat().st_mtime_ns) for f in files]
    return hashlib.sha256(json.dumps([outline, index]).encode()).hexdigest()[:16]


def stage_episode(source: LeRobotSource, index: int, directory: Path, rules: StageRules) -> None:
    """Raises DatasetError where the episode cannot be converted."""
    if abs(source.fps - rules.fps) > 1e-6:
        raise DatasetError(f"{source.root} has {source.fps:g} frames/s, the data set to be made {rules.fps:g}; leave "
                           "--fps out, or make another")  # fmt: skip
    episode = source.read(index)
    with whole(directory) as partial:
        folder = partial / "000"
        folder.mkdir()
        seen = {view: _video(episode, view, folder, rules) for view in episode.videos}
        columns = _columns(episode)
        arrays: dict[str, Any] = columns
        np.savez(folder / COLUMNS, **arrays)
        stats = {k: statistics.of_values(v) for k, v in columns.items()}
        stats |= {f"observation.images.{view}": s for view, s in seen.items()}
        about = _describe(source, episode, rules) | {"stats": statistics.plain(stats)}
        (folder / EPISODE).write_text(json.dumps(about), encoding="utf-8")
        (partial / DONE).write_text(json.dumps({"bag": about["bag"], "episodes": 1}), encoding="utf-8")


def _video(episode: ImportedEpisode, view: str, folder: Path, rules: StageRules) -> statistics.Stats:
    (file, first), n, size = episode.videos[view], len(episode.openness), episode.cameras[view].image_size
    kept, every = [], max(1, n // _STATS_PICTURES)
    with VideoWriter(folder / f"{view}.mp4", size, rules.fps, rules.video, rules.threads) as writer:
        for k, picture in enumerate(read_part(file, size, (first - 0.5) / episode.fps, n)):
            if k % every == 0:
                kept.append(picture)
            writer.write(picture)
    return statistics.of_pictures(kept)


def _columns(episode: ImportedEpisode) -> dict[str, np.ndarray]:
    state = action_vector.vectors(episode.base_T_tcps, episode.openness).astype(np.float32)
    n = len(state)
    return {
        "observation.state": state,
        "action": np.concatenate([state[1:], state[-1:]]),
        "observation.stamp_ns": np.round(np.arange(n) * 1e9 / episode.fps).astype(np.int64),
        "control_source": np.zeros(n, np.int64),
        "next.done": np.arange(n) == n - 1,
    }


def _describe(source: LeRobotSource, episode: ImportedEpisode, rules: StageRules) -> dict:
    n = len(episode.openness)
    return {
        "bag": f"{source.root}#{episode.index}",
        "instruction": episode.instruction,
        "success": episode.success,
        "frames": n,
        "calibration": {view: geometry_of(camera) for view, camera in episode.cameras.items()},
        "cell": "",
        "sources": ["unknown"],
        "audit": {
            "duration_s": (n - 1) / episode.fps,
            "sets": n,
            "sets_unused": 0,
            "frames_repeated": 0,
            "longest_gap_s": 1 / episode.fps,
            "skew_ms": [0.0, 0.0],
            "rates_hz": {view: episode.fps for view in episode.cameras},
            "notes": [],
        },
        "video": rules.video,
        "fps": rules.fps,
    }

"""The files of a LeRobot data set, version 3.0: Parquet, MP4, JSON; one data file and one video a view an episode."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import ConfigError, pip_install
from . import action_vector, statistics
from .bag_metadata import write_whole

VERSION = "v3.0"
DATA = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
EPISODES = "meta/episodes/chunk-000/file-000.parquet"
TASKS = "meta/tasks.parquet"
INFO = "meta/info.json"
STATS = "meta/stats.json"
CONTRACT = "meta/action_images.json"
_CHUNK = 1000
_VECTORS = {
    "observation.state": action_vector.NAMES,
    "action": action_vector.NAMES,
    "observation.joint_position": tuple(f"fr3_joint{i}" for i in range(1, 8)),
    "observation.joint_velocity": tuple(f"fr3_joint{i}" for i in range(1, 8)),
}
CONFIDENCE, ERROR = "label.confidence", "label.error_m"
_SCALARS = {
    CONFIDENCE: "float32", ERROR: "float32", "observation.stamp_ns": "int64", "control_source": "int64",
    "next.done": "bool", "next.success": "bool", "timestamp": "float32", "frame_index": "int64",
    "episode_index": "int64", "index": "int64", "task_index": "int64",
}  # fmt: skip


@dataclass(frozen=True)
class Staged:
    """One episode on its way into a data set: what `stage` wrote."""

    folder: Path
    about: dict

    def columns(self) -> dict[str, np.ndarray]:
        with np.load(self.folder / "columns.npz") as file:
            return {name: file[name] for name in file.files}


def place(number: int) -> dict[str, int]:
    return {"chunk_index": number // _CHUNK, "file_index": number % _CHUNK}


def _made_here(columns: Collection[str]) -> set[str]:
    """Columns of a data set whose episodes come with these."""
    return {*columns, "next.success", "timestamp", "frame_index", "episode_index", "index", "task_index"}


def features(views: Sequence[str], sizes: dict[str, tuple[int, int]], fps: float, codec: str,
             columns: Collection[str]) -> dict:  # fmt: skip
    """As info.json describes them. columns: those that the episodes come with."""
    there = _made_here(columns)
    out: dict[str, dict] = {}
    for view in views:
        width, height = sizes[view]
        out[f"observation.images.{view}"] = {
            "dtype": "video", "shape": [height, width, 3], "names": ["height", "width", "channels"],
            "info": {"video.height": height, "video.width": width, "video.codec": "h264", "video.pix_fmt":
                     "yuv420p" if codec == "h264" else "gbrp", "video.is_depth_map": False, "video.fps": int(fps),
                     "video.channels": 3, "has_audio": False},
        }  # fmt: skip
    out |= {k: {"dtype": "float32", "shape": [len(n)], "names": list(n)} for k, n in _VECTORS.items() if k in there}
    return out | {k: {"dtype": d, "shape": [1], "names": None} for k, d in _SCALARS.items() if k in there}


def write_dataset(root: Path, episodes: Sequence[Staged], splits: dict[str, str], fps: float, codec: str,
                  contract: dict) -> int:  # fmt: skip
    """Number the staged episodes and write everything that depends on the numbers; info.json comes last. Frames.

    Videos are hard links to the staged ones (copies where the file system has no links).
    """
    pa, pq = _arrow()
    tasks = sorted({e.about["instruction"] for e in episodes})
    first = episodes[0].about["calibration"]
    views, sizes = list(first), {v: tuple(c["image_size"]) for v, c in first.items()}
    rows, start = [], 0
    for number, episode in enumerate(episodes):
        rows.append(_write_episode(root, number, start, episode, tasks, views, fps, pa, pq))
        start += episode.about["frames"]
    _clear_behind(root, len(episodes), views)
    _write_table(root / EPISODES, pa.Table.from_pylist(rows), pq)
    _write_table(root / TASKS, _tasks_table(tasks, pa), pq)
    known = features(views, sizes, fps, codec, episodes[0].columns())
    names = [k for k in known if k in episodes[0].about["stats"]]
    stats = {k: statistics.together([statistics.from_plain(e.about["stats"])[k] for e in episodes]) for k in names}
    write_whole(root / STATS, json.dumps(statistics.plain(stats), indent=1))
    write_whole(root / CONTRACT, json.dumps(contract, indent=1))
    info = {
        "codebase_version": VERSION, "robot_type": "fr3", "total_episodes": len(episodes), "total_frames": start,
        "total_tasks": len(tasks), "chunks_size": _CHUNK, "data_files_size_in_mb": 100, "video_files_size_in_mb": 200,
        "fps": int(fps) if float(fps).is_integer() else fps, "splits": splits, "data_path": DATA, "video_path": VIDEO,
        "features": known,
    }  # fmt: skip
    write_whole(root / INFO, json.dumps(info, indent=1))
    return start


def _write_episode(root: Path, number: int, start: int, episode: Staged, tasks: list[str], views: list[str],
                   fps: float, pa, pq) -> dict:  # fmt: skip
    about, columns = episode.about, episode.columns()
    n = about["frames"]
    won = about["success"] == "success"
    columns["next.success"] = columns["next.done"] & won
    columns["timestamp"] = (np.arange(n) / fps).astype(np.float32)
    columns["frame_index"], columns["index"] = np.arange(n), np.arange(start, start + n)
    columns["episode_index"] = np.full(n, number)
    columns["task_index"] = np.full(n, tasks.index(about["instruction"]))
    arrays = {}
    there = _made_here(columns)
    for key, names in ((k, n) for k, n in _VECTORS.items() if k in there):
        flat = pa.array(np.ascontiguousarray(columns[key]).reshape(-1), pa.float32())
        arrays[key] = pa.FixedSizeListArray.from_arrays(flat, len(names))
    for key, kind in ((k, d) for k, d in _SCALARS.items() if k in there):
        arrays[key] = pa.array(columns[key].astype({"bool": bool}.get(kind, kind)))
    _write_table(root / DATA.format(**place(number)), pa.table(arrays), pq)
    row = {
        "episode_index": number, "tasks": [about["instruction"]], "length": n, "dataset_from_index": start,
        "dataset_to_index": start + n, "meta/episodes/chunk_index": 0, "meta/episodes/file_index": 0,
        "data/chunk_index": place(number)["chunk_index"], "data/file_index": place(number)["file_index"],
        "success": about["success"], "source_bag": about["bag"], "control_sources": about["sources"],
        "calibration": json.dumps(about["calibration"]), "cell": about["cell"],
        "corrections": json.dumps(about.get("corrections", [])), "doubtful": json.dumps(about.get("doubtful", [])),
    }  # fmt: skip
    for view in views:
        key = f"observation.images.{view}"
        _link(episode.folder / f"{view}.mp4", root / VIDEO.format(video_key=key, **place(number)))
        row |= {f"videos/{key}/{k}": v for k, v in place(number).items()}
        row |= {f"videos/{key}/from_timestamp": 0.0, f"videos/{key}/to_timestamp": n / fps}
    for key, of in about["stats"].items():
        row |= {f"stats/{key}/{name}": value for name, value in of.items()}
    return row


def _link(source: Path, target: Path) -> None:
    import shutil

    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _clear_behind(root: Path, count: int, views: list[str]) -> None:
    """Remove files of episodes beyond the last one, which a former run may have left."""
    keep = {root / DATA.format(**place(n)) for n in range(count)}
    for view in views:
        keep |= {root / VIDEO.format(video_key=f"observation.images.{view}", **place(n)) for n in range(count)}
    for path in (*root.glob("data/*/*.parquet"), *root.glob("videos/*/*/*.mp4")):
        if path not in keep:
            path.unlink()


def _write_table(path: Path, table, pq) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    pq.write_table(table, partial, compression="snappy")
    os.replace(partial, path)


def _tasks_table(tasks: list[str], pa):
    """As pandas writes a frame whose index are the tasks."""
    table = pa.table({"task_index": pa.array(range(len(tasks)), pa.int64()), "task": pa.array(tasks, pa.string())})
    column = {"name": "task_index", "field_name": "task_index", "pandas_type": "int64", "numpy_type": "int64",
              "metadata": None}  # fmt: skip
    index = {"name": "task", "field_name": "task", "pandas_type": "unicode", "numpy_type": "object", "metadata": None}
    meta = {"index_columns": ["task"], "column_indexes": [], "columns": [column, index],
            "creator": {"library": "pyarrow", "version": pa.__version__}, "pandas_version": "2.0.0"}  # fmt: skip
    return table.replace_schema_metadata({b"pandas": json.dumps(meta).encode()})


def _arrow():
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as e:
        raise ConfigError(f"data sets need pyarrow: {pip_install('recording')}") from e
    return pyarrow, pyarrow.parquet

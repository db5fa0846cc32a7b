"""Reading a LeRobot data set that carries calibrations, as those of `action-images dataset` do."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import ActionImagesError, DatasetError
from ..geometry import PinholeCamera
from . import action_vector
from .lerobot_layout import CONFIDENCE, CONTRACT, INFO, _arrow
from .video import read_frames


@dataclass(frozen=True, eq=False)
class RecordedEpisode:
    """base_T_tcps (N, 4, 4), openness (N,), stamps_ns (N,) at `fps`; cameras by view; success as marked; confidence
    (N,) of labels, 1 where the arm itself said where it was; labelled: whether a model said it; calibration, cell: as
    stored with the episode.

    frames(view): its pictures (H, W, 3) uint8 RGB, one after the other.
    """

    index: int
    instruction: str
    success: str
    fps: float
    base_T_tcps: np.ndarray
    openness: np.ndarray
    stamps_ns: np.ndarray
    cameras: dict[str, PinholeCamera]
    videos: dict[str, Path]
    confidence: np.ndarray
    labelled: bool
    calibration: dict
    cell: str

    def frames(self, view: str) -> Iterator[np.ndarray]:
        return read_frames(self.videos[view])


def is_dataset(directory: Path) -> bool:
    return (Path(directory) / INFO).is_file()


def read_dataset(directory: Path, split: str = "") -> Iterator[RecordedEpisode]:
    """Episodes of a split ("" all). Raises DatasetError in one line for whatever is missing or does not fit."""
    directory = Path(directory)
    _, pq = _arrow()
    try:
        info = json.loads((directory / INFO).read_text(encoding="utf-8"))
        first, last = _range(info, split, directory)
        _require_contract(directory)
        tables = [pq.read_table(path) for path in sorted(directory.glob("meta/episodes/*/*.parquet"))]
        rows = [row for table in tables for row in table.to_pylist()]
        for row in rows:
            if first <= row["episode_index"] < last:
                yield _episode(directory, info, row, pq)
    except ActionImagesError:
        raise
    except Exception as e:  # noqa: BLE001 - one line, whatever is wrong with the files
        raise DatasetError(f"{directory} is no complete data set ({' '.join(str(e).split())[:200]})") from e


def least_confidence(directory: Path) -> float:
    """Below it a label of this data set is not to be learnt from; 0 where the arm itself said where it was."""
    path = Path(directory) / CONTRACT
    contract = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return float(contract.get("labelled", {}).get("min_confidence", 0.0))


def _range(info: dict, split: str, directory: Path) -> tuple[int, int]:
    if not split:
        return 0, int(info["total_episodes"])
    if split not in info["splits"]:
        remedy = ": nothing is held out; record more, or train without --validation" if split == "val" else ""
        raise DatasetError(f"{directory} has no split {split!r}, only {', '.join(info['splits'])}{remedy}")
    first, last = info["splits"][split].split(":")
    return int(first), int(last)


def _require_contract(directory: Path) -> None:
    path = directory / CONTRACT
    if not path.is_file():
        raise DatasetError(f"{directory} has no {CONTRACT}: nothing says what its actions mean")
    contract = json.loads(path.read_text(encoding="utf-8"))
    if contract["action"]["names"] != list(action_vector.NAMES):
        raise DatasetError(f"{directory}: actions are {contract['action']['names']}, not {list(action_vector.NAMES)}")


def _episode(directory: Path, info: dict, row: dict, pq) -> RecordedEpisode:
    file = {"chunk_index": row["data/chunk_index"], "file_index": row["data/file_index"]}
    columns = ["episode_index", "observation.state", "observation.stamp_ns"]
    columns += [CONFIDENCE] if CONFIDENCE in info["features"] else []
    table = pq.read_table(_inside(directory, info["data_path"].format(**file)), columns=columns)
    mine = table.filter(np.asarray(table["episode_index"]) == row["episode_index"])
    state = np.array(mine["observation.state"].to_pylist(), float)
    if len(state) != row["length"] or state.shape[1:] != (7,):
        number, length = row["episode_index"], row["length"]
        raise DatasetError(f"{directory}: episode {number} has {state.shape} states and length {length}")
    calibration = json.loads(row["calibration"])
    poses, openness = action_vector.poses(state)
    cameras = {
        view: PinholeCamera(np.array(c["K"]), tuple(c["image_size"]), np.array(c["base_T_camera"]),
                            None if c["distortion"] is None else np.array(c["distortion"]))
        for view, c in calibration.items()
    }  # fmt: skip
    videos = {}
    for view in cameras:
        key = f"observation.images.{view}"
        at = {"chunk_index": row[f"videos/{key}/chunk_index"], "file_index": row[f"videos/{key}/file_index"]}
        videos[view] = _inside(directory, info["video_path"].format(video_key=key, **at))
    return RecordedEpisode(row["episode_index"], row["tasks"][0], row.get("success") or "unknown", float(info["fps"]),
                           poses, openness, np.asarray(mine["observation.stamp_ns"]), cameras, videos,
                           np.asarray(mine[CONFIDENCE]) if CONFIDENCE in columns else np.ones(len(state)),
                           CONFIDENCE in columns, calibration, row.get("cell") or "")  # fmt: skip


def _inside(directory: Path, relative: str) -> Path:
    path = (directory / relative).resolve()
    if not path.is_relative_to(directory.resolve()):
        raise DatasetError(f"{directory} names {relative!r}, which is outside of it; it is not opened")
    return path

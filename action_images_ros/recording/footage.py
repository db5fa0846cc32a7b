"""Videos with calibration, with or without actions: bags, data sets, and directories of one MP4 a view."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from ..errors import ActionImagesError, DatasetError
from ..geometry import PinholeCamera
from ..geometry.se3 import make, matrix_from_quat
from .bag import Bag
from .lerobot_read import is_dataset, read_dataset
from .recorded import ReadRules, Recording, openness, read_footage, tcp_poses
from .recorded import pictures as bag_pictures
from .stage import calibration_of, grid
from .video import VideoWriter, read_frames

START = "start.json"


@dataclass(frozen=True, eq=False)
class Footage:
    """One episode to be labelled. calibration: JSON-able, by view, as `stage.calibration_of`; cameras by view.

    truth: base_T_tcps (N, 4, 4) and openness (N,) where the source knows them; start: base_T_tcp (4, 4) and openness in
    the first frame, where it knows that. save(directory): puts <view>.mp4 of
    every view there, N frames each, at `fps`.
    """

    source: str
    instruction: str
    success: str
    fps: float
    frames: int
    cameras: dict[str, PinholeCamera]
    calibration: dict
    cell: str
    truth: tuple[np.ndarray, np.ndarray] | None
    start: tuple[np.ndarray, float] | None
    save: Callable[[Path], None]


def find_footage(path: Path, rules: ReadRules, fps: float, fk: Callable[[np.ndarray], np.ndarray]) -> Iterator[Footage]:
    """Every episode of a bag, a data set, a directory of <view>.mp4, or a directory of such directories.

    rules.cell, rules.instruction: where the source has none. Raises DatasetError for what is none of these.
    """
    if is_dataset(path):
        yield from _of_dataset(path)
    elif path.is_dir() and list(path.glob("*.mp4")):
        yield _of_videos(path, rules)
    elif path.is_dir() and (inside := sorted(p for p in path.iterdir() if p.is_dir() and list(p.glob("*.mp4")))):
        yield from (_of_videos(p, rules) for p in inside)
    else:
        yield from _of_bag(path, rules, fps, fk)


def _of_videos(directory: Path, rules: ReadRules) -> Footage:
    said = _said(directory / START)
    instruction = str(said.get("instruction", rules.instruction))
    if rules.cell is None or not instruction:
        raise DatasetError(f"{directory}: videos say nothing of cameras and task; give --cell and --instruction")
    files = {v.name: directory / f"{v.name}.mp4" for v in rules.cell.views}
    missing = [f.name for f in files.values() if not f.is_file()]
    if missing:
        raise DatasetError(f"{directory} lacks {', '.join(missing)}: one video for each view of the cell file")
    rates, counts = zip(*(_outline(f) for f in files.values()))
    if len(set(rates)) > 1 or len(set(counts)) > 1:
        raise DatasetError(f"{directory}: videos of {list(rates)} frames/s and {list(counts)} frames; all views must "
                           "be of one rate and length, frame k of each taken at the same time")  # fmt: skip
    for view, file in files.items():
        width, height = (int(x) for x in rules.cell.views[rules.cell.view_names.index(view)].camera.image_size)
        if next(read_frames(file)).shape[:2] != (height, width):
            raise DatasetError(f"{file} is not {width}x{height}, for which the cell file is calibrated")
    return Footage(str(directory), instruction, "unknown", rates[0], counts[0],
                   dict(zip(rules.cell.view_names, rules.cell.cameras)), calibration_of(rules.cell),
                   rules.cell.to_yaml(), None, _start_of(said, directory / START),
                   lambda out: _copy_all(files, out))  # fmt: skip


def _said(file: Path) -> dict:
    if not file.is_file():
        return {}
    try:
        said = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as e:
        raise DatasetError(f"{file} is no JSON ({e})") from e
    known = {"translation_m", "quaternion_xyzw", "openness", "instruction"}
    if not isinstance(said, dict) or set(said) - known:
        raise DatasetError(f"{file}: legal keys: {', '.join(sorted(known))}")
    return said


def _start_of(said: dict, file: Path) -> tuple[np.ndarray, float] | None:
    if "translation_m" not in said and "quaternion_xyzw" not in said:
        return None
    try:
        pose = make(matrix_from_quat(np.array(said["quaternion_xyzw"], float)), np.array(said["translation_m"], float))
        return pose, float(said.get("openness", 1.0))
    except (ActionImagesError, KeyError, TypeError, ValueError) as e:
        raise DatasetError(f"{file}: translation_m needs 3 and quaternion_xyzw 4 numbers ({e})") from e


def _outline(file: Path) -> tuple[float, int]:
    capture = cv2.VideoCapture(str(file))
    try:
        rate, count = capture.get(cv2.CAP_PROP_FPS), int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    finally:
        capture.release()
    if not rate > 0 or count < 1:
        raise DatasetError(f"{file} is not a readable video with a frame rate")
    return round(rate, 3), count


def _copy_all(files: dict[str, Path], out: Path) -> None:
    for view, file in files.items():
        shutil.copyfile(file, out / f"{view}.mp4")


def _of_dataset(directory: Path) -> Iterator[Footage]:
    for e in read_dataset(directory):
        truth = None if e.labelled else (e.base_T_tcps, e.openness)
        start = e.base_T_tcps[0], float(e.openness[0])
        yield Footage(f"{directory}#{e.index}", e.instruction, e.success, e.fps, len(e.openness), e.cameras,
                      e.calibration, e.cell, truth, start, partial(_copy_all, e.videos))  # fmt: skip


def _of_bag(path: Path, rules: ReadRules, fps: float, fk: Callable[[np.ndarray], np.ndarray]) -> Iterator[Footage]:
    with Bag(path) as bag:
        recording = read_footage(bag, rules)
    cell, rate = recording.cell, fps or float(round(min(recording.rates_hz.values())))
    for number, episode in enumerate(recording.episodes):
        pick = grid(episode.times_ns, rate)
        truth = None
        if episode.states:
            states = tuple(episode.states[k] for k in pick)
            truth = tcp_poses(states, fk), openness(states)
        yield Footage(f"{path}#{number}", episode.instruction, recording.success.value, rate, len(pick),
                      dict(zip(cell.view_names, cell.cameras)), calibration_of(cell), cell.to_yaml(), truth,
                      truth and (truth[0][0], float(truth[1][0])),
                      partial(_save, path, recording, episode.stamps_ns[pick], rate))  # fmt: skip


def _save(path: Path, recording: Recording, stamps_ns: np.ndarray, rate_hz: float, out: Path) -> None:
    """The pictures of a bag with these stamps (N, V) as videos."""
    wanted: dict[str, dict[int, int]] = {}
    for column, view in enumerate(recording.cell.view_names):
        found, times = np.unique(stamps_ns[:, column], return_counts=True)
        wanted[view] = {int(t): int(n) for t, n in zip(found, times)}
    with Bag(path) as bag, contextlib.ExitStack() as stack:
        writers = {v.name: stack.enter_context(VideoWriter(out / f"{v.name}.mp4", v.camera.image_size, rate_hz, "h264"))
                   for v in recording.cell.views}  # fmt: skip
        for view, _, picture, repeat in bag_pictures(bag, recording, wanted):
            writers[view].write(picture, repeat)

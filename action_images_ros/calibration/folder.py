"""A calibration recording as a folder that a person can look into: one folder of pictures a view, one table of joints.

folder/left/00.png  folder/left/01.png ...  folder/wrist/00.png ...
folder/joints.csv   pose,q1,...,q7[,dq1,...,dq7][,stamp_ns]      or joints.json  {"00": {"q": [...], "dq": [...]}}
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

from ..errors import CalibrationError
from .detect import BoardDetector
from .rig import Rig, Sample

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")


class JointTable:
    """Writes folder/joints.csv for samples, as `read_joints` reads it."""

    def __init__(self, folder: Path):
        self._path = folder / "joints.csv"

    def write(self, samples: Sequence[Sample]) -> None:
        head = ["pose", *(f"q{i}" for i in range(1, 8)), *(f"dq{i}" for i in range(1, 8)), "stamp_ns"]
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(head)
            for s in samples:
                writer.writerow([s.name, *(f"{v:.9f}" for v in (*s.q, *s.dq)), s.stamp_ns])


def read_joints(folder: Path) -> dict[str, dict]:
    """Pose name -> q, dq (7,) and stamp_ns, in the file's order. Raises CalibrationError naming file, line and what
    is wrong."""
    table, document = folder / "joints.csv", folder / "joints.json"
    if table.is_file():
        with table.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        return _poses(table, ((row.get("pose"), _csv_row(row), i) for i, row in enumerate(rows, 2)))
    if document.is_file():
        try:
            poses = json.loads(document.read_text(encoding="utf-8"))
            return _poses(
                document, ((name, (p["q"], p.get("dq"), p.get("stamp_ns", 0)), name) for name, p in poses.items())
            )
        except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as e:
            raise CalibrationError(f'{document}: {e}; expected {{"00": {{"q": [7 angles in rad]}}, ...}}') from None
    raise CalibrationError(f"{folder} has neither joints.csv (pose,q1,...,q7 in rad) nor joints.json")


def _csv_row(row: Mapping[str, str]) -> tuple:
    def seven(prefix: str):
        return [row.get(f"{prefix}{i}") for i in range(1, 8)]

    return seven("q"), seven("dq") if row.get("dq1") not in (None, "") else None, row.get("stamp_ns") or 0


def _poses(path: Path, rows: Iterator[tuple]) -> dict[str, dict]:
    out: dict[str, dict] = {}
    for name, (q, dq, stamp), where in rows:
        try:
            values = {
                "q": np.array([float(v) for v in q]),
                "dq": np.zeros(7) if dq is None else np.array([float(v) for v in dq]),
                "stamp_ns": int(stamp),
            }
        except (TypeError, ValueError):
            raise CalibrationError(
                f"{path}, line {where}: expected pose,q1,...,q7 as numbers in rad; got {q}"
            ) from None
        if not name or name in out:
            raise CalibrationError(f"{path}, line {where}: pose name {name!r} is missing or given twice")
        out[str(name)] = values
    if not out:
        raise CalibrationError(f"{path} has no poses")
    return out


def read_samples(folder: str | Path, rig: Rig) -> Iterator[tuple[Sample, dict[str, np.ndarray]]]:
    """Each pose of the folder with its pictures by view, uint8 (H, W, 3) RGB, boards detected.

    Raises CalibrationError where a view has no folder, a picture no joints, or a size that is not the camera's.
    """
    folder = Path(folder)
    joints = read_joints(folder)
    files = {view: _pictures(folder, view, joints) for view in rig.cameras}
    detector = BoardDetector(rig.plain_boards)
    for name, reading in joints.items():
        images = {
            view: _read(found[name], rig.cameras[view].image_size) for view, found in files.items() if name in found
        }
        detections = {view: found for view, image in images.items() if (found := detector.detect(image))}
        yield Sample(name, reading["q"], detections, reading["dq"], reading["stamp_ns"]), images


def _pictures(folder: Path, view: str, joints: Mapping[str, dict]) -> dict[str, Path]:
    if not (folder / view).is_dir():
        raise CalibrationError(
            f"{folder / view} does not exist; put the pictures of view {view} there, named as the poses in joints"
        )
    found = {p.stem: p for p in sorted((folder / view).iterdir()) if p.suffix.lower() in SUFFIXES}
    alone = sorted(set(found) - set(joints))
    if alone:
        raise CalibrationError(
            f"{folder / view}: no joints for {', '.join(alone[:5])}; add their rows or remove the pictures"
        )
    return found


def _read(path: Path, image_size: tuple[int, int]) -> np.ndarray:
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise CalibrationError(f"{path} is no picture that OpenCV reads")
    size = image.shape[1], image.shape[0]
    if size != tuple(image_size):
        raise CalibrationError(
            f"{path} is {size[0]}x{size[1]}; its camera's intrinsics are for {image_size[0]}x{image_size[1]}"
        )
    return np.ascontiguousarray(image[..., ::-1])

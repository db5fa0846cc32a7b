"""Accuracy of the camera calibration against ground truth, on rendered images of random cells.

Every cell: two fixed cameras and one on the wrist, lenses with distortion, a ChArUco board on the gripper and
one on the table, blur, sensor noise, noisy joint readings. OpenCV's hand-eye solvers get the same images, one
camera at a time.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np
import yaml

from ..calibration import BoardDetector, BoardMount, CalibrationResult, Options, Sample
from ..calibration.handeye import OPENCV_FIVE, Solver, hand_eye
from ..calibration.initial import hand_poses, seen_boards
from ..calibration.rig import CameraMount, moving
from ..calibration.session import CalibrationSession
from ..cell import Calibration, Cell, View, WorkspaceBox
from ..errors import CalibrationError, one_of
from ..geometry.se3 import so3_log
from .calibration_cell import TrueCell, operator_poses, random_cell, synthetic_samples

OURS = "joint adjustment"
_FIRST = 6
_BOX = WorkspaceBox((0.22, -0.40, 0.12), (0.75, 0.40, 0.70), (), 0.0)
_BARS = {"median": (1.0, 0.1), "worst": (2.0, 0.3)}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--cells", type=int, default=20)
    parser.add_argument("--poses", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--image-size", default="640x480", help="of every camera")
    parser.add_argument(
        "--images", choices=["rendered", "none"], default="rendered", help="none: ideal points with noise"
    )
    parser.add_argument(
        "--choose",
        choices=["operator", "proposed"],
        default="proposed",
        help="proposed: after six poses the calibration proposes the others; operator: all at random",
    )
    parser.add_argument("--joint-noise-deg", type=float, default=0.05)
    parser.add_argument("--pixel-noise", type=float, default=0.1, help="px, for --images none")
    parser.add_argument("--blur-px", type=float, default=0.6)
    parser.add_argument("--sensor-noise", type=float, default=2.0, help="grey levels")
    parser.add_argument("--save", type=Path, help="keep the images and joints of the first cell here")
    parser.add_argument("--json", type=Path)


@dataclass
class Errors:
    """Errors of one method over all cameras of all cells."""

    mm: list[float] = field(default_factory=list)
    deg: list[float] = field(default_factory=list)
    views: list[str] = field(default_factory=list)

    def add(self, view: str, found: np.ndarray, true: np.ndarray) -> None:
        error = pose_error(found, true)
        self.mm.append(1e3 * float(np.linalg.norm(error[:3])))
        self.deg.append(float(np.rad2deg(np.linalg.norm(error[3:]))))
        self.views.append(view)

    def summary(self) -> dict[str, float]:
        return {
            "n": len(self.mm),
            "median_mm": float(np.median(self.mm)),
            "worst_mm": max(self.mm),
            "median_deg": float(np.median(self.deg)),
            "worst_deg": max(self.deg),
        }


def pose_error(found: np.ndarray, true: np.ndarray) -> np.ndarray:
    """(6,) translation (m) and rotation vector (rad) that take `found` to `true`, as covariances mean it."""
    return np.concatenate([true[:3, 3] - found[:3, 3], so3_log(true[:3, :3] @ found[:3, :3].T)])


def run(args: argparse.Namespace) -> int:
    one_of("images", args.images, ("rendered", "none"), CalibrationError)
    methods: dict[str, Errors] = {OURS: Errors()}
    nees, rows, began = [], [], time.monotonic()
    for index in range(args.cells):
        rng = np.random.default_rng([args.seed, index])
        cell, samples, result, seconds = _one_cell(args, rng, index)
        error = []
        for view in cell.rig.cameras:
            found = result.views[view].parent_T_camera
            methods[OURS].add(view, found, cell.cameras[view])
            error.append(pose_error(found, cell.cameras[view]))
        e = np.concatenate(error)
        nees.append(float(e @ np.linalg.solve(result.camera_covariance, e)))
        _solve_singly(cell, samples, methods)
        rows.append(_row(index, cell, methods[OURS], result, nees[-1], seconds))
        print(rows[-1]["text"], flush=True)
    report = _report(args, methods, nees, len(e), rows, time.monotonic() - began)
    print(_table(report))
    if args.json:
        args.json.write_text(json.dumps(report, indent=1) + "\n")
    return 0 if report["passed"] else 1


def _one_cell(
    args: argparse.Namespace, rng: np.random.Generator, index: int
) -> tuple[TrueCell, list[Sample], CalibrationResult, float]:
    width, height = (int(v) for v in args.image_size.split("x"))
    cell = random_cell(rng, (width, height))
    camera = (
        _Rendered(args, cell, rng, args.save if index == 0 else None)
        if args.images == "rendered"
        else _Ideal(args, cell, rng)
    )
    session = CalibrationSession(cell.rig, cell.arm, _BOX, Options())
    first = operator_poses(rng, cell, args.poses if args.choose == "operator" else _FIRST)
    taken, q = 0, first[0]
    for k in range(3 * args.poses):
        if len(session.samples) == args.poses:
            break
        q = first[k] if k < len(first) else session.propose(q, rng).q
        taken += session.add(camera.take(f"{k:02d}", q)).accepted
    camera.close()
    began = time.monotonic()
    result = session.finish()
    return cell, session.samples, result, time.monotonic() - began


class _Ideal:
    """Projected points with white noise."""

    def __init__(self, args: argparse.Namespace, cell: TrueCell, rng: np.random.Generator):
        self._args, self._cell, self._rng = args, cell, rng

    def take(self, name: str, q: np.ndarray) -> Sample:
        a = self._args
        return replace(
            synthetic_samples(self._rng, self._cell, q[None], a.joint_noise_deg, a.pixel_noise)[0], name=name
        )

    def close(self) -> None:
        pass


class _Rendered:
    """Rendered pictures, real detections."""

    def __init__(self, args: argparse.Namespace, cell: TrueCell, rng: np.random.Generator, save: Path | None):
        from ..sim.boards import LensCell, PlacedBoard, Sensor
        from ..sim.split import Split
        from ..sim.tasks import make_task

        placed = {
            name: PlacedBoard(b.board, b.mount is BoardMount.GRIPPER, cell.boards[name], cell.scales[name])
            for name, b in cell.rig.boards.items()
        }
        size = next(iter(cell.rig.cameras.values())).image_size
        self._args, self._cell, self._rng, self._save = args, cell, rng, save
        self._lenses = LensCell(placed, size, Sensor(args.blur_px, args.sensor_noise))
        self._lenses.cell.reset(make_task("reach_target").sample(rng, Split.TEST, self._lenses.cell.kinematics))
        self._detector = BoardDetector(cell.rig.plain_boards)
        self._joints: list[str] = []

    def take(self, name: str, q: np.ndarray) -> Sample:
        sim, cell = self._lenses.cell, self._cell
        sim.teleport(q, 0.04)
        reading = q + self._rng.normal(0, np.deg2rad(self._args.joint_noise_deg), 7)
        images = {
            view: self._lenses.render(camera.at(cell.base_T_camera(view, sim.base_T_tcp)), self._rng)
            for view, camera in cell.rig.cameras.items()
        }
        if self._save:
            self._keep(name, reading, images)
        return Sample(name, reading, {view: d for view, image in images.items() if (d := self._detector.detect(image))})

    def _keep(self, name: str, reading: np.ndarray, images: dict[str, np.ndarray]) -> None:
        for view, image in images.items():
            (self._save / view).mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(self._save / view / f"{name}.png"), image[..., ::-1])
        self._joints.append(",".join([name, *(f"{v:.8f}" for v in reading)]))
        head = ",".join(["pose", *(f"q{i}" for i in range(1, 8))])
        (self._save / "joints.csv").write_text("\n".join([head, *self._joints]) + "\n")
        save_rig(self._cell, self._save)

    def close(self) -> None:
        self._lenses.close()


def save_rig(cell: TrueCell, folder: Path) -> None:
    """Beside saved pictures: cell.yaml, a YAML of each wrist camera, and boards.txt, as `action-images calibrate`
    takes them. Camera poses in cell.yaml are placeholders: what is to be found."""
    views = []
    for name, camera in cell.rig.cameras.items():
        if camera.mount is CameraMount.EYE_TO_HAND:
            views.append(
                View(
                    name,
                    f"/camera/{name}",
                    camera.serial,
                    camera.at(np.eye(4)),
                    Calibration("2026-05-26", "not calibrated", 0.0),
                )
            )
        else:
            lens = {
                "serial": camera.serial,
                "K": [float(v) for v in camera.K.ravel()],
                "image_size": list(camera.image_size),
                "distortion": [float(v) for v in camera.distortion],
            }
            (folder / f"{name}.yaml").write_text(yaml.safe_dump(lens))
    Cell("bench", tuple(views), _BOX).save(folder / "cell.yaml")
    (folder / "boards.txt").write_text("".join(f"{b.mount.value}={b.board.text}\n" for b in cell.rig.boards.values()))


def _solve_singly(cell: TrueCell, samples: list[Sample], methods: dict[str, Errors]) -> None:
    """Each camera alone with the board that moves against it: board poses image by image, then a closed form."""
    tcp = cell.arm.fk(np.array([s.q for s in samples]))
    seen = seen_boards(cell.rig, samples)
    for view in cell.rig.cameras:
        mine = [s for s in seen if s.view == view and moving(cell.rig, view, s.board)]
        hands, boards = (
            hand_poses(cell.rig, view, tcp[[s.pose for s in mine]]),
            np.array([s.camera_T_board for s in mine]),
        )
        for solver in (*OPENCV_FIVE, Solver.PARK):
            if solver.available:
                name = (
                    f"{solver.value} (ours)"
                    if solver is Solver.PARK
                    else f"OpenCV {solver.value.removeprefix('opencv ')}"
                )
                methods.setdefault(name, Errors()).add(view, hand_eye(hands, boards, solver), cell.cameras[view])


def _row(index: int, cell: TrueCell, ours: Errors, result: CalibrationResult, nees: float, seconds: float) -> dict:
    n = len(cell.rig.cameras)
    mm, deg = ours.mm[-n:], ours.deg[-n:]
    each = "  ".join(f"{v} {m:5.2f} mm {d:.3f} deg" for v, m, d in zip(cell.rig.cameras, mm, deg))
    return {
        "cell": index,
        "mm": mm,
        "deg": deg,
        "nees": nees,
        "seconds": round(seconds, 2),
        "outliers": [o.text for o in result.outliers],
        "text": f"cell {index:2d}: {each}  NEES {nees:5.1f}/{6 * n}  {len(result.outliers)} outliers  {seconds:.1f} s",
    }


def _report(
    args: argparse.Namespace,
    methods: dict[str, Errors],
    nees: list[float],
    freedom: int,
    rows: list[dict],
    wall_s: float,
) -> dict:
    from scipy.stats import chi2

    table = {name: errors.summary() for name, errors in methods.items()}
    total = freedom * len(nees)
    band = [float(chi2.ppf(p, total) / total) for p in (0.025, 0.975)]
    mean = float(np.sum(nees) / total)
    ours = table[OURS]
    within = all(ours[f"{k}_mm"] <= mm and ours[f"{k}_deg"] <= deg for k, (mm, deg) in _BARS.items())
    settings = {
        k: str(v) if isinstance(v, Path) else v
        for k, v in vars(args).items()
        if isinstance(v, (str, int, float, Path)) and k not in ("json", "save")
    }
    return {
        "settings": settings,
        "opencv": cv2.__version__,
        "methods": table,
        "nees_per_freedom": mean,
        "nees_band_95": band,
        "passed": bool(within and band[0] <= mean <= band[1]),
        "cells": rows,
        "wall_s": round(wall_s, 1),
    }


def _table(report: dict) -> str:
    s = report["settings"]
    lines = [
        "",
        f"{s['cells']} random cells, {s['poses']} {s['choose']} poses, two fixed cameras and a wrist camera, "
        f"{s['image_size']}, "
        f"images {s['images']}, joint noise {s['joint_noise_deg']} deg",
        "error of the camera pose (position, rotation)",
        f"{'method':24s} {'n':>3s} {'median':>9s} {'worst':>9s} {'median':>10s} {'worst':>10s}",
    ]
    for name, e in report["methods"].items():
        lines.append(
            f"{name:24s} {e['n']:3d} {e['median_mm']:6.2f} mm {e['worst_mm']:6.2f} mm {e['median_deg']:6.3f} deg "
            f"{e['worst_deg']:6.3f} deg"
        )
    low, high = report["nees_band_95"]
    lines.append(
        f"normalised squared error per degree of freedom {report['nees_per_freedom']:.3f}; 95 % band {low:.3f} "
        f"to {high:.3f}"
    )
    if not any(name.startswith("OpenCV") for name in report["methods"]):
        lines.append(
            f"OpenCV {report['opencv']} for Python lacks calibrateHandEye (5.0.0 does): its five solvers need "
            "opencv-python 4.x"
        )
    lines.append(
        f"bars: median {_BARS['median']}, worst {_BARS['worst']} (mm, deg), NEES in its band: "
        f"{'PASSED' if report['passed'] else 'NOT PASSED'}   ({report['wall_s']} s)"
    )
    return "\n".join(lines)

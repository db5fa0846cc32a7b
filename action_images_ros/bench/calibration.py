"""Accuracy of the camera calibration against ground truth, on rendered images of random cells.

Every cell: two fixed cameras and one on the wrist, lenses with distortion, a ChArUco board on the gripper and
one on the table, blur, sensor noise, noisy joint readings. OpenCV's hand-eye solvers get the same images, one
camera at a time.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from ..calibration import CalibrationResult, Options, Sample, calibrate
from ..calibration.handeye import OPENCV_FIVE, Solver, hand_eye
from ..calibration.initial import hand_poses, seen_boards
from ..calibration.rig import moving
from ..calibration.session import CalibrationSession
from ..errors import CalibrationError, one_of
from ..geometry.se3 import so3_log
from .calibration_cell import TrueCell, operator_poses, random_cell
from .calibration_pictures import WORKSPACE, IdealCell, RenderedCell, load_samples, save_samples

OURS = "joint adjustment"
_FIRST = 6
_UNFINISHED = 3
_OF_PICTURES = (
    "poses",
    "seed",
    "image_size",
    "images",
    "choose",
    "joint_noise_deg",
    "pixel_noise",
    "blur_px",
    "sensor_noise",
)
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
    parser.add_argument("--through", choices=["core", "nodes"], default="core",
                        help="nodes: sim_cell and calibrator as processes over DDS; without OpenCV's solvers")
    parser.add_argument("--joint-noise-deg", type=float, default=0.05)
    parser.add_argument("--pixel-noise", type=float, default=0.1, help="px, for --images none")
    parser.add_argument("--blur-px", type=float, default=0.6)
    parser.add_argument("--sensor-noise", type=float, default=2.0, help="grey levels")
    parser.add_argument("--save", type=Path, help="keep the images and joints of the first cell here")
    parser.add_argument(
        "--keep",
        type=Path,
        help="folder for every cell's readings and detected points; cells found there are not "
        "rendered again, so that a long run can be cut into pieces",
    )
    parser.add_argument("--seconds", type=float, default=0.0, help="with --keep: end after so long; 0: never")
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
        if args.keep and args.seconds and time.monotonic() - began > args.seconds:
            print(f"{index} of {args.cells} cells are in {args.keep}; run again to go on", flush=True)
            return _UNFINISHED
        samples: list[Sample] = []
        if args.through == "nodes":
            cell, solving = random_cell(_rng(args, index), _size(args)), time.monotonic()
            result = _through_nodes(args, cell, index)
        else:
            cell, samples = _one_cell(args, index)
            solving = time.monotonic()
            result = calibrate(cell.rig, samples, cell.arm, Options())
        seconds = time.monotonic() - solving
        error = []
        for view in cell.rig.cameras:
            found = result.views[view].parent_T_camera
            methods[OURS].add(view, found, cell.cameras[view])
            error.append(pose_error(found, cell.cameras[view]))
        e = np.concatenate(error)
        nees.append(float(e @ np.linalg.solve(result.camera_covariance, e)))
        if samples:
            _solve_singly(cell, samples, methods)
        rows.append(_row(index, cell, methods[OURS], result, nees[-1], seconds))
        print(rows[-1]["text"], flush=True)
    report = _report(args, methods, nees, len(e), rows, time.monotonic() - began)
    print(_table(report))
    if args.json:
        args.json.write_text(json.dumps(report, indent=1) + "\n")
    return 0 if report["passed"] else 1


def _rng(args: argparse.Namespace, index: int) -> np.random.Generator:
    return np.random.default_rng([args.seed, index])


def _size(args: argparse.Namespace) -> tuple[int, int]:
    width, height = (int(v) for v in args.image_size.split("x"))
    return width, height


def _through_nodes(args: argparse.Namespace, cell: TrueCell, index: int) -> CalibrationResult:
    """Of a result that --keep has, that."""
    from ..calibration.store import StoredCalibration
    from .calibration_nodes import calibrate_through_nodes

    folder = (args.keep or Path("runs") / time.strftime("%Y%m%d-%H%M%S")) / f"nodes{index:02d}"
    stored = folder / "result" / "calibration.yaml"
    if stored.is_file():
        return StoredCalibration.load(stored).result
    guided = operator_poses(_rng(args, index + args.cells), cell, _FIRST)
    return calibrate_through_nodes(cell, guided, args.poses, folder, args.joint_noise_deg, args.blur_px,
                                   args.sensor_noise, index)


def _one_cell(args: argparse.Namespace, index: int) -> tuple[TrueCell, list[Sample]]:
    rng = _rng(args, index)
    cell = random_cell(rng, _size(args))
    kept = args.keep / f"cell{index:02d}.json" if args.keep else None
    if kept and kept.is_file():
        return cell, load_samples(kept, _settings(args))
    samples = _taken(args, cell, rng, index)
    if kept:
        save_samples(kept, samples, _settings(args))
    return cell, samples


def _taken(args: argparse.Namespace, cell: TrueCell, rng: np.random.Generator, index: int) -> list[Sample]:
    if args.images == "rendered":
        save = args.save if index == 0 else None
        camera: RenderedCell | IdealCell = RenderedCell(
            cell, rng, args.joint_noise_deg, args.blur_px, args.sensor_noise, save
        )
    else:
        camera = IdealCell(cell, rng, args.joint_noise_deg, args.pixel_noise)
    session = CalibrationSession(cell.rig, cell.arm, WORKSPACE, Options())
    first = operator_poses(rng, cell, args.poses if args.choose == "operator" else _FIRST)
    q = first[0]
    for k in range(3 * args.poses):
        if len(session.samples) == args.poses:
            break
        q = first[k] if k < len(first) else session.propose(q, rng).q
        session.add(camera.take(f"{k:02d}", q))
    camera.close()
    return session.samples


def _settings(args: argparse.Namespace) -> dict:
    """What the pictures depend on."""
    return {k: getattr(args, k) for k in _OF_PICTURES}


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
    return {
        "settings": {"cells": args.cells, **_settings(args)},
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
    if len(report["methods"]) > 1 and not any(name.startswith("OpenCV") for name in report["methods"]):
        lines.append(
            f"OpenCV {report['opencv']} for Python lacks calibrateHandEye (5.0.0 does): its five solvers need "
            "opencv-python 4.x"
        )
    lines.append(
        f"bars: median {_BARS['median']}, worst {_BARS['worst']} (mm, deg), NEES in its band: "
        f"{'PASSED' if report['passed'] else 'NOT PASSED'}   ({report['wall_s']} s)"
    )
    return "\n".join(lines)

"""Camera poses (and intrinsics) from pictures of boards and joint angles, all cameras in one adjustment.

  action-images calibrate board --board charuco:6x4:45/31mm:4X4_50 --out board.pdf
  action-images calibrate --images DIR --cell cell.yaml --board gripper=charuco:6x4:45/31mm:4X4_50 \\
      --out calibration.yaml --report report.html --write-cell calibrated_cell.yaml

  action-images calibrate --bag RECORDING --cell cell.yaml ...     # a pose for every rest of the arm

DIR holds one folder of pictures a view (DIR/left/00.png) and joints.csv (pose,q1,...,q7 in rad).
"""

from __future__ import annotations

import argparse
import datetime
import json
from pathlib import Path

from ..errors import CalibrationError

_SHOWN = 6


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from ..calibration import Correction, Intrinsics

    parser.add_argument("--images", type=Path, help="folder of pictures and joints")
    parser.add_argument("--bag", type=Path, help="recording with cameras and joint states, instead of --images")
    parser.add_argument("--cell", type=Path, help="cell file: names, serials and intrinsics of the fixed cameras")
    parser.add_argument(
        "--wrist",
        action="append",
        default=[],
        metavar="VIEW=FILE",
        help="a camera on the arm; FILE: YAML with serial, K, image_size, distortion, topic",
    )
    parser.add_argument(
        "--board",
        action="append",
        default=[],
        metavar="MOUNT=BOARD",
        help="gripper=... or table=..., e.g. gripper=charuco:6x4:45/31mm:4X4_50; one each",
    )
    parser.add_argument("--arm", default="fr3", help="name or serial of the arm, kept in the file (%(default)s)")
    parser.add_argument("--intrinsics", choices=[i.value for i in Intrinsics], default="checked")
    parser.add_argument("--joint-offsets", choices=[c.value for c in Correction], default="off")
    parser.add_argument(
        "--stamp-offset",
        choices=[c.value for c in Correction],
        default="off",
        help="needs dq1..dq7 in joints.csv and poses taken while the arm moves",
    )
    parser.add_argument(
        "--joint-noise-deg", type=float, default=0.05, help="expected scatter of each joint (%(default)s)"
    )
    parser.add_argument("--out", type=Path, help="calibration file to write")
    parser.add_argument("--report", type=Path, help="HTML report to write")
    parser.add_argument("--write-cell", type=Path, help="cell file to write, with the calibrated fixed cameras")
    parser.add_argument("--json", action="store_true", help="print the result as JSON instead of a table")
    commands = parser.add_subparsers(dest="calibrate_command", metavar="board")
    board = commands.add_parser("board", help="write a board as PNG or PDF at true scale")
    board.add_argument("--board", dest="pattern", required=True, metavar="BOARD")
    board.add_argument("--out", dest="picture", type=Path, required=True, help=".png or .pdf")
    board.add_argument("--dpi", type=float, default=300.0)
    board.add_argument("--margin-mm", type=float, default=10.0)


def run(args: argparse.Namespace) -> int:
    if args.calibrate_command == "board":
        return _print_board(args)
    if args.images is not None and args.bag is not None:
        raise CalibrationError("--images and --bag are both given; give one")
    for name in ("cell", "out") if args.bag else ("images", "cell", "out"):
        if getattr(args, name) is None:
            raise CalibrationError(
                f"--{name} is missing; action-images calibrate needs --images (or --bag), --cell, --board and --out"
            )
    return _calibrate(args)


def _print_board(args: argparse.Namespace) -> int:
    from ..calibration import Board
    from ..calibration.printing import save_board

    board = Board.parse(args.pattern)
    width, height = save_board(board, args.picture, args.dpi, args.margin_mm / 1e3)
    print(
        f"{args.picture}: {board.text}, {width:.1f} x {height:.1f} mm with its margin. Print at 100 %, glue it "
        "flat, and measure "
        f"the pattern: {1e3 * board.size_m[0]:.1f} x {1e3 * board.size_m[1]:.1f} mm"
    )
    return 0


def _calibrate(args: argparse.Namespace) -> int:
    from ..calibration import Correction, Intrinsics, Noise, Options, calibrate
    from ..calibration.folder import read_samples
    from ..calibration.report import html_report
    from ..calibration.store import StoredCalibration, calibrated_cell
    from ..cell import Calibrated, Cell
    from ..control.kinematics import Fr3Kinematics

    cell, arm = Cell.load(args.cell, Calibrated.OPTIONAL), Fr3Kinematics()
    rig, topics = _rig(args, cell)
    samples = []
    images: dict[str, dict] = {view: {} for view in rig.cameras}
    if args.bag:
        from .calibrate_bag import bag_samples

        found = bag_samples(args.bag, rig, topics, cell.arm)
    else:
        found = read_samples(args.images, rig)
    for sample, pictures in found:
        samples.append(sample)
        for view, picture in pictures.items():
            images[view][sample.name] = picture
    options = Options(
        Intrinsics(args.intrinsics),
        Correction(args.joint_offsets),
        Correction(args.stamp_offset),
        Noise(joint_sd_deg=args.joint_noise_deg),
    )
    result = calibrate(rig, samples, arm, options)
    stored = StoredCalibration(result, datetime.datetime.now().isoformat(timespec="seconds"))
    stored.save(args.out)
    if args.report:
        args.report.write_text(html_report(stored, samples, arm, images), encoding="utf-8")
    if args.write_cell:
        calibrated_cell(cell, stored).save(args.write_cell)
    print(json.dumps(_summary(stored), indent=1) if args.json else _table(stored, args))
    return 0


def _rig(args: argparse.Namespace, cell):
    import numpy as np

    from ..calibration import Board, BoardMount, CameraMount, Rig, RigBoard, RigCamera
    from ..yaml_tree import load_yaml

    topics = {v.name: v.topic for v in cell.views}
    lenses = {
        v.name: (v.camera.K, v.camera.image_size, v.camera.distortion) for v in cell.views if v.camera is not None
    }
    if args.bag:
        from .calibrate_bag import bag_lenses

        lenses = bag_lenses(args.bag, topics) | lenses
    for v in cell.views:
        if v.name not in lenses:
            raise CalibrationError(f"view {v.name}: no lens; write K and image_size in {args.cell}")
    cameras = {v.name: RigCamera(CameraMount.EYE_TO_HAND, v.serial, *lenses[v.name]) for v in cell.views}
    for text in args.wrist:
        view, _, path = text.partition("=")
        if not path:
            raise CalibrationError(f"--wrist is {text!r}; write VIEW=FILE, e.g. wrist=wrist.yaml")
        m = load_yaml(path).mapping(("serial", "K", "image_size"), ("distortion", "topic"))
        topics[view] = m["topic"].text() if "topic" in m else f"/camera/{view}"
        distortion = [d.number() for d in m["distortion"].items()] if "distortion" in m else []
        width, height = m["image_size"].numbers(2)
        cameras[view] = RigCamera(
            CameraMount.EYE_IN_HAND,
            m["serial"].text(),
            np.array(m["K"].numbers(9)).reshape(3, 3),
            (int(width), int(height)),
            np.array(distortion) if distortion else None,
        )
    boards = {}
    for text in args.board:
        mount, _, pattern = text.partition("=")
        if mount not in [m.value for m in BoardMount] or not pattern:
            raise CalibrationError(
                f"--board is {text!r}; write gripper=PATTERN or table=PATTERN, e.g. gripper=charuco:6x4:45/31mm:4X4_50"
            )
        boards[mount] = RigBoard(BoardMount(mount), Board.parse(pattern))
    return Rig(cameras, boards, args.arm), topics


def _summary(stored) -> dict:
    r = stored.result
    views = {
        name: {
            "serial": v.camera.serial,
            "mount": v.mount.value,
            "poses": v.poses,
            "points": v.points,
            "reproj_rms_px": v.reproj_rms_px,
            "held_out_mm": v.held_out_mm,
            "held_out_deg": v.held_out_deg,
            "workspace_sd_mm": v.workspace_sd_mm,
            "rotation_sd_deg": v.rotation_sd_deg,
            "translation_m": v.parent_T_camera[:3, 3].tolist(),
            "intrinsics": v.intrinsics,
        }
        for name, v in r.views.items()
    }
    return {
        "date": stored.date,
        "arm": r.arm,
        "method": r.method,
        "joint_sd_deg": r.correction.joint_sd_deg,
        "views": views,
        "outliers": [o.text for o in r.outliers],
        "notes": list(r.notes),
    }


def _table(stored, args: argparse.Namespace) -> str:
    r = stored.result
    lines = [
        r.method,
        f"{'view':10s} {'mount':12s} {'poses':>5s} {'reproj':>9s} {'left out, median / worst':>32s} "
        f"{'1 sd at the workspace':>24s}",
    ]
    for name, v in r.views.items():
        left = (
            f"{v.held_out_mm[0]:.2f} / {v.held_out_mm[1]:.2f} mm {v.held_out_deg[0]:.2f} / {v.held_out_deg[1]:.2f} deg"
        )
        sd = f"{v.workspace_sd_mm:.2f} mm {v.rotation_sd_deg:.3f} deg"
        lines.append(f"{name:10s} {v.mount.value:12s} {v.poses:5d} {v.reproj_rms_px:6.3f} px {left:>32s} {sd:>24s}")
    lines.append(f"scatter of joint readings {r.correction.joint_sd_deg:.3f} deg")
    lines += [f"{name}: {v.intrinsics}" for name, v in r.views.items() if v.intrinsics]
    lines += [*r.notes, *(o.text for o in r.outliers[:_SHOWN])]
    if len(r.outliers) > _SHOWN:
        lines.append(f"and {len(r.outliers) - _SHOWN} more outliers; see {args.out}")
    lines.append("wrote " + ", ".join(str(p) for p in (args.out, args.report, args.write_cell) if p))
    return "\n".join(lines)

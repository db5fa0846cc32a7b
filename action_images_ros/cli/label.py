"""Actions for videos that carry none: a model's mode `label` along calibrated videos, as a LeRobot data set of its own.

  action-images label data/videos --out data/labelled                                      a data set
  action-images label bag --cell cell.yaml --pose X Y Z QX QY QZ QW --out data/labelled    a bag without joint states
  action-images label episodes --cell cell.yaml --instruction TEXT --out data/labelled     <episode>/<view>.mp4

Every frame gets a pose, an opening and a confidence; the data set says which model said so. `action-images train` takes
no chunk that contains a frame below --min-confidence. Where the source knows the true trajectory (a data set with
states, a bag with joint states), it is not used but for the first frame, and the error against it is printed.

The model needs to be told where the tool is in the first frame: from the source, from start.json beside the videos
({"translation_m": [..], "quaternion_xyzw": [..], "openness": 1.0, "instruction": ".."}), or by --pose.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from ..ros.paths import config_file

_BANDS = (0.0, 0.25, 0.5, 0.75, 1.01)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("sources", type=Path, nargs="+", metavar="SOURCE", help="data set, bag, or videos")
    parser.add_argument("--out", type=Path, required=True, help="directory of the new data set")
    parser.add_argument("--model", type=config_file, default="models/reach", help="model directory (%(default)s)")
    parser.add_argument("--engine", default="auto", help="inference engine (%(default)s)")
    parser.add_argument("--cell", type=Path, help="cell file with the calibration, where the source has none")
    parser.add_argument("--instruction", default="", help="where the source says none")
    parser.add_argument("--pose", nargs=7, type=float, metavar=("X", "Y", "Z", "QX", "QY", "QZ", "QW"),
                        help="tool pose in the first frame, base frame")  # fmt: skip
    parser.add_argument("--openness", type=float, default=1.0, help="gripper in the first frame (%(default)s)")
    parser.add_argument("--fps", type=float, default=0.0, help="of frames out of bags (the slowest camera)")
    parser.add_argument("--min-confidence", type=float, default=0.5,
                        help="labels below are flagged, and not learnt from (%(default)s)")  # fmt: skip
    parser.add_argument("--tolerance", type=float, default=0.015, metavar="M",
                        help="expected error that has confidence 0.5 (%(default)s)")  # fmt: skip
    parser.add_argument("--repeats", type=int, default=4, help="labels a window (%(default)s)")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def run(args: argparse.Namespace) -> int:
    from ..cell import Cell
    from ..errors import ConfigError, DatasetError
    from ..policy import ActionImagePolicy
    from ..recording.convert import STAGING
    from ..recording.footage import find_footage
    from ..recording.lerobot_layout import INFO
    from ..recording.recorded import ReadRules
    from ..training.labelling import Labeller
    from .dataset import make_fk

    if not 0 <= args.min_confidence <= 1:
        raise ConfigError(f"--min-confidence is {args.min_confidence:g}; legal: 0 to 1")
    if (args.out / INFO).exists():
        raise DatasetError(f"{args.out} is a data set already; choose another --out")
    for source in args.sources:
        if not source.exists():
            raise DatasetError(f"{source} does not exist; give a data set, a bag or a folder of videos")
    policy = ActionImagePolicy.from_pretrained(args.model, engine=args.engine)
    labeller = Labeller(policy, args.tolerance, args.repeats)
    rules = ReadRules(Cell.load(args.cell) if args.cell else None, " ".join(args.instruction.split()))
    staged: list = []
    errors: list = []
    staging = args.out / STAGING
    shutil.rmtree(staging, ignore_errors=True)
    for source in args.sources:
        for footage in find_footage(source, rules, args.fps, make_fk()):
            one, error = _episode(args, policy, labeller, footage, staging / f"{len(staged):06d}")
            staged.append(one)
            errors.append(error)
            if not args.json:
                print(_line(one.about, error), flush=True)
    summary = _finish(args, staged, errors)
    print(json.dumps(summary, indent=1) if args.json else _text(summary))
    return 0


def _episode(args: argparse.Namespace, policy, labeller, footage, folder: Path) -> tuple[Any, dict | None]:
    from ..errors import DatasetError
    from ..model.frames import model_image
    from ..recording.lerobot_layout import Staged
    from ..recording.video import read_frames

    folder.mkdir(parents=True)
    footage.save(folder)
    size = policy.config.image_size
    seen = [np.stack([model_image(f, size) for f in read_frames(folder / f"{v}.mp4")]) for v in footage.cameras]
    if {len(s) for s in seen} != {footage.frames}:
        raise DatasetError(f"{footage.source}: videos have {[len(s) for s in seen]} frames, not {footage.frames}")
    if len(seen) != policy.config.views:
        raise DatasetError(f"{footage.source} has {len(seen)} views, the model takes {policy.config.views}")
    images = np.stack(seen, axis=1)
    labels = labeller.label(images, tuple(footage.cameras.values()), footage.fps, footage.instruction,
                            _start(args, footage))  # fmt: skip
    about = _write(args, footage, labels, seen, folder)
    return Staged(folder, about), _errors(labels, footage.truth)


def _start(args: argparse.Namespace, footage):
    from ..errors import ConfigError
    from ..geometry.se3 import make, matrix_from_quat
    from ..training.labelling import Start

    if args.pose is not None:
        if not 0 <= args.openness <= 1:
            raise ConfigError(f"--openness is {args.openness:g}; legal: 0 (closed) to 1 (open)")
        return Start(make(matrix_from_quat(np.array(args.pose[3:])), np.array(args.pose[:3])), args.openness)
    if footage.start is None:
        raise ConfigError(f"{footage.source} does not say where the tool is in its first frame; give --pose "
                          "(and --openness), or start.json beside the videos")  # fmt: skip
    return Start(*footage.start)


def _write(args: argparse.Namespace, footage, labels, seen: list[np.ndarray], folder: Path) -> dict:
    """columns.npz and episode.json of a staged episode."""
    from ..recording import action_vector, statistics
    from ..recording.lerobot_layout import CONFIDENCE, ERROR

    state = action_vector.vectors(labels.base_T_tcps, labels.openness).astype(np.float32)
    n = footage.frames
    columns: dict[str, np.ndarray] = {
        "observation.state": state, "action": np.concatenate([state[1:], state[-1:]]),
        CONFIDENCE: labels.confidence.astype(np.float32), ERROR: labels.error_m.astype(np.float32),
        "observation.stamp_ns": np.round(np.arange(n) * 1e9 / footage.fps).astype(np.int64),
        "control_source": np.zeros(n, np.int64), "next.done": np.arange(n) == n - 1,
    }  # fmt: skip
    arrays: dict[str, Any] = columns
    np.savez(folder / "columns.npz", **arrays)
    stats = {k: statistics.of_values(v) for k, v in columns.items()}
    stats |= {f"observation.images.{v}": statistics.of_pictures(list(s[:: max(1, n // 20)]))
              for v, s in zip(footage.cameras, seen)}  # fmt: skip
    about = {
        "bag": footage.source, "instruction": footage.instruction, "success": footage.success, "frames": n,
        "calibration": footage.calibration, "cell": footage.cell, "sources": [], "fps": footage.fps,
        "doubtful": _runs(labels.confidence < args.min_confidence), "stats": statistics.plain(stats),
    }  # fmt: skip
    (folder / "episode.json").write_text(json.dumps(about), encoding="utf-8")
    return about


def _runs(flags: np.ndarray) -> list[list[int]]:
    """[first, behind the last] of every run of flagged frames."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags, [0]])))
    return [[int(a), int(b)] for a, b in zip(edges[::2], edges[1::2])]


def _errors(labels, truth) -> dict | None:
    """Against the true trajectory, of all frames but the given first one."""
    from ..metrics.actions import angle_error_rad, position_error_m

    if truth is None:
        return None
    return {"mm": 1e3 * position_error_m(truth[0], labels.base_T_tcps)[1:],
            "deg": np.degrees(angle_error_rad(truth[0], labels.base_T_tcps))[1:],
            "gripper": (np.abs(truth[1] - labels.openness) > 0.5)[1:], "confidence": labels.confidence[1:]}  # fmt: skip


def _finish(args: argparse.Namespace, staged: list, errors: list) -> dict:
    from ..errors import DatasetError
    from ..recording import action_vector
    from ..recording.lerobot_layout import write_dataset
    from ..recording.provenance import model_hash

    rates = {e.about["fps"] for e in staged}
    shapes = {json.dumps({v: c["image_size"] for v, c in e.about["calibration"].items()}) for e in staged}
    if len(rates) > 1 or len(shapes) > 1:
        raise DatasetError(f"sources have frame rates {sorted(rates)} and views {sorted(shapes)}; label them into data "
                           "sets of their own")  # fmt: skip
    labelled = {"model": str(args.model), "model_sha256": model_hash(args.model), "repeats": args.repeats,
                "tolerance_m": args.tolerance, "min_confidence": args.min_confidence}  # fmt: skip
    contract = {"version": 1, "fps": rates.copy().pop(), "views": list(staged[0].about["calibration"]),
                "base_frame": "fr3_link0", "tcp_frame": "fr3_hand_tcp", "labelled": labelled,
                "action": action_vector.contract()}  # fmt: skip
    splits = {"train": f"0:{len(staged)}"}
    frames = write_dataset(args.out, staged, splits, contract["fps"], "h264", contract)
    doubtful = sum(b - a for e in staged for a, b in e.about["doubtful"])
    summary = {"out": str(args.out), "episodes": len(staged), "frames": frames, "doubtful_frames": doubtful,
               "labelled": labelled}  # fmt: skip
    known = [e for e in errors if e is not None]
    if known:
        every = {k: np.concatenate([e[k] for e in known]) for k in known[0]}
        summary["against_truth"] = [_band(every, a, b) for a, b in zip(_BANDS, _BANDS[1:])]
        summary["against_truth"].append(_band(every, args.min_confidence, 1.01))
    return summary


def _band(every: dict, low: float, high: float) -> dict:
    found = (every["confidence"] >= low) & (every["confidence"] < high)
    out = {"confidence": [low, min(high, 1.0)], "frames": int(found.sum())}
    if found.any():
        out |= {"mean_mm": round(float(every["mm"][found].mean()), 1),
                "p90_mm": round(float(np.quantile(every["mm"][found], 0.9)), 1),
                "mean_deg": round(float(every["deg"][found].mean()), 1),
                "gripper_wrong": round(float(every["gripper"][found].mean()), 3)}  # fmt: skip
    return out


def _line(about: dict, error: dict | None) -> str:
    doubtful = sum(b - a for a, b in about["doubtful"])
    line = f"{about['bag']}: {about['frames']} frames, {doubtful} doubtful"
    off = "" if error is None else f"; {error['mm'].mean():.1f} mm, {error['deg'].mean():.1f} deg off the truth"
    return line + off


def _text(s: dict) -> str:
    lines = [f"{s['out']}: {s['episodes']} episodes, {s['frames']} frames labelled by {s['labelled']['model']}, "
             f"{s['doubtful_frames']} of them doubtful (confidence below {s['labelled']['min_confidence']:g})"]
    if "against_truth" in s:
        lines.append(f"{'confidence':>12s} {'frames':>7s} {'mean mm':>8s} {'90 % mm':>8s} {'mean deg':>9s}")
        for b in s["against_truth"]:
            if b["frames"]:
                low, high = b["confidence"]
                lines.append(f"{low:5.2f} - {high:4.2f} {b['frames']:7d} {b['mean_mm']:8.1f} {b['p90_mm']:8.1f} "
                             f"{b['mean_deg']:9.1f}")
    return "\n".join(lines)



"""Audit recordings and convert them into one LeRobot data set (version 3.0: Parquet and MP4) with its calibrations.

  action-images dataset recordings --out data/my_cell                  every bag in recordings/
  action-images dataset bag1 bag2.mcap old.db3 --cell cell.yaml --out data/my_cell
  action-images dataset droid_100 --map droid --calibrations K.json --out data/droid      another's LeRobot data set

Run the same command again to go on after an interruption, or with more bags to add them. A bag that cannot be converted
is named with the reason and left out as a whole; the exit status is then 1.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from functools import lru_cache
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bags", type=Path, nargs="+", metavar="BAG", help="bag, .mcap, .db3, or a directory of bags")
    parser.add_argument("--out", type=Path, required=True, help="directory of the data set")
    parser.add_argument("--cell", type=Path, help="cell file to use instead of the one in the bags")
    parser.add_argument("--instruction", default="", help="for bags that say none")
    parser.add_argument("--fps", type=float, default=0.0, help="frames a second (the slowest camera)")
    parser.add_argument("--video", choices=["h264", "lossless"], default="h264", help="(%(default)s)")
    parser.add_argument("--keep", choices=["all", "not_failed", "success"], default="all",
                        help="episodes by their marks (%(default)s)")  # fmt: skip
    parser.add_argument("--validation", type=float, default=0.1, help="share of bags held out (%(default)s)")
    parser.add_argument("--max-gap", type=float, default=0.5, metavar="S",
                        help="longest pause within an episode (%(default)s)")  # fmt: skip
    parser.add_argument("--workers", type=int, default=1, help="processes (%(default)s)")
    parser.add_argument("--ray", metavar="ADDRESS", nargs="?", const="auto",
                        help="run on the Ray cluster there (auto: the one that RAY_ADDRESS or this machine knows)")
    parser.add_argument("--map", help="what the columns of another's LeRobot data set mean: droid, or a YAML file")
    parser.add_argument("--calibrations", type=Path, metavar="JSON", help="of --map: K and poses by episode and view")
    parser.add_argument("--report", type=Path, help="HTML audit (default: OUT/report.html)")
    parser.add_argument("--no-report", action="store_true", help="leave the report out")
    parser.add_argument("--samples", type=int, default=6, help="episodes drawn in the report (%(default)s)")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def run(args: argparse.Namespace) -> int:
    from ..cell import Cell
    from ..recording.convert import ConvertConfig, Keep, convert, find_bags
    from ..recording.dataset_report import write_report
    from ..recording.executors import Processes, RayCluster
    from ..recording.lerobot_import import load_map
    from ..recording.recorded import ReadRules

    cell = Cell.load(args.cell) if args.cell else None
    rules = ReadRules(cell, " ".join(args.instruction.split()), args.max_gap)
    config = ConvertConfig(args.out, args.fps, args.video, args.validation, Keep(args.keep), rules,
                           load_map(args.map) if args.map else None, args.calibrations)  # fmt: skip
    execute = RayCluster(args.ray) if args.ray else Processes(args.workers)
    began_s = time.monotonic()

    def progress(bag: Path, what: str, done: int, total: int) -> None:
        print(f"{done}/{total} {bag}: {what}", file=sys.stderr if args.json else sys.stdout, flush=True)

    result = convert(find_bags(args.bags), config, make_fk, progress, execute)
    took_s = time.monotonic() - began_s
    report = None if args.no_report else (args.report or args.out / "report.html")
    if report is not None:
        write_report(report, args.out, result, args.samples)
    recorded_s = sum(e.about["audit"]["duration_s"] for e in result.episodes)
    summary = {
        "out": str(args.out), "episodes": len(result.episodes), "frames": result.frames, "fps": result.fps,
        "splits": result.splits, "recorded_s": round(recorded_s, 2), "took_s": round(took_s, 2),
        "reused_bags": result.reused, "left_out_by_marks": result.left_out, "skipped": result.skipped,
        "report": str(report) if report else "",
    }  # fmt: skip
    print(json.dumps(summary, indent=1) if args.json else _text(summary))
    return 1 if result.skipped else 0


@lru_cache
def make_fk():
    """Forward kinematics of the FR3."""
    from ..control import Fr3Kinematics

    return Fr3Kinematics().fk


def _text(s: dict) -> str:
    lines = [
        f"{s['out']}: {s['episodes']} episodes, {s['frames']} frames at {s['fps']:g}/s, {s['recorded_s']:.0f} s "
        f"recorded, converted in {s['took_s']:.0f} s ({s['reused_bags']} bags were there already); splits "
        + ", ".join(f"{k} {v}" for k, v in s["splits"].items())
    ]
    if s["left_out_by_marks"]:
        lines.append(f"{s['left_out_by_marks']} episodes left out by their marks (--keep)")
    lines += [f"skipped {bag}: {why}" for bag, why in s["skipped"].items()]
    return "\n".join([*lines, f"audit: {s['report']}"] if s["report"] else lines)

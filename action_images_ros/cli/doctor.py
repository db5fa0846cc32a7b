"""`action-images doctor`: is this machine ready, and with --cell the cell too; if not, what mends it.

With --cell it also reads the cell file and its calibration, loads the inference engine, and listens to the running
cell: cameras, how well they match, joint states, clocks. It moves nothing. Exit status 0 when nothing failed
(warnings may remain), 1 otherwise.
"""

from __future__ import annotations

import argparse
import datetime
import json
from collections.abc import Iterator
from pathlib import Path

from ..ros.paths import config_file
from .cell_checks import check_arm_port, check_calibration, check_engine, check_live, check_views, load_cell
from .checks import (
    Finding,
    Level,
    check_clock,
    check_engines,
    check_models,
    check_opencv,
    check_packages,
    check_python,
    check_rendering,
    check_ros,
    check_space,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", type=Path, metavar="DIR", help="a model directory (default: the shipped ones)")
    parser.add_argument("--cell", type=Path, metavar="FILE", help="check this cell too")
    parser.add_argument("--seconds", type=float, default=4.0, metavar="S",
                        help="with --cell: listen to the running cell for so long (default 4; 0: do not listen)")
    parser.add_argument("--arm", metavar="HOST[:PORT]", help="check that the arm's control port answers")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def run(args: argparse.Namespace) -> int:
    findings = []
    for finding in _findings(args):
        findings.append(finding)
        if not args.json:
            print(f"{finding.level.value:4}  {finding.name:18} {finding.detail}", flush=True)
            if finding.remedy:
                print(f"{'':25}-> {finding.remedy}", flush=True)
    failed = sum(finding.level is Level.FAIL for finding in findings)
    if args.json:
        print(json.dumps([{"name": f.name, "level": f.level.value, "detail": f.detail, "remedy": f.remedy}
                          for f in findings], indent=2))
    else:
        print(f"{failed} failed" if failed else "ready")
    return 1 if failed else 0


def _findings(args: argparse.Namespace) -> Iterator[Finding]:
    for check in (check_python, check_packages, check_opencv, check_engines, check_rendering, check_ros, check_space,
                  check_clock):
        yield from check()
    yield from check_models(args.model)
    if args.arm:
        yield from check_arm_port(args.arm)
    if args.cell:
        yield from _cell_findings(args)


def _cell_findings(args: argparse.Namespace) -> Iterator[Finding]:
    model = args.model or config_file("models/reach")
    cell, finding = load_cell(args.cell)
    yield finding
    yield from check_engine(model)
    if cell is None:
        return
    yield from check_views(cell, model)
    yield from check_calibration(cell, datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None))
    if args.seconds > 0:
        yield from check_live(cell, args.seconds)

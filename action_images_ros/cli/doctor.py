"""`action-images doctor`: is this machine ready, and if not, what mends it.

Exit status 0 when nothing failed (warnings may remain), 1 otherwise.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

from .checks import (
    Finding,
    Level,
    check_cell,
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
    parser.add_argument("--cell", type=Path, metavar="FILE", help="look at this cell file too")
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
    if args.cell:
        yield from check_cell(args.cell)

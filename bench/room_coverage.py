"""Statement coverage of the pure rooms by the unit, property and contract tests; exits 1 where a room is below LEAST.

`./run coverage` calls it. Arguments go to pytest; `--of FILE` only judges a report that `coverage json` wrote.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT / "runs" / "coverage"
LEAST = 90.0

ROOMS = (
    "errors", "interrupts", "geometry", "types", "yaml_tree", "cell", "cell_calibration", "camera_settings", "streams",
    "cameras", "codec", "model", "engines", "control", "calibration", "recording", "metrics", "pictures",
    "trajectory_csv", "policy", "training", "sim", "overlay", "arm", "console", "viewing",
)  # fmt: skip

_CUDA = "needs an NVIDIA GPU; test/unit/engines/test_cuda.py runs it where there is one"
_TENSORRT = "runs a TensorRT engine on an NVIDIA GPU; `action-images compile` verifies it there"

EXCLUDED = {
    "arm/strict_server.py": "runs in the environment of the strict simulator alone (test/system/test_franka_arm.py)",
    "engines/attention.py:_milliseconds": _CUDA,
    "engines/attention.py:measured": _CUDA,
    "engines/plans.py:PlanDenoiser._make_runner.run": _TENSORRT,
    "engines/plans_wan.py:engine_denoiser": _TENSORRT,
    "engines/resident.py:_captured": _CUDA,
    "engines/tensorrt_api.py:Graph.__call__": _TENSORRT,
}
"""File, or file:function, below the package that these tests cannot run, and why. Everything else counts."""


@dataclass
class Tally:
    """Statements of a room, or of what is excluded."""

    statements: int = 0
    covered: int = 0

    def add(self, summary: dict, sign: int = 1) -> None:
        self.statements += sign * summary["num_statements"]
        self.covered += sign * summary["covered_lines"]

    @property
    def percent(self) -> float:
        return 100.0 * self.covered / self.statements if self.statements else 100.0


def tallies(report: dict, excluded: dict[str, str]) -> tuple[dict[str, Tally], dict[str, Tally]]:
    """By room, and by entry of `excluded`. report: of `coverage json`. KeyError where an entry names nothing."""
    files = {name.split("action_images_ros/", 1)[1]: file for name, file in report["files"].items()}
    rooms = {room: Tally() for room in ROOMS}
    for name, file in files.items():
        room = name.split("/")[0].removesuffix(".py")
        if room in rooms:
            rooms[room].add(file["summary"])
    left_out = {}
    for entry in excluded:
        name, _, function = entry.partition(":")
        summary = files[name]["functions"][function]["summary"] if function else files[name]["summary"]
        rooms[name.split("/")[0].removesuffix(".py")].add(summary, -1)
        left_out[entry] = Tally()
        left_out[entry].add(summary)
    return rooms, left_out


def judge(report: dict, excluded: dict[str, str] = EXCLUDED) -> int:
    """Print the table; 1 where a room is below LEAST."""
    rooms, left_out = tallies(report, excluded)
    print(f"{'room':18}{'statements':>12}{'covered':>10}{'%':>8}")
    for room, t in rooms.items():
        print(f"{room:18}{t.statements:12}{t.covered:10}{t.percent:8.1f}" + "  BELOW" * (t.percent < LEAST))
    print(f"\nnot counted: {sum(t.statements for t in left_out.values())} statements")
    for entry, t in left_out.items():
        print(f"  {entry}, {t.statements} statements: {excluded[entry]}")
    below = [room for room, t in rooms.items() if t.percent < LEAST]
    print(f"\nbelow {LEAST:g} %: {', '.join(below) or 'none'}")
    return int(bool(below))


def all_passed(told: Path) -> bool:
    """Whether pytest ended without a failure: rclpy may crash afterwards, when a measured interpreter ends."""
    if not told.is_file():
        return False
    suites = list(ElementTree.parse(told).getroot().iter("testsuite"))
    return bool(suites) and all(s.get("failures") == "0" == s.get("errors") for s in suites)


def measure(arguments: list[str]) -> Path:
    """Run the tests, or only those whose paths `arguments` name; the report. SystemExit where one fails."""
    DATA.mkdir(parents=True, exist_ok=True)
    data, report = f"--data-file={DATA / '.coverage'}", DATA / "coverage.json"
    coverage = [sys.executable, "-m", "coverage"]
    subprocess.run([*coverage, "erase", data], cwd=ROOT, check=True)
    named = any((ROOT / argument.split("::")[0]).exists() for argument in arguments)
    tests = [] if named else ["test/unit", "test/property", "test/contract"]
    same_examples = os.environ | {"CI": "1"}
    told = DATA / "tests.xml"
    told.unlink(missing_ok=True)
    run = [*coverage, "run", data, "-m", "pytest", f"--junitxml={told}", *tests, *arguments]
    ran = subprocess.run(run, cwd=ROOT, env=same_examples)
    if ran.returncode > 0 or ran.returncode < 0 and not all_passed(told):
        sys.exit(ran.returncode)
    subprocess.run([*coverage, "combine", "--quiet", data], cwd=ROOT, check=True)
    subprocess.run([*coverage, "json", "--quiet", data, f"-o{report}"], cwd=ROOT, check=True)
    return report


if __name__ == "__main__":
    given = sys.argv[1:]
    report = Path(given[1]) if given[:1] == ["--of"] else measure(given)
    sys.exit(judge(json.loads(report.read_text(encoding="utf-8"))))

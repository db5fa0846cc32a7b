"""A policy's motion on an arm by libfranka, in front of a simulator that raises the FR3's own reflexes.

The controller and franka_arm run as they do on a real cell; a policy that goes round a closed curve sends chunks with
random errors and random latency. The simulator enforces communication constraints and motion limits, and records
every millisecond of what it was told: the table is from that record.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from ..control import FR3_HOME_Q, FR3_LIMITS
from ..errors import ConfigError

_SLOWEST = 0.05
_GO_HOME_S = 4.0


@dataclass(frozen=True)
class ArmResult:
    """One run. robot_s: time in motion; of_real_time: how fast the simulator ran; accelerations and jerk over the FR3's
    own limits; travel_rad: of the joint that moved most."""

    robot_s: float
    of_real_time: float
    chunks: int
    accepted: int
    joint_states_hz: float
    success_rate_mean: float
    success_rate_min: float
    lost_cycles: int
    lost_in_a_row: int
    velocity_of_limit: float
    acceleration_of_limit: float
    jerk_of_limit: float
    jerk_rms: float
    travel_rad: float
    starts: int
    reflexes: int
    violations: int


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seconds", type=float, default=60.0, help="robot time to stream for (default 60)")
    parser.add_argument(
        "--latency",
        type=float,
        nargs=2,
        default=(0.1, 0.6),
        metavar=("MIN", "MAX"),
        help="of a chunk (default 0.1 0.6)",
    )
    parser.add_argument("--noise-mm", type=float, default=5.0, help="sd of a chunk's error at its end (default 5)")
    parser.add_argument("--seed", type=int, default=0, help="of errors and latencies (default 0)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the table as JSON")


def run(args: argparse.Namespace) -> int:
    from ..ros.runner import separate_graph

    if not 1.0 <= args.seconds <= 3600.0 or not 0.0 <= args.latency[0] <= args.latency[1] <= 2.0:
        raise ConfigError(f"--seconds {args.seconds} (1 to 3600), --latency {args.latency} (0 <= min <= max <= 2)")
    separate_graph()
    with tempfile.TemporaryDirectory(prefix="bench-arm-") as folder:
        result = measure(Path(folder), args.seconds, tuple(args.latency), 1e-3 * args.noise_mm, args.seed)
    for name, value in asdict(result).items():
        print(f"{name:24s} {value:10.3f}" if isinstance(value, float) else f"{name:24s} {value:10d}")
    if args.json:
        args.json.write_text(json.dumps(asdict(result), indent=2) + "\n", encoding="utf-8")
    return 0 if result.reflexes == result.violations == 0 else 1


def measure(
    folder: Path, seconds: float, latency_s: tuple[float, float], noise_m: float, seed: int, address: str = "127.0.0.9"
) -> ArmResult:
    """Stream for `seconds` of robot time. folder: for cell file, logs and the simulator's record."""
    from ..arm.strict import StrictArm
    from ..ros.arm_lab import running_arm_lab
    from .seams import EndlessPolicy

    cell_file = write_cell(folder / "cell.yaml")
    with StrictArm(folder / "arm", address) as arm, running_arm_lab(cell_file, address, folder / "log") as lab:
        lab.go_to(FR3_HOME_Q, _GO_HOME_S)
        policy = EndlessPolicy(noise_m, np.random.default_rng(seed))
        lab.enable()
        first, began_s, before = len(arm.cycles()), time.monotonic(), len(lab.states)
        lab.play(policy.observe, latency_s, seed)
        deadline_s = began_s + seconds / _SLOWEST
        while _in_motion_s(arm.cycles()[first:]) < seconds and time.monotonic() < deadline_s and not arm.aborts():
            lab.operator.spin_for(1.0)
            _progress(_in_motion_s(arm.cycles()[first:]), seconds)
        took_s, states = time.monotonic() - began_s, len(lab.states) - before
        lab.operator.spin_for(1.5)
        lab.hold()
        return _result(arm, arm.cycles()[first:], lab, took_s, states)


def _in_motion_s(cycles: np.ndarray) -> float:
    return 1e-3 * int((cycles["in_motion"] > 0).sum())


def _progress(done_s: float, seconds: float) -> None:
    if sys.stderr.isatty():
        print(f"\r{done_s:5.0f} of {seconds:g} s", end="", file=sys.stderr, flush=True)


def _result(arm, cycles: np.ndarray, lab, took_s: float, states: int) -> ArmResult:
    from ..arm.strict import commanded_motion

    motion, aborts = commanded_motion(cycles), arm.aborts()
    violations = sum("communication" in reason for reason in aborts)
    moving = cycles[cycles["in_motion"] > 0]
    return ArmResult(
        robot_s=1e-3 * motion.cycles,
        of_real_time=1e-3 * len(cycles) / took_s,
        chunks=lab.chunks,
        accepted=int(lab.operator.value("controller: control", "chunks_accepted")),
        joint_states_hz=states / took_s,
        success_rate_mean=float(moving["success_rate"][100:].mean()),
        success_rate_min=motion.success_rate,
        lost_cycles=motion.lost,
        lost_in_a_row=motion.lost_in_a_row,
        velocity_of_limit=float((np.abs(moving["dq_d"]) / FR3_LIMITS.dq_max).max()),
        acceleration_of_limit=motion.acceleration / float(FR3_LIMITS.ddq_max[0]),
        jerk_of_limit=motion.jerk / float(FR3_LIMITS.dddq_max[0]),
        jerk_rms=motion.jerk_rms,
        travel_rad=float(np.abs(np.diff(moving["q"], axis=0)).sum(axis=0).max()),
        starts=int(lab.operator.value("franka_arm: arm", "starts")),
        reflexes=len(aborts) - violations,
        violations=violations,
    )


def write_cell(path: Path) -> Path:
    """A cell with two cameras that nobody renders, and room for the policy's curve."""
    from ..cell import Calibration, Cell, View, WorkspaceBox
    from ..geometry import PinholeCamera

    K = np.array([[300.0, 0.0, 159.5], [0.0, 300.0, 119.5], [0.0, 0.0, 1.0]])
    pose = np.diag([1.0, -1.0, -1.0, 1.0])
    none = Calibration("2026-01-01", "no camera: a benchmark of the arm", 0.0)
    views = []
    for k, name in enumerate(("left", "right")):
        pose[:3, 3] = (0.5, 0.2 - 0.4 * k, 1.2)
        views.append(View(name, f"/camera/{name}", f"none-{name}", PinholeCamera(K, (320, 240), pose.copy()), none))
    path.parent.mkdir(parents=True, exist_ok=True)
    Cell("bench", tuple(views), WorkspaceBox((0.15, -0.6, 0.05), (0.85, 0.6, 0.9))).save(path)
    return path

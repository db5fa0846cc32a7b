"""Noticing a knocked camera in normal operation, without a board: delay, size, and false alarms.

The arm goes from one random waypoint to the next in the simulated cell. Knocks: one camera is moved by
--knock-mm in a random direction, or turned by --knock-deg about a random axis. False alarms: nothing is moved.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from ..calibration.calibrate import WORKSPACE_M
from ..calibration.drift import DriftMonitor, DriftState, DriftStatus
from ..calibration.robot_model import RobotModel
from ..errors import CalibrationError
from ..geometry import PinholeCamera, so3_exp
from ..geometry.se3 import make

_SPEED_RAD_S = 0.6
_BLUR_PX = 0.6
_NOISE = 2.0
_QUIET_MINUTES = 5.0
_UNFINISHED = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--knocks", type=int, default=12, help="cells, each with one knocked camera")
    parser.add_argument("--quiet-minutes", type=float, default=30.0, help="of operation without a knock")
    parser.add_argument("--knock-mm", type=float, default=5.0)
    parser.add_argument("--knock-deg", type=float, default=0.5)
    parser.add_argument("--frame-hz", type=float, default=1.0)
    parser.add_argument("--image-size", default="640x480")
    parser.add_argument("--joint-noise-deg", type=float, default=0.05)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--keep", type=Path, help="file that keeps every trial, so that a long run can be cut into pieces"
    )
    parser.add_argument("--seconds", type=float, default=0.0, help="with --keep: end after so long; 0: never")
    parser.add_argument("--json", type=Path)


@dataclass(frozen=True)
class Knock:
    """One trial. kind: what was done; delay_s: until the alarm, None: none in a minute; blamed: views that alarmed."""

    cell: int
    kind: str
    view: str
    delay_s: float | None
    blamed: tuple[str, ...]
    text: str


class Operation:
    """An arm at work in a simulated cell, seen by noisy cameras."""

    def __init__(
        self, rng: np.random.Generator, image_size: tuple[int, int], views: int = 2, joint_noise_deg: float = 0.05
    ):
        from ..sim.cell import SimCell, SimCellConfig
        from ..sim.episodes import sample_setting
        from ..sim.split import Split
        from ..sim.tasks import make_task

        names = ("left", "right", "front")[:views]
        self._rng, self._noise = rng, np.deg2rad(joint_noise_deg)
        self.sim = SimCell(SimCellConfig(names, image_size))
        scene, self.cameras = sample_setting(
            make_task("reach_target"), rng, Split.TEST, self.sim.kinematics, views, image_size
        )
        self.sim.place_cameras(self.cameras)
        self.sim.reset(scene)
        self._start, self._steps = np.array(scene.q_start), self._path(np.array(scene.q_start))

    def robot(self) -> RobotModel:
        from ..sim.world import robot_file

        return RobotModel.from_urdf(robot_file().with_name("fr3.urdf"))

    def move_camera(self, view: str, camera: PinholeCamera) -> None:
        self.sim.place_cameras({**self.sim.cameras, view: camera})

    def frames(self, seconds: float, frame_hz: float) -> Iterator[tuple[float, np.ndarray, dict[str, np.ndarray]]]:
        """Time (s), joint reading (7,) and a picture of each view, at the frame rate."""
        for k in range(int(seconds * frame_hz)):
            q = next(self._steps)(1.0 / frame_hz)
            self.sim.teleport(q, 0.04)
            reading = q + self._rng.normal(0, self._noise, 7)
            yield k / frame_hz, reading, {view: self._picture(view) for view in self.cameras}

    def _picture(self, view: str) -> np.ndarray:
        image = cv2.GaussianBlur(self.sim.render(view), (0, 0), _BLUR_PX).astype(np.float32)
        noisy = image + _NOISE * self._rng.standard_normal(image.shape, np.float32)
        return np.rint(np.clip(noisy, 0, 255)).astype(np.uint8)

    def _path(self, q: np.ndarray):
        """Yields functions of the time step that advance towards random waypoints at a joint speed."""
        spread = np.array([0.5, 0.35, 0.4, 0.4, 0.5, 0.5, 0.8])
        goal, now = q, q.copy()

        def advance(dt_s: float) -> np.ndarray:
            nonlocal goal, now
            far = np.abs(goal - now).max()
            if far < 1e-6:
                goal = self._waypoint(spread)
                far = np.abs(goal - now).max()
            now = now + (goal - now) * min(1.0, _SPEED_RAD_S * dt_s / far)
            return now

        while True:
            yield advance

    def _waypoint(self, spread: np.ndarray) -> np.ndarray:
        kinematics = self.sim.kinematics
        while True:
            q = np.clip(self._start + self._rng.uniform(-1, 1, 7) * spread, kinematics.lower, kinematics.upper)
            p = kinematics.fk(q)[:3, 3]
            if 0.3 < p[0] < 0.7 and abs(p[1]) < 0.35 and 0.08 < p[2] < 0.6:
                return q


def knocked(rng: np.random.Generator, camera: PinholeCamera, mm: float, deg: float) -> PinholeCamera:
    """The camera moved by mm and turned by deg, each about a random direction."""
    along, about = (v / np.linalg.norm(v) for v in rng.normal(size=(2, 3)))
    T = camera.base_T_camera
    moved = make(so3_exp(np.deg2rad(deg) * about) @ T[:3, :3], T[:3, 3] + 1e-3 * mm * along)
    return PinholeCamera(camera.K, camera.image_size, moved, camera.distortion)


def monitors(operation: Operation) -> dict[str, DriftMonitor]:
    robot = operation.robot()
    return {v: DriftMonitor(v, c, robot, np.array(WORKSPACE_M)) for v, c in operation.cameras.items()}


def watch(
    operation: Operation, watching: dict[str, DriftMonitor], seconds: float, frame_hz: float, start_s: float
) -> Iterator[tuple[float, str, DriftState]]:
    """(time, view, DriftState) of every frame that counted."""
    for t, q, images in operation.frames(seconds, frame_hz):
        for view, image in images.items():
            state = watching[view].add(image, q, int(1e9 * (start_s + t)))
            if state is not None:
                yield start_s + t, view, state


def run(args: argparse.Namespace) -> int:
    began = time.monotonic()
    kept = _kept(args)
    pieces = [("knock", i) for i in range(args.knocks)]
    pieces += [("quiet", i) for i in range(int(np.ceil(args.quiet_minutes / _QUIET_MINUTES)))]
    for kind, index in pieces:
        if f"{kind} {index}" in kept:
            continue
        if args.keep and args.seconds and time.monotonic() - began > args.seconds:
            print(f"{len(kept)} of {len(pieces)} trials are in {args.keep}; run again to go on", flush=True)
            return _UNFINISHED
        row = vars(_knock(args, index)) if kind == "knock" else _quiet(args, index)
        kept[f"{kind} {index}"] = row
        print(f"{kind} {index}: {row}", flush=True)
        if args.keep:
            args.keep.write_text(json.dumps({"settings": _settings(args), "trials": kept}, indent=1) + "\n")
    return _report(args, kept, time.monotonic() - began)


def _settings(args: argparse.Namespace) -> dict:
    return {k: getattr(args, k) for k in ("seed", "frame_hz", "image_size", "joint_noise_deg", "knock_mm", "knock_deg")}


def _kept(args: argparse.Namespace) -> dict[str, dict]:
    if not args.keep or not args.keep.is_file():
        return {}
    document = json.loads(args.keep.read_text())
    if document["settings"] != _settings(args):
        raise CalibrationError(f"{args.keep} was made with {document['settings']}; keep this run in another file")
    return document["trials"]


def _report(args: argparse.Namespace, kept: dict[str, dict], wall_s: float) -> int:
    knocks = [Knock(**row) for name, row in kept.items() if name.startswith("knock")]
    quiet = [row for name, row in kept.items() if name.startswith("quiet")]
    for k in knocks:
        noticed = "not noticed" if k.delay_s is None else f"noticed after {k.delay_s:4.0f} s"
        print(f"cell {k.cell:2d}: {k.kind:18s} view {k.view:5s} {noticed}  {k.text}")
    good = [k for k in knocks if k.delay_s is not None and tuple(k.blamed) == (k.view,)]
    delays, alarms = [k.delay_s for k in good if k.delay_s is not None], sum(row["alarms"] for row in quiet)
    report = {
        "knocks": len(knocks),
        "noticed_within_60_s_and_right_camera": len(good),
        "median_delay_s": float(np.median(delays)) if delays else None,
        "worst_delay_s": max(delays, default=None),
        "quiet_minutes": sum(row["minutes"] for row in quiet),
        "false_alarms": alarms,
        "largest_quiet_workspace_mm": max((row["largest_workspace_mm"] for row in quiet), default=None),
        "wall_s": round(wall_s, 1),
    }
    print("\n".join(f"{name:38s} {value}" for name, value in report.items()))
    if args.json:
        args.json.write_text(json.dumps({**report, "trials": [vars(k) for k in knocks]}, indent=1) + "\n")
    return 0 if len(good) == len(knocks) and alarms == 0 else 1


def _size(text: str) -> tuple[int, int]:
    width, height = text.split("x")
    return int(width), int(height)


def _knock(args: argparse.Namespace, index: int) -> Knock:
    rng = np.random.default_rng([args.seed, index])
    operation = Operation(rng, _size(args.image_size), 2, args.joint_noise_deg)
    watching = monitors(operation)
    blamed: set[str] = set()
    for t, view, state in watch(operation, watching, 45.0, args.frame_hz, 0.0):
        if state.status is DriftStatus.MOVED:
            blamed.add(view)
    view = ("left", "right")[index % 2]
    turned = index // 2 % 2 == 1
    mm, deg = (0.0, args.knock_deg) if turned else (args.knock_mm, 0.0)
    operation.move_camera(view, knocked(rng, operation.cameras[view], mm, deg))
    delay, text = None, ""
    for t, seen, state in watch(operation, watching, 60.0, args.frame_hz, 45.0):
        if state.status is DriftStatus.MOVED:
            blamed.add(seen)
            text = state.text
            delay = t - 45.0 if delay is None and seen == view else delay
    operation.sim.close()
    return Knock(
        index, f"turned {deg:g} deg" if turned else f"moved {mm:g} mm", view, delay, tuple(sorted(blamed)), text
    )


def _quiet(args: argparse.Namespace, index: int) -> dict:
    """Alarms, minutes, and the largest displacement at the workspace (mm) that was measured, in one cell."""
    rng = np.random.default_rng([args.seed, 10**6 + index])
    minutes = min(_QUIET_MINUTES, args.quiet_minutes - _QUIET_MINUTES * index)
    operation = Operation(rng, _size(args.image_size), 2, args.joint_noise_deg)
    watching, alarms, largest = monitors(operation), 0, 0.0
    for _, view, state in watch(operation, watching, 60.0 * minutes, args.frame_hz, 0.0):
        alarms += state.status is DriftStatus.MOVED
        if state.status is not DriftStatus.LEARNING:
            largest = max(largest, 1e3 * float(np.linalg.norm(watching[view].at_workspace(state.displacement))))
    operation.sim.close()
    return {"alarms": alarms, "minutes": minutes, "largest_workspace_mm": round(largest, 2)}

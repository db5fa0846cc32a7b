"""Jumps and pauses where one chunk takes over from another, by way of execution and by latency.

A policy that goes round a closed curve without end (with a smooth random error in every chunk) drives
an arm that trails its commands. Four ways of execution, the same policy, arm and latency:

- synchronous: play the executed part of a chunk, stop, observe, wait for the next;
- naive: play while the next is computed, then go on in the new chunk at once, by the clock;
- blended: this package's controller;
- canvas: the same, and the policy continues the poses that the controller has committed to.

Measured on the commanded joints: the largest change of velocity in one control period, the largest
acceleration and jerk as a multiple of the FR3's datasheet limits, all within 0.3 s after a seam, and
the time that the commanded TCP stands still.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass, field
from enum import Enum
from pathlib import Path

import numpy as np

from ..control import (
    FR3_HOME_Q,
    FR3_LIMITS,
    Controller,
    ControllerConfig,
    Fr3Kinematics,
    IkSolver,
    PosePath,
    WatchdogConfig,
    Workspace,
)
from ..control.trajectory import Interpolation
from ..geometry.se3 import make, so3_exp, so3_log
from ..types import ActionChunk
from .synthetic_arm import ClosedLoop, TrailingArm

PERIOD_S = 0.01
SEAM_S = 0.3
STILL_MPS = 0.003
SPEED_MPS = 0.15
LATENCIES = (0.1, 0.3, 1.0)


class Execution(Enum):
    SYNCHRONOUS = "synchronous"
    NAIVE = "naive"
    BLENDED = "blended"
    CANVAS = "canvas"


@dataclass(frozen=True)
class SeamResult:
    """One row: `seams` taken over, per-period velocity jump (rad/s), peak acceleration and jerk over the FR3's own
    limits, share of time and longest time (s) standing still after the first motion, mean TCP speed (m/s)."""

    execution: str
    latency_of_chunk: float
    seams: int
    velocity_jump_radps: float
    acceleration_of_limit: float
    jerk_of_limit: float
    still_share: float
    longest_still_s: float
    mean_speed_mps: float


@dataclass
class EndlessPolicy:
    """Joins a closed curve in front of the arm at its nearest point and goes round it at SPEED_MPS, for ever.

    Markov: a chunk depends on the pose it begins with, and on a random error (sd noise_m at its end) that its
    covariance reports. Given committed poses it begins with those, up to half of the chunk, and goes on from the last.
    """

    noise_m: float
    rng: np.random.Generator
    n_steps: int = 9
    dt_s: float = 0.4

    def __post_init__(self) -> None:
        angle = np.linspace(0.0, 2.0 * np.pi, 2001)
        self._curve = np.stack([0.47 + 0.13 * np.cos(angle), 0.30 * np.sin(angle), 0.35 + 0.1 * np.sin(2.0 * angle)], 1)
        self._down = Fr3Kinematics().fk(FR3_HOME_Q)[:3, :3]
        self._length = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(self._curve, axis=0), axis=1))])

    @property
    def chunk_s(self) -> float:
        return self.dt_s * (self.n_steps - 1)

    def observe(self, base_T_tcp: np.ndarray, stamp_ns: int, committed: ActionChunk | None = None) -> ActionChunk:
        given = base_T_tcp[None]
        if committed is not None:
            given = np.concatenate([given, committed.base_T_tcps[1: self.n_steps // 2 + 1]])
        free = np.arange(1, self.n_steps - len(given) + 1)
        poses = np.concatenate([given, self._onwards(given[-1], free)])
        growth = np.concatenate([np.zeros(len(given)), np.sqrt(free / len(free))])
        poses[:, :3, 3] += growth[:, None] * self.rng.normal(size=3) * self.noise_m
        covariance = np.zeros((self.n_steps, 6, 6))
        covariance[:, (0, 1, 2), (0, 1, 2)] = (growth[:, None] * self.noise_m) ** 2
        return ActionChunk(poses, np.ones(self.n_steps), covariance, np.zeros(self.n_steps),
                           np.ones(self.n_steps, bool), stamp_ns=stamp_ns, dt_s=self.dt_s)

    def _onwards(self, pose: np.ndarray, steps: np.ndarray) -> np.ndarray:
        """Poses of the next steps: along the curve, what is off it fading by a third a step."""
        k = int(np.linalg.norm(self._curve - pose[:3, 3], axis=1).argmin())
        along = (self._length[k] + SPEED_MPS * self.dt_s * steps) % self._length[-1]
        points = np.stack([np.interp(along, self._length, self._curve[:, i]) for i in range(3)], 1)
        fade = (2.0 / 3.0) ** steps[:, None]
        R = pose[:3, :3] @ so3_exp((1.0 - fade) * so3_log(pose[:3, :3].T @ self._down))
        return make(R, points + fade * (pose[:3, 3] - self._curve[k]))


@dataclass
class Trace:
    """q (N, 7) commanded every period; periods at which a chunk took over."""

    q: list[np.ndarray] = field(default_factory=list)
    seams: list[int] = field(default_factory=list)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seconds", type=float, default=40.0, help="simulated time of each run (default 40)")
    parser.add_argument("--noise-mm", type=float, default=5.0, help="sd of a chunk's error at its end (default 5)")
    parser.add_argument("--lag", type=float, default=0.1, help="seconds the arm trails its commands (default 0.1)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the policy's errors (default 0)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the table as JSON")


def run(args: argparse.Namespace) -> int:
    print(f"{'execution':12s} {'latency':>9s} {'seams':>6s} {'dv rad/s':>9s} {'a / FR3':>8s} {'jerk / FR3':>10s} "
          f"{'still %':>8s} {'longest s':>9s} {'mean m/s':>9s}")
    rows = []
    for latency in LATENCIES:
        for execution in Execution:
            row = measure(execution, latency, args.seconds, 1e-3 * args.noise_mm, args.lag, args.seed)
            rows.append(asdict(row))
            print(f"{row.execution:12s} {row.latency_of_chunk:9.1f} {row.seams:6d} {row.velocity_jump_radps:9.4f} "
                  f"{row.acceleration_of_limit:8.2f} {row.jerk_of_limit:10.2f} {100 * row.still_share:8.1f} "
                  f"{row.longest_still_s:9.2f} {row.mean_speed_mps:9.3f}", flush=True)
    print("latency: share of the chunk's length; a, jerk: peaks within 0.3 s of a seam over the FR3's own limits")
    if args.json:
        args.json.write_text(json.dumps({"rows": rows, "noise_mm": args.noise_mm, "lag_s": args.lag}, indent=2))
    return 0


def measure(execution: Execution, latency_of_chunk: float, seconds: float, noise_m: float, lag_s: float,
            seed: int) -> SeamResult:
    """Run one way of execution at one latency (share of the chunk's length) and measure its commands."""
    policy = EndlessPolicy(noise_m, np.random.default_rng(seed))
    latency_s = latency_of_chunk * policy.chunk_s
    if execution in (Execution.SYNCHRONOUS, Execution.NAIVE):
        trace = _direct(policy, latency_s, seconds, lag_s, wait=execution is Execution.SYNCHRONOUS)
    else:
        trace = _controlled(policy, latency_s, seconds, lag_s, conditioned=execution is Execution.CANVAS)
    return _judge(execution, latency_of_chunk, trace)


def _direct(policy: EndlessPolicy, latency_s: float, seconds: float, lag_s: float, wait: bool) -> Trace:
    """Targets, interpolated, straight to the joints. wait: execute half a chunk, then stand until the next one."""
    kinematics, arm, trace = Fr3Kinematics(), TrailingArm(lag_s=lag_s, delay_s=0.0), Trace()
    ik, q, now_s = IkSolver(kinematics), FR3_HOME_Q, 0.0
    path = PosePath.hold(kinematics.fk(q), 1.0)
    executed_s = 0.5 * policy.chunk_s
    pending: tuple[float, ActionChunk, float] | None = None
    busy_until_s = 0.0
    for i in range(round(seconds / PERIOD_S)):
        now_s += PERIOD_S
        if pending is None and now_s >= busy_until_s:
            pending = (now_s + latency_s, policy.observe(kinematics.fk(arm.q), round(1e9 * now_s)), now_s)
        if pending is not None and now_s >= pending[0]:
            chunk, origin_s = pending[1], now_s if wait else pending[2]
            assert chunk.dt_s is not None, "the policy stamps its chunks"
            times = origin_s + chunk.dt_s * np.arange(len(chunk))
            path = PosePath(times, chunk.base_T_tcps, chunk.openness, np.zeros(len(chunk)),
                            interpolation=Interpolation.LINEAR)
            pending, busy_until_s = None, now_s + executed_s if wait else now_s
            trace.seams.append(i)
        at_s = min(now_s, busy_until_s) if wait else now_s
        q = ik.solve(path.sample(np.array([at_s])), q[None]).q[0]
        arm.step(q)
        trace.q.append(q)
    return trace


def _controlled(policy: EndlessPolicy, latency_s: float, seconds: float, lag_s: float, conditioned: bool) -> Trace:
    """This package's controller at speed_factor 1; conditioned: the policy continues what is committed."""
    kinematics, trace = Fr3Kinematics(), Trace()
    config = ControllerConfig(speed_factor=1.0, watchdog=WatchdogConfig(chunks_s=None))
    controller = Controller(config, kinematics, Workspace((0.2, -0.6, 0.0), (0.8, 0.6, 0.9)))
    loop = ClosedLoop(controller, kinematics, TrailingArm(lag_s=lag_s, delay_s=0.0), PERIOD_S)
    loop.run(0.1)
    controller.enable(True, loop.now_s)
    loop.run(0.02)
    pending, before = None, len(loop.log)
    for i in range(round(seconds / PERIOD_S)):
        if pending is None:
            committed = controller.committed(loop.now_ns, controller.latency.p95_s) if conditioned else None
            pending = (loop.now_s + latency_s, policy.observe(loop.base_T_tcp, loop.now_ns, committed))
        if loop.now_s >= pending[0] - 1e-9:
            if controller.on_chunk(pending[1], loop.now_ns, loop.now_s).accepted:
                trace.seams.append(i)
            pending = None
        loop.period()
    trace.q = list(loop.commands()[before:])
    return trace


def _judge(execution: Execution, latency_of_chunk: float, trace: Trace) -> SeamResult:
    q = np.array(trace.q)
    dq = np.diff(q, axis=0) / PERIOD_S
    ddq = np.diff(dq, axis=0) / PERIOD_S
    dddq = np.diff(ddq, axis=0) / PERIOD_S
    near = np.zeros(len(dddq), bool)
    for seam in trace.seams:
        near[max(0, seam - 3): seam + round(SEAM_S / PERIOD_S)] = True
    tcp = Fr3Kinematics().fk(q)[:, :3, 3]
    speed = np.linalg.norm(np.diff(tcp, axis=0), axis=1) / PERIOD_S
    moving = np.flatnonzero(speed > STILL_MPS)
    still = speed[moving[0]:] <= STILL_MPS
    return SeamResult(
        execution.value, latency_of_chunk, len(trace.seams),
        float(np.abs(ddq[:-1][near]).max() * PERIOD_S),
        float((np.abs(ddq[:-1][near]) / FR3_LIMITS.ddq_max).max()),
        float((np.abs(dddq[near]) / FR3_LIMITS.dddq_max).max()),
        float(still.mean()), PERIOD_S * _longest_run(still), float(speed[moving[0]:].mean()))


def _longest_run(flags: np.ndarray) -> int:
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(int), [0]])))
    return int((edges[1::2] - edges[::2]).max(initial=0))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_arguments(parser)
    raise SystemExit(run(parser.parse_args()))

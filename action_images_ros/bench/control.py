"""What the controller costs: time of a control tick, and of checking and merging one chunk.

One process, no ROS; the arm and the policy are synthetic. The period errors of the running node are in
its diagnostics.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from ..control import FR3_HOME_Q, Controller, ControllerConfig, ControllerState, Fr3Kinematics, Workspace
from .synthetic_arm import ClosedLoop, StraightLinePolicy, TrailingArm

CHUNK_EVERY_TICKS = 40


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seconds", type=float, default=30.0, help="simulated time at each rate (default 30)")
    parser.add_argument("--rates", type=float, nargs="+", default=[100.0, 200.0], metavar="HZ", help="control rates")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the table as JSON")


def run(args: argparse.Namespace) -> int:
    print(f"{'rate Hz':>8s} {'call':8s} {'calls':>6s} {'mean us':>9s} {'p50 us':>9s} {'p99 us':>9s} {'max us':>9s} "
          f"{'CPU mean us':>12s}")
    rows = []
    for rate_hz in args.rates:
        for row in measure(rate_hz, args.seconds):
            rows.append(row)
            print(f"{row['rate_hz']:8.0f} {row['call']:8s} {row['calls']:6d} {row['mean_us']:9.1f} "
                  f"{row['p50_us']:9.1f} {row['p99_us']:9.1f} {row['max_us']:9.1f} {row['cpu_mean_us']:12.1f}",
                  flush=True)
    if args.json:
        args.json.write_text(json.dumps({"rows": rows}, indent=2))
    return 0


def measure(rate_hz: float, seconds: float) -> list[dict]:
    """Rows for `tick` and `on_chunk` while the arm follows chunks towards goals that move on."""
    kinematics, rng = Fr3Kinematics(), np.random.default_rng(0)
    config = ControllerConfig(rate_hz=rate_hz, speed_factor=1.0)
    controller = Controller(config, kinematics, Workspace((0.2, -0.6, 0.0), (0.8, 0.6, 0.9), table_z_m=0.0))
    loop = ClosedLoop(controller, kinematics, TrailingArm(period_s=1.0 / rate_hz), 1.0 / rate_hz)
    loop.run(0.1)
    controller.enable(True, loop.now_s)
    loop.run(0.05)
    goal = kinematics.fk(FR3_HOME_Q)
    policy = StraightLinePolicy(goal, noise_m=0.003, rng=rng)
    ticks, chunks = [], []
    for i in range(round(seconds * rate_hz)):
        if i % (6 * CHUNK_EVERY_TICKS) == 0:
            policy.goal = goal.copy()
            policy.goal[:3, 3] = rng.uniform([0.35, -0.3, 0.15], [0.6, 0.3, 0.5])
        if i % CHUNK_EVERY_TICKS == 0:
            chunk = policy.chunk(loop.base_T_tcp, 1.0, loop.now_ns)
            chunks.append(_timed(partial(controller.on_chunk, chunk, loop.now_ns, loop.now_s)))
        loop.now_s += loop.period_s
        controller.on_robot_state(loop.arm.state(loop.now_ns), loop.now_s)
        controller.on_frames_fresh(loop.now_s)
        before = len(loop.log)
        ticks.append(_timed(lambda: loop.log.append(controller.tick(loop.now_ns, loop.now_s))))
        loop.arm.step(loop.log[before].q_command)
    if controller.state is not ControllerState.RUNNING:
        raise RuntimeError(f"the benchmark's arm stopped: {controller.state.value}")
    return [_row(rate_hz, "tick", ticks), _row(rate_hz, "on_chunk", chunks)]


def _timed(call: Callable[[], object]) -> tuple[float, float]:
    """Wall and CPU seconds of one call."""
    wall, cpu = time.perf_counter(), time.thread_time()
    call()
    return time.perf_counter() - wall, time.thread_time() - cpu


def _row(rate_hz: float, call: str, times: list[tuple[float, float]]) -> dict:
    wall, cpu = 1e6 * np.array(times).T
    p50, p99 = np.percentile(wall, [50, 99])
    return {"rate_hz": rate_hz, "call": call, "calls": len(wall), "mean_us": float(wall.mean()), "p50_us": float(p50),
            "p99_us": float(p99), "max_us": float(wall.max()), "cpu_mean_us": float(cpu.mean())}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_arguments(parser)
    raise SystemExit(run(parser.parse_args()))

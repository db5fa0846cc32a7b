"""`action-images eval`: success rates of a model in the simulated cell."""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from pathlib import Path

from ..ros.paths import config_file


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", type=config_file, default="models/reach", help="model directory (%(default)s)")
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--task", default="reach_target",
                        help="reach_target, push_button, close_drawer, pick_cube or place_in_bowl (%(default)s)")
    parser.add_argument("--episodes", type=int, default=50)
    parser.add_argument("--split", default="test", choices=["train", "test"])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--action-steps", type=int, default=2, help="steps of a chunk executed before looking again")
    parser.add_argument("--committed-steps", type=int, default=0,
                        help="further steps that the next chunk is told to continue (%(default)s)")
    parser.add_argument("--timeout", type=float, default=20.0, help="simulation seconds an episode")
    parser.add_argument("--columns", nargs="+", metavar="COLUMN", default=None,
                        help="of closed_loop open_loop wrong_instruction replay; default all")
    parser.add_argument("--open-loop", action="store_true", help="the same as --columns open_loop")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--out", type=Path, help="write eval.json and a video of every failure here")


def run(args: argparse.Namespace) -> int:
    from ..errors import SimError, one_of
    from ..policy import ActionImagePolicy
    from ..sim.evaluation import Column, EpisodeOutcome, EvalConfig, evaluate
    from ..sim.rollout import RolloutConfig
    from ..sim.split import Split
    from ..sim.video import VideoObserver

    names = ["open_loop"] if args.open_loop else args.columns or [c.value for c in Column]
    for name in names:
        one_of("column", name, [c.value for c in Column], SimError)
    config = EvalConfig(args.task, args.episodes, args.seed, Split.parse(args.split),
                        rollout=RolloutConfig(n_action_steps=args.action_steps, committed_steps=args.committed_steps,
                                              timeout_s=args.timeout),
                        columns=tuple(Column(name) for name in names))
    policy = ActionImagePolicy.from_pretrained(args.model, engine=args.engine)
    outcomes: list[EpisodeOutcome] = []
    video: list[VideoObserver] = []
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)

    def watchers(episode, column, scene) -> list[VideoObserver]:
        video[:] = [VideoObserver(f"{column.value} {episode}: {scene.instruction}")] if args.out else []
        return list(video)

    def on_episode(outcome: EpisodeOutcome) -> None:
        outcomes.append(outcome)
        result = outcome.result
        if video and not result.success:
            video[0].save(args.out / f"failure_{outcome.column.value}_{outcome.episode:04d}.mp4")
        print(f"{outcome.episode:4d} {outcome.column.value:17s} {result.verdict.outcome.value:8s} "
              f"{result.time_s:5.1f} s  {outcome.instruction}: {result.verdict.reason}", file=sys.stderr, flush=True)

    began = time.monotonic()
    reports = evaluate(policy, policy.config, config, on_episode, watchers)
    report = _as_dict(args, policy.engine, reports, outcomes, time.monotonic() - began)
    if args.out:
        (args.out / "eval.json").write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps(report, indent=1) if args.json else _table(report))
    return 0


def _as_dict(args: argparse.Namespace, engine: str, reports, outcomes, wall_s: float) -> dict:
    columns = {r.column.value: {"successes": r.successes, "n": r.n, "rate": r.successes / r.n,
                                "wilson_95": [round(v, 4) for v in r.interval],
                                "median_final_distance_m": r.median_final_distance_m,
                                "median_success_time_s": None if math.isnan(r.median_success_time_s)
                                else r.median_success_time_s,
                                "failures": r.reasons} for r in reports}
    episodes = [{"episode": o.episode, "column": o.column.value, "instruction": o.instruction,
                 "outcome": o.result.verdict.outcome.value, "reason": o.result.verdict.reason,
                 "time_s": round(o.result.time_s, 3), "chunks": o.result.chunks,
                 "skipped_steps": o.result.skipped_steps, "unreachable_ticks": o.result.unreachable_ticks,
                 "final_distance_m": round(o.result.final_distance_m, 5)} for o in outcomes]
    return {"model": str(args.model), "engine": engine, "task": args.task, "split": args.split, "seed": args.seed,
            "action_steps": args.action_steps, "committed_steps": args.committed_steps,
            "timeout_s": args.timeout, "wall_s": round(wall_s, 1),
            "columns": columns, "episodes": episodes}


def _table(report: dict) -> str:
    title = (f"{report['task']}, {report['split']} split, seed {report['seed']}, model {report['model']} on "
             f"{report['engine']}, lockstep")
    head = (f"{'column':18s} {'success':>9s} {'rate':>6s} {'95 % interval':>15s} {'median end':>11s} {'time':>6s}  "
            "failures")
    lines = [title, head]
    for name, c in report["columns"].items():
        low, high = c["wilson_95"]
        seconds = "-" if c["median_success_time_s"] is None else f"{c['median_success_time_s']:.1f} s"
        failures = ", ".join(f"{n} {kind}" for kind, n in c["failures"].items())
        lines.append(f"{name:18s} {c['successes']:4d}/{c['n']:<4d} {c['rate']:6.0%} {low:6.0%} to {high:4.0%} "
                     f"{c['median_final_distance_m'] * 1e3:8.0f} mm {seconds:>6s}  {failures}")
    return "\n".join(lines)

"""`action-images eval`: success rates of a model in the simulated cell, alone or paired with another's."""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from dataclasses import replace
from pathlib import Path

from ..ros.paths import config_file


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", type=config_file, default="models/reach", help="model directory (%(default)s)")
    parser.add_argument("--against", type=config_file, metavar="MODEL_DIR",
                        help="another model on the same episodes, with a paired test of the difference")
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--task", default="reach_target",
                        help="reach_target, push_button, close_drawer, pick_cube or place_in_bowl (%(default)s)")
    parser.add_argument("--cell", type=Path, help="cell file: its cameras, instead of others for each episode")
    parser.add_argument("--episodes", type=int, default=50)
    parser.add_argument("--split", default="test", choices=["train", "test"])
    parser.add_argument("--camera-split", choices=["train", "test"],
                        help="draw the cameras from this split, where the scenes keep --split")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--action-steps", type=int, default=2, help="steps of a chunk executed before looking again")
    parser.add_argument("--committed-steps", type=int,
                        help="further steps that the next chunk is told to continue (the model's continued_steps)")
    parser.add_argument("--timeout", type=float, default=20.0, help="simulation seconds an episode")
    parser.add_argument("--columns", nargs="+", metavar="COLUMN", default=None,
                        help="of closed_loop open_loop wrong_instruction replay; default all")
    parser.add_argument("--open-loop", action="store_true", help="the same as --columns open_loop")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--out", type=Path, help="write eval.json and a video of every failure here")


def run(args: argparse.Namespace) -> int:
    from ..model.config import ModelConfig

    config = _config(args)
    if args.against is not None:
        ModelConfig.load(args.against)  # told now, not after the first model's episodes
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
    report = _evaluate(args, args.model, config, args.out)
    shown = [report]
    if args.against is not None:
        other = _evaluate(args, args.against, config, args.out / "against" if args.out else None)
        report["against"] = other
        report["paired"] = compare(report, other)
        shown.append(other)
    if args.out:
        (args.out / "eval.json").write_text(json.dumps(report, indent=1) + "\n")
    tables = [_table(r) for r in shown] + ([_paired_table(report)] if args.against is not None else [])
    print(json.dumps(report, indent=1) if args.json else "\n\n".join(tables))
    return 0


def compare(report: dict, other: dict) -> dict:
    """Of two reports of the same episodes, by column: the paired table, the difference of the success rates with its
    95 % interval, and McNemar's exact p. The replay has no model in it and is left out."""
    from ..metrics.paired import PairedTable

    out = {}
    for column in [c for c in report["columns"] if c != "replay" and c in other["columns"]]:
        table = PairedTable.of(*(_successes(r, column) for r in (report, other)))
        low, high = table.interval
        out[column] = {"both": table.both, "first_only": table.first_only, "second_only": table.second_only,
                       "neither": table.neither, "difference": round(table.difference, 4),
                       "interval_95": [round(low, 4), round(high, 4)], "mcnemar_p": table.p_value}
    return out


def _successes(report: dict, column: str) -> list[bool]:
    return [e["outcome"] == "success" for e in report["episodes"] if e["column"] == column]


def _config(args: argparse.Namespace):
    from ..cell import Cell
    from ..errors import SimError, one_of
    from ..sim.evaluation import Column, EvalConfig
    from ..sim.rollout import RolloutConfig
    from ..sim.split import Split

    names = ["open_loop"] if args.open_loop else args.columns or [c.value for c in Column]
    for name in names:
        one_of("column", name, [c.value for c in Column], SimError)
    cameras = {v.name: v.camera for v in Cell.load(args.cell).views} if args.cell else None
    return EvalConfig(args.task, args.episodes, args.seed, Split.parse(args.split),
                      rollout=RolloutConfig(n_action_steps=args.action_steps, committed_steps=args.committed_steps or 0,
                                            timeout_s=args.timeout),
                      columns=tuple(Column(name) for name in names), cameras=cameras,
                      camera_split=Split.parse(args.camera_split) if args.camera_split else None)


def _evaluate(args: argparse.Namespace, model: Path, config, out: Path | None) -> dict:
    from ..cell import Cell
    from ..policy import ActionImagePolicy
    from ..sim.evaluation import EpisodeOutcome, evaluate
    from ..sim.video import VideoObserver

    policy = ActionImagePolicy.from_pretrained(model, engine=args.engine)
    if args.committed_steps is None:
        config = replace(config, rollout=replace(config.rollout, committed_steps=policy.config.continued_steps))
    if args.cell:
        cell = Cell.load(args.cell)
        policy.config.data.require(cell.view_names, cell.arm.base_frame, cell.arm.tcp_frame)
    outcomes: list[EpisodeOutcome] = []
    video: list[VideoObserver] = []
    if out:
        out.mkdir(parents=True, exist_ok=True)

    def watchers(episode, column, scene) -> list[VideoObserver]:
        video[:] = [VideoObserver(f"{column.value} {episode}: {scene.instruction}")] if out else []
        return list(video)

    def on_episode(outcome: EpisodeOutcome) -> None:
        outcomes.append(outcome)
        result = outcome.result
        if out and video and not result.success:
            video[0].save(out / f"failure_{outcome.column.value}_{outcome.episode:04d}.mp4")
        print(f"{outcome.episode:4d} {outcome.column.value:17s} {result.verdict.outcome.value:8s} "
              f"{result.time_s:5.1f} s  {outcome.instruction}: {result.verdict.reason}", file=sys.stderr, flush=True)

    began = time.monotonic()
    reports = evaluate(policy, policy.config, config, on_episode, watchers)
    wall_s = time.monotonic() - began
    return _as_dict(args, model, policy.engine, config.rollout.committed_steps, reports, outcomes, wall_s)


def _as_dict(args: argparse.Namespace, model: Path, engine: str, committed_steps: int, reports, outcomes,
             wall_s: float) -> dict:
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
    return {"model": str(model), "engine": engine, "task": args.task, "split": args.split,
            "camera_split": args.camera_split or args.split, "seed": args.seed,
            "cell": str(args.cell) if args.cell else "",
            "action_steps": args.action_steps, "committed_steps": committed_steps,
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


def _paired_table(report: dict) -> str:
    lines = [f"{report['model']} against {report['against']['model']}, the same episodes (McNemar's exact test)",
             f"{'column':18s} {'both':>5s} {'first':>6s} {'second':>7s} {'neither':>8s} {'difference':>11s} "
             f"{'95 % interval':>17s} {'p':>8s}"]
    for name, c in report["paired"].items():
        low, high = c["interval_95"]
        lines.append(f"{name:18s} {c['both']:5d} {c['first_only']:6d} {c['second_only']:7d} {c['neither']:8d} "
                     f"{c['difference']:+11.0%} {low:+7.0%} to {high:+5.0%} {c['mcnemar_p']:9.2g}")
    return "\n".join(lines)

"""Latency of one chunk by stage, memory, and decoded drift against torch, for every installed engine."""

from __future__ import annotations

import argparse
import importlib
import json
import multiprocessing
import time
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from ..engines import ENGINES, EngineOptions, Precision
from ..engines.base import GRAPH_ENGINES
from ..errors import ActionImagesError, EngineError, one_of
from ..geometry.se3 import angle_between
from ..interrupts import deaf_children
from ..model.canvas import Mode
from ..model.config import ModelConfig
from ..ros.paths import config_file
from ..types import ActionChunk
from .observations import recorded, rendered
from .policy_worker import Job, Measured, measure

REFERENCE = "torch f32"
LATENCY_BAR_S = 0.4
DRIFT_BAR_M = 1e-3
LOOP_PERIOD_S = 0.01
STAGES = ("prepare", "step", "denoise", "decode", "total", "cpu")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", type=config_file, default="models/reach", help="model directory (%(default)s)")
    parser.add_argument("--engine", nargs="+", default=[*GRAPH_ENGINES, "torch"], metavar="ENGINE",
                        help=f"of {', '.join(ENGINES)}; default {', '.join(GRAPH_ENGINES)}, torch")
    parser.add_argument("--episodes", type=Path, help="recorded episode shards; default: scenes of the simulated cell")
    parser.add_argument("--task", default="reach_target", help="task of the simulated scenes (%(default)s)")
    parser.add_argument("--observations", type=int, default=24, help="different inputs, for the drift (%(default)s)")
    parser.add_argument("--chunks", type=int, default=60, help="timed chunks of each engine (%(default)s)")
    parser.add_argument("--threads", type=int, help="threads of an engine; default 2")
    parser.add_argument("--nice", type=int, default=0, help="priority number of the engine's process (%(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--verify", action="store_true", help="exit status 1 where latency or drift misses its bar")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures there")


def run(args: argparse.Namespace) -> int:
    config = ModelConfig.load(args.model)
    for name in args.engine:
        one_of("engine", name, ENGINES, EngineError)
    observations = (recorded(args.episodes, args.observations, args.seed) if args.episodes
                    else rendered(args.task, config.views, args.observations, args.seed))
    results, loops = {}, {}
    for engine, precision in variants(args.engine):
        options = EngineOptions(args.threads, precision)
        name = f"{engine} {precision.value}"
        job = Job(args.model, engine, options, observations, args.chunks, args.nice)
        results[name], loops[name] = beside_control_loop(job)
    rows = {name: row(result, loops[name], results.get(REFERENCE), config) for name, result in results.items()}
    report = {"model": str(args.model), "threads": EngineOptions(args.threads).thread_count, "nice": args.nice,
              "inputs": str(args.episodes or f"simulated {args.task}"), "observations": args.observations,
              "chunks": max(args.chunks, args.observations),
              "denoising_steps": config.sampler.of(Mode.POLICY).denoising_steps, "engines": rows}
    if args.json:
        args.json.write_text(json.dumps(report, indent=1) + "\n")
    print(table(report))
    missed = [name for name, r in rows.items() if r["failed"] or not r["within_bars"]]
    return 1 if args.verify and missed else 0


def variants(engines: list[str]) -> list[tuple[str, Precision]]:
    """Every installed engine in every precision that it has; torch first: the others are held against it.

    Raises EngineError where none is installed.
    """
    modules = {name: importlib.import_module(ENGINES[name]) for name in sorted(engines, key=lambda n: n != "torch")}
    missing = {name: module.available() for name, module in modules.items() if module.available()}
    if len(missing) == len(modules):
        raise EngineError("; ".join(missing.values()))
    return [(name, precision) for name, module in modules.items() if name not in missing
            for precision in module.PRECISIONS if precision is not Precision.AUTO]


def beside_control_loop(job: Job) -> tuple[Measured, list[float]]:
    """The measurement in a fresh process, and the period errors (s) of a 100 Hz loop in this one meanwhile."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_worker, args=(job, theirs), daemon=True)
    with deaf_children():
        process.start()
    theirs.close()
    try:
        if ours.recv() != "ready":
            return ours.recv(), []
        errors = _loop(ours)
        return ours.recv(), errors
    except EOFError:
        process.join()
        raise EngineError(f"the process of {job.engine} died with exit status {process.exitcode}; "
                          "run it with `--engine torch` and report the versions") from None
    except KeyboardInterrupt:
        process.kill()
        raise
    finally:
        process.join()


def _worker(job: Job, pipe: Connection) -> None:
    try:
        result = measure(job, lambda: pipe.send("ready"))
    except ActionImagesError as e:
        pipe.send("failed")
        result = Measured(failed=str(e))
    pipe.send(result)


def _loop(pipe: Connection) -> list[float]:
    errors, last = [], time.monotonic()
    deadline = last + LOOP_PERIOD_S
    while not pipe.poll():
        time.sleep(max(0.0, deadline - time.monotonic()))
        now = time.monotonic()
        errors.append(abs(now - last - LOOP_PERIOD_S))
        last, deadline = now, max(deadline + LOOP_PERIOD_S, now)
    return errors


def row(result: Measured, loop: list[float], reference: Measured | None, config: ModelConfig) -> dict:
    """Figures of one engine: ms, MB, mm and degrees; drift only where torch ran too and steps are credible in both."""
    if result.failed:
        return {"failed": result.failed, "within_bars": False}
    stages = {name: _ms(getattr(result, f"{name}_s")) for name in STAGES}
    compared = reference is not None and not reference.failed
    drift = chunk_drift(result.made, reference.made) if reference is not None and compared else None
    fast = float(np.median(result.total_s)) <= LATENCY_BAR_S
    close = not compared or (drift is not None and drift["median_mm"] <= DRIFT_BAR_M * 1e3)
    return {"failed": "", "load_s": round(result.load_s, 3), "ms": stages, "memory_mb": round(result.memory_mb),
            "drift": drift, "loop_period_error_p99_ms": _ms(loop)["p99"], "within_bars": fast and close}


def chunk_drift(made: list[ActionChunk], reference: list[ActionChunk]) -> dict[str, float] | None:
    """Distance of the decoded targets 1... from the reference's, over the steps that are credible in both; None where
    there are none."""
    mm, degrees, both, differs = [], [], [], []
    for a, b in zip(made, reference):
        mm.append(np.linalg.norm(a.base_T_tcps[1:, :3, 3] - b.base_T_tcps[1:, :3, 3], axis=-1) * 1e3)
        degrees.append(np.degrees(angle_between(a.base_T_tcps[1:, :3, :3], b.base_T_tcps[1:, :3, :3])))
        both.append(a.credible[1:] & b.credible[1:])
        differs.append((a.credible[1:] != b.credible[1:]) | ((a.openness[1:] > 0.5) != (b.openness[1:] > 0.5)))
    kept = np.concatenate(both)
    if not kept.any():
        return None
    mm, degrees = np.concatenate(mm)[kept], np.concatenate(degrees)[kept]
    out = {"credible": float(kept.mean()), "verdicts_differ": float(np.concatenate(differs).mean())}
    for name, q in (("median", 0.5), ("p95", 0.95), ("max", 1.0)):
        out[f"{name}_mm"], out[f"{name}_deg"] = float(np.quantile(mm, q)), float(np.quantile(degrees, q))
    return out


def _ms(seconds: list[float]) -> dict[str, float]:
    values = np.array(seconds or [np.nan]) * 1e3
    return {"median": round(float(np.median(values)), 2), "p99": round(float(np.quantile(values, 0.99)), 2)}


def table(report: dict) -> str:
    head = (f"{'engine':15s} {'prepare':>7s} {'step':>12s} {'decode':>7s} {'chunk':>14s} {'cpu':>7s} {'load':>6s} "
            f"{'memory':>7s} {'loop p99':>9s} {'drift mm':>15s} {'drift deg':>15s} {'differ':>7s}")
    units = (f"{'':15s} {'ms':>7s} {'ms':>12s} {'ms':>7s} {'ms':>14s} {'ms':>7s} {'s':>6s} "
             f"{'MB':>7s} {'ms':>9s} {'median / p95':>15s} {'median / p95':>15s} {'%':>7s}")
    lines = [f"{report['model']}: chunks of {report['denoising_steps']} denoising steps, {report['threads']} threads, "
             f"nice {report['nice']}; {report['chunks']} of them from {report['observations']} inputs "
             f"({report['inputs']}); median, or median / p99", head, units]
    for name, r in report["engines"].items():
        if r["failed"]:
            lines.append(f"{name:16s} {r['failed']}")
            continue
        ms, drift = r["ms"], r["drift"]
        pair = {k: f"{v['median']:.1f} / {v['p99']:.1f}" for k, v in ms.items()}
        far = f"{'-':>15s} {'-':>15s} {'-':>7s}"
        if drift is not None:
            far = " ".join(f"{drift[f'median_{u}']:6.3f} / {drift[f'p95_{u}']:6.3f}" for u in ("mm", "deg"))
            far += f" {drift['verdicts_differ'] * 100:7.1f}"
        lines.append(f"{name:15s} {ms['prepare']['median']:7.1f} {pair['step']:>12s} {ms['decode']['median']:7.1f} "
                     f"{pair['total']:>14s} {ms['cpu']['median']:7.0f} {r['load_s']:6.2f} {r['memory_mb']:7d} "
                     f"{r['loop_period_error_p99_ms']:9.2f} {far}")
    lines.append(f"bars: chunk <= {LATENCY_BAR_S * 1e3:.0f} ms, drift from {REFERENCE} <= {DRIFT_BAR_M * 1e3:.0f} mm "
                 "(medians). loop: period error of a 100 Hz loop in another process meanwhile. differ: steps whose "
                 "credibility or gripper differs")
    return "\n".join(lines)

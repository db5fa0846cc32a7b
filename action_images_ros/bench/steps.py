"""Denoising steps (NFE) against latency, action error and closed-loop success, for one or more models."""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..engines.options import EngineOptions
from ..geometry.se3 import angle_between
from ..model.config import ModelConfig
from ..policy import ActionImagePolicy
from ..ros.paths import config_file
from ..sim.cameras import view_names
from ..sim.evaluation import Column, EvalConfig, evaluate
from ..sim.rollout import RolloutConfig
from ..sim.split import Split
from ..training.data import load_episodes
from ..types import SyncedFrames
from .mode_windows import Window, windows

_NOTES = """\
ms: median of a whole chunk with decoding, {threads} thread(s), in this process. mm, deg: median error of a chunk's
steps against the recorded motion, over the first chunks of {windows} held-out episodes; end mm: of its last step.
credible: share of steps that the decoder stands by. closed loop: {episodes} episodes of {task}, {split} split."""
_ALIKE = 8  # chunks over which velocities are compared
_HEAD = f"{'model':28s} {'NFE':>4s} {'ms':>7s} {'mm':>7s} {'deg':>6s} {'end mm':>7s} {'credible':>9s}   closed loop"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", type=config_file, nargs="+", default=[config_file("models/reach")],
                        help="model directories, e.g. a teacher and what was distilled from it (default: models/reach)")
    parser.add_argument("--steps", type=int, nargs="+", default=[1, 2, 4, 8], help="denoising steps (%(default)s)")
    parser.add_argument("--data", type=Path, required=True, help="directory of held-out episode shards")
    parser.add_argument("--windows", type=int, default=64, help="held-out episodes to measure errors on (%(default)s)")
    parser.add_argument("--episodes", type=int, default=20, help="closed-loop episodes a row; 0: none (%(default)s)")
    parser.add_argument("--task", default="reach_target")
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--threads", type=int, default=0, help="0: the engine's own choice")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--reuse-above", type=float, metavar="COSINE",
                        help="add rows in which steps whose velocity is this similar to the one before reuse it")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the table as JSON")


def run(args: argparse.Namespace) -> int:
    options = EngineOptions(args.threads) if args.threads else EngineOptions()
    say = sys.stdout.write
    say(_NOTES.format(threads=options.thread_count, windows=args.windows, episodes=args.episodes, task=args.task,
                      split=Split.TEST.value) + f"\n\n{_HEAD}\n")
    held_out = load_episodes(args.data, args.windows)
    rows = []
    for directory in args.model:
        chunk_size = ModelConfig.load(directory).chunk_size
        seen = windows(held_out, 0, chunk_size)
        for steps in args.steps:
            policy = with_steps(ActionImagePolicy.from_pretrained(directory, args.engine, options), steps)
            for reused in dict.fromkeys([(), reusable(policy, seen[:_ALIKE], args)]):
                row = {"model": Path(directory).name, "steps": steps, "nfe": steps - len(reused), "reused": reused,
                       "engine": policy.engine}
                row |= measured(with_steps(policy, steps, reused), seen, args)
                rows.append(row)
                say(line(row) + "\n")
                sys.stdout.flush()
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1) + "\n")
    return 0


def with_steps(policy: ActionImagePolicy, steps: int, reused: tuple[int, ...] = ()) -> ActionImagePolicy:
    """The same policy with another schedule. Raises ModelError for an illegal one."""
    sampler = replace(policy.config.sampler, denoising_steps=steps, reused=reused, by_mode={})
    policy.config = policy.pipeline.config = replace(policy.config, sampler=sampler)
    return policy


class _Listener:
    """A denoiser that keeps the action velocities that it passes on."""

    def __init__(self, denoiser) -> None:
        self.denoiser = denoiser
        self.heard: list[np.ndarray] = []

    def velocity(self, *state):
        made = self.denoiser.velocity(*state)
        self.heard.append(made[1])
        return made


def reusable(policy: ActionImagePolicy, seen: list[Window], args: argparse.Namespace) -> tuple[int, ...]:
    """Denoising steps whose action velocity is like the one before, on average over chunks; never two in a row."""
    if args.reuse_above is None:
        return ()
    listener = policy.pipeline.denoiser = _Listener(policy.pipeline.denoiser)
    alike = []
    for k, window in enumerate(seen):
        listener.heard.clear()
        policy.generate(frames_of(window), window.poses[0], float(window.openness[0]), window.instruction, seed=k)
        flat = [v.reshape(-1) for v in listener.heard]
        alike.append([float(a @ b / np.linalg.norm(a) / np.linalg.norm(b)) for a, b in zip(flat, flat[1:])])
    policy.pipeline.denoiser = listener.denoiser
    out: list[int] = []
    for step, cosine in enumerate(np.mean(alike, 0), 1):
        if cosine >= args.reuse_above and step - 1 not in out:
            out.append(step)
    return tuple(out)


def frames_of(window: Window) -> SyncedFrames:
    views = window.video.shape[1]
    return SyncedFrames(view_names(views), tuple(window.video[0]), window.cameras, (0,) * views)


def measured(policy: ActionImagePolicy, seen: list[Window], args: argparse.Namespace) -> dict[str, object]:
    return chunk_errors(policy, seen, args.seed) | (closed_loop(policy, args) if args.episodes else {})


def chunk_errors(policy: ActionImagePolicy, seen: list[Window], seed: int) -> dict[str, float]:
    mm, deg, credible, seconds = [], [], [], []
    for k, window in enumerate(seen):
        frames = frames_of(window)
        began = time.perf_counter()
        chunk = policy.infer(frames, window.poses[0], float(window.openness[0]), window.instruction, seed=seed + k)
        seconds.append(time.perf_counter() - began)
        mm.append(1e3 * np.linalg.norm(chunk.base_T_tcps[1:, :3, 3] - window.poses[1:, :3, 3], axis=-1))
        deg.append(np.degrees(angle_between(chunk.base_T_tcps[1:, :3, :3], window.poses[1:, :3, :3])))
        credible.append(chunk.credible[1:])
    return {"ms": 1e3 * float(np.median(seconds)), "mm": float(np.median(mm)), "deg": float(np.median(deg)),
            "end_mm": float(np.median(np.array(mm)[:, -1])), "credible": float(np.mean(credible))}


def closed_loop(policy: ActionImagePolicy, args: argparse.Namespace) -> dict[str, object]:
    config = EvalConfig(args.task, args.episodes, args.seed, Split.TEST, columns=(Column.CLOSED_LOOP,),
                        rollout=RolloutConfig(committed_steps=policy.config.continued_steps))
    (report,) = evaluate(policy, policy.config, config)
    return {"successes": report.successes, "n": report.n, "wilson_95": [round(x, 4) for x in report.interval]}


def line(row: dict) -> str:
    name = row["model"] + (f", {row['steps']} steps" if row["reused"] else "")
    text = (f"{name:28s} {row['nfe']:4d} {row['ms']:7.1f} {row['mm']:7.1f} {row['deg']:6.1f} "
            f"{row['end_mm']:7.1f} {row['credible']:9.0%}")
    if "n" not in row:
        return text
    low, high = row["wilson_95"]
    return f"{text}   {row['successes']} of {row['n']} ({low:.0%} to {high:.0%})"

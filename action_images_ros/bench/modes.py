"""Quality of a model's modes on held-out episodes, beside baselines that need no model."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np

from ..errors import ConfigError
from ..model.canvas import Mode
from ..policy import ActionImagePolicy, Generation
from ..ros.paths import config_file
from ..training.data import load_episodes
from ..types import SyncedFrames
from .flow_tracker import follow_hand, follow_points, track
from .mode_scores import (
    ACTION_METRICS,
    LABEL_METRICS,
    TITLES,
    VIDEO_METRICS,
    Comparison,
    Scores,
    averaged,
    compared,
    guess_of,
    score_actions,
    score_labels,
    score_video,
)
from .mode_windows import Guess, MeanMotion, Window, at_rest, constant_velocity, windows

COPY, REST, MEAN, VELOCITY = "copy first frame", "stay at rest", "mean training motion", "constant velocity"
POINTS, HAND = "optical flow of blobs", "optical flow of hand"
_POSE = ("mean_mm", "median_mm", "credible_mm", *ACTION_METRICS[1:])
_COLUMNS = {Mode.POLICY: _POSE, Mode.JOINT: (*VIDEO_METRICS, *_POSE), Mode.WORLD: VIDEO_METRICS,
            Mode.VIDEO: VIDEO_METRICS, Mode.LABEL: (*_POSE, *LABEL_METRICS[6:])}
_JUDGED = {Mode.POLICY: ACTION_METRICS[:4], Mode.JOINT: (*VIDEO_METRICS, *ACTION_METRICS[:4]),
           Mode.WORLD: VIDEO_METRICS, Mode.VIDEO: VIDEO_METRICS,
           Mode.LABEL: (*ACTION_METRICS[:4], *LABEL_METRICS[6:])}
NOTES = """\
Every window starts at frame {start} of its episode; its first frame is given to everybody and does not count.
moving: PSNR over the pixels that really change. GMSD: gradient-magnitude similarity deviation, 0 = identical; it
stands in for LPIPS, whose network's weights are in no package. mm, deg: pose of the tool; a step that the decoder
does not find credible is bridged between those that are, or stays at the last; cred. mm leaves such steps out.
2D px: the three encoded points on the model's camera image. median mm: of a window's steps, then the mean over windows.
Jaccard: of tracked points, mean over 1, 2, 4, 8, 16 px of 256. IoU: blobs cut at that height.
constant velocity knows the pose one frame earlier, which no model gets. optical flow gets what mode label gets."""

Table = dict[str, list[Scores]]
"""Row -> scores of every window, in the same order in every row."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", type=config_file, default="models/reach", help="model directory (%(default)s)")
    parser.add_argument("--data", type=Path, required=True, help="directory of held-out episode shards")
    parser.add_argument("--train", type=Path, help="directory of training shards, for the mean training motion")
    parser.add_argument("--train-episodes", type=int, default=400, help="how many of them are read (%(default)s)")
    parser.add_argument("--episodes", type=int, default=50, help="held-out episodes (%(default)s)")
    parser.add_argument("--start", type=int, default=1,
                        help="frame of the episode at which windows start; at 0 there is no velocity (%(default)s)")
    parser.add_argument("--modes", nargs="+", metavar="MODE", help="default: all that the model was trained for")
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures there")


def run(args: argparse.Namespace) -> int:
    if args.episodes < 1 or args.start < 0 or args.train_episodes < 1:
        raise ConfigError(f"--episodes {args.episodes} and --train-episodes {args.train_episodes} must be at least 1, "
                          f"--start {args.start} at least 0")
    policy = ActionImagePolicy.from_pretrained(args.model, engine=args.engine)
    modes = [Mode.parse(m) for m in args.modes or policy.config.modes]
    steps = policy.config.chunk_size
    held_out = windows(load_episodes(args.data, args.episodes), args.start, steps)
    mean = None
    if args.train:
        mean = MeanMotion.of(windows(load_episodes(args.train, args.train_episodes), args.start, steps))
    tables = {mode: measure(policy, mode, held_out, mean, args.seed) for mode in modes}
    report = {"model": str(args.model), "engine": policy.engine, "data": str(args.data), "windows": len(held_out),
              "start": args.start, "seed": args.seed,
              "modes": {m.value: _as_dict(m, t, args.seed) for m, t in tables.items()}}
    if args.json:
        args.json.write_text(json.dumps(report, indent=1) + "\n")
    print(f"{args.model} on {policy.engine}, {len(held_out)} windows of {args.data}")
    print(NOTES.format(start=args.start))
    for mode, table in tables.items():
        print(_text(mode, table, args.seed))
    return 0


def measure(policy: ActionImagePolicy, mode: Mode, held_out: list[Window], mean: MeanMotion | None, seed: int) -> Table:
    """The model's row, first, and those of the baselines of `mode`."""
    table: Table = {}
    for number, window in enumerate(held_out):
        for name, scores in _rows(policy, mode, window, mean, seed + number).items():
            table.setdefault(name, []).append(scores)
        if sys.stderr.isatty():
            print(f"\r{mode.value} {number + 1}/{len(held_out)} ", end="", file=sys.stderr, flush=True)
    return table


def _rows(policy: ActionImagePolicy, mode: Mode, window: Window, mean: MeanMotion | None,
          seed: int) -> dict[str, Scores]:
    config = policy.config
    made = generate(policy, mode, window, seed)
    rows: dict[str, Scores] = {f"model, {mode.value}": {}}
    own = rows[f"model, {mode.value}"]
    if mode in (Mode.JOINT, Mode.WORLD, Mode.VIDEO):
        assert made.video is not None, "what this mode makes"
        own |= score_video(window, made.video)
        rows[COPY] = score_video(window, np.repeat(window.video[:1], len(window.video), 0))
    if mode in (Mode.POLICY, Mode.JOINT):
        assert made.chunk is not None, "what this mode makes"
        own |= score_actions(window, guess_of(made.chunk), config.encoding)
        rows |= {k: score_actions(window, g, config.encoding) for k, g in _guesses(window, mean).items()}
    if mode is Mode.LABEL:
        assert made.chunk is not None and made.action_images is not None, "what this mode makes"
        images = made.action_images.images
        own |= score_labels(window, guess_of(made.chunk), config.encoding, config.action_size, images)
        tracked = {POINTS: _tracked(policy, window, follow_points), HAND: _tracked(policy, window, follow_hand)}
        rows |= {k: score_labels(window, g, config.encoding, config.action_size)
                 for k, g in (tracked | _guesses(window, mean)).items()}
    return rows


def generate(policy: ActionImagePolicy, mode: Mode, window: Window, seed: int) -> Generation:
    """The model's answer to one window."""
    views = tuple(f"view_{v}" for v in range(len(window.cameras)))
    given = window.video if mode is Mode.LABEL else window.video[:1]
    frames = [SyncedFrames(views, tuple(images), window.cameras, (0,) * len(views)) for images in given]
    known = len(window.poses) if mode is Mode.WORLD else 1
    return policy.generate_mode(mode, frames, window.poses[:known], window.openness[:known], window.instruction, seed)


def _guesses(window: Window, mean: MeanMotion | None) -> dict[str, Guess]:
    found = {REST: at_rest(window)}
    if mean is not None:
        found[MEAN] = mean.guess(window)
    if window.before is not None:
        found[VELOCITY] = constant_velocity(window)
    return found


def _tracked(policy: ActionImagePolicy, window: Window, follow) -> Guess:
    poses, found = track(window.video, window.poses[0], window.cameras, policy.config.encoding, follow)
    return Guess(poses, np.repeat(window.openness[:1], len(poses)), found)


def _comparisons(mode: Mode, table: Table, seed: int) -> dict[str, list[Comparison]]:
    (_, model), *baselines = table.items()
    return {name: compared(model, rows, _JUDGED[mode], seed) for name, rows in baselines}


def _as_dict(mode: Mode, table: Table, seed: int) -> dict:
    versus = {name: {c.metric: {"gain": c.gain, "interval_95": c.interval, "verdict": c.verdict} for c in found}
              for name, found in _comparisons(mode, table, seed).items()}
    means = {name: {metric: value if np.isfinite(value) else None for metric, value in averaged(rows).items()}
             for name, rows in table.items()}
    return {"rows": means, "model_against": versus}


def _text(mode: Mode, table: Table, seed: int) -> str:
    columns = _COLUMNS[mode]
    lines = ["", f"{'mode ' + mode.value:22s}" + "".join(f"{TITLES[c]:>11s}" for c in columns)]
    for name, rows in table.items():
        mean = averaged(rows)
        lines.append(f"{name:22s}" + "".join(f"{_number(c, mean.get(c)):>11s}" for c in columns))
    for name, found in _comparisons(mode, table, seed).items():
        lines.append(f"  model against {name}: " + "; ".join(
            f"{TITLES[c.metric]} {c.verdict} {c.gain:+.3g} [{c.interval[0]:.3g}, {c.interval[1]:.3g}]" for c in found))
    return "\n".join(lines)


def _number(metric: str, value: float | None) -> str:
    if value is None or not np.isfinite(value):
        return "-"
    if metric in ("gripper", "credible"):
        return f"{value:.0%}"
    return f"{value:.3f}" if metric in ("ssim", "gmsd", "jaccard") or metric.startswith("iou") else f"{value:.2f}"

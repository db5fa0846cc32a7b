"""`action-images sim collect`: expert episodes from the simulated cell, as training data."""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from pathlib import Path

from ..errors import ActionImagesError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(dest="sim_command", required=True, metavar="collect")
    collect = commands.add_parser("collect", help="record expert episodes as safetensors shards",
                                  description="Record expert episodes. Continues where a former run of the same "
                                              "command stopped.")
    collect.add_argument("--task", default="reach_target", metavar="NAME[,NAME]|all",
                         help="a task's set goes to --out; several go to a folder of their own each in it")
    collect.add_argument("--episodes", type=int, required=True)
    collect.add_argument("--seed", type=int, required=True)
    collect.add_argument("--split", default="train", choices=["train", "test"])
    collect.add_argument("--motion", default=None, choices=["kinematic", "physics"],
                         help="kinematic sets the joints at every action step; physics drives the servos (slower). "
                              "Default: kinematic for a task that touches nothing, else physics")
    collect.add_argument("--shard-episodes", type=int, default=200)
    collect.add_argument("--workers", type=int, default=1)
    collect.add_argument("--out", type=Path, required=True)


def run(args: argparse.Namespace) -> int:
    from ..sim.tasks import task_names

    names = task_names(args.task)
    for name in names:
        _collect(args, name, args.out if len(names) == 1 else args.out / name)
    return 0


def _collect(args: argparse.Namespace, task: str, out: Path) -> None:
    from ..sim.collect import CollectConfig, CollectMotion, Progress, collect_episodes
    from ..sim.split import Split

    config = CollectConfig(task, args.episodes, args.seed, Split.parse(args.split), shard_episodes=args.shard_episodes,
                           motion=CollectMotion(args.motion) if args.motion else None)
    began = time.monotonic()
    before: list[int] = []

    def report(progress: Progress) -> None:
        before.append(progress.episodes_done)
        elapsed = time.monotonic() - began
        shard = min(config.shard_episodes, config.episodes)
        rate = (progress.episodes_done - before[0] + shard) / elapsed
        left = (progress.episodes_total - progress.episodes_done) / rate
        print(f"{task} {progress.episodes_done}/{progress.episodes_total} episodes, {progress.frames_written} frames, "
              f"{rate:.1f} episodes/s, {left:.0f} s left", flush=True)

    frames = collect_episodes(out, config, args.workers, shlex.join(sys.argv), report)
    print(f"{out}: {config.episodes} episodes, {frames} frames, {time.monotonic() - began:.0f} s")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="action-images sim", description=__doc__)
    add_arguments(parser)
    try:
        return run(parser.parse_args(argv))
    except ActionImagesError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())

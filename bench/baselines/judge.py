"""One policy in closed loop in the simulated cell, by its own evaluation: test layouts, cameras of either split."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch

from action_images_ros.metrics.intervals import wilson
from action_images_ros.model.config import ModelConfig
from action_images_ros.sim.evaluation import Column, EpisodeOutcome, EvalConfig, evaluate
from action_images_ros.sim.rollout import RolloutConfig
from action_images_ros.sim.split import Split


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--model", type=Path, help="model directory of this project")
    what.add_argument("--checkpoint", type=Path, help="of train.py")
    parser.add_argument("--cameras", choices=["train", "test"], required=True, help="split that they are drawn from")
    parser.add_argument("--episodes", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--timeout", type=float, default=20.0, help="simulation seconds an episode")
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write")
    args = parser.parse_args()
    torch.set_num_threads(1)
    policy, config = _policy(args)
    outcomes: list[EpisodeOutcome] = []

    def on_episode(outcome: EpisodeOutcome) -> None:
        outcomes.append(outcome)
        result = outcome.result
        print(f"{outcome.episode:4d} {result.verdict.outcome.value:8s} {result.time_s:5.1f} s  {outcome.instruction}: "
              f"{result.verdict.reason}", flush=True)
        partial = args.out.with_suffix(".partial")
        partial.write_text(json.dumps(_summary(args, outcomes), indent=1) + "\n")

    evaluate(policy, config, EvalConfig(
        episodes=args.episodes, seed=args.seed, rollout=RolloutConfig(timeout_s=args.timeout),
        columns=(Column.CLOSED_LOOP,), camera_split=Split.parse(args.cameras)), on_episode)
    args.out.with_suffix(".partial").replace(args.out)


def _summary(args: argparse.Namespace, outcomes: list[EpisodeOutcome]) -> dict:
    results = [o.result for o in outcomes]
    good, n = [r for r in results if r.success], len(results)
    return {"policy": str(args.model or args.checkpoint), "cameras": args.cameras, "seed": args.seed,
            "successes": len(good), "n": n, "wilson_95": [round(v, 4) for v in wilson(len(good), n)],
            "median_final_distance_m": round(float(np.median([r.final_distance_m for r in results])), 5),
            "median_success_time_s": round(float(np.median([r.time_s for r in good])), 2) if good else None,
            "episodes": [{"episode": o.episode, "instruction": o.instruction, "success": o.result.success,
                          "reason": o.result.verdict.reason, "time_s": round(o.result.time_s, 2),
                          "final_distance_m": round(o.result.final_distance_m, 5)} for o in outcomes]}


def _policy(args: argparse.Namespace):
    if args.checkpoint:
        from policies import LerobotPolicy

        return LerobotPolicy.load(args.checkpoint), ModelConfig()
    from action_images_ros.policy import ActionImagePolicy

    policy = ActionImagePolicy.from_pretrained(args.model)
    return policy, policy.config


if __name__ == "__main__":
    main()

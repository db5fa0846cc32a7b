"""One policy in closed loop in the simulated cell, by its own evaluation: test layouts, cameras of either split."""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path

import torch

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

    began = time.process_time()
    report, = evaluate(policy, config, EvalConfig(
        episodes=args.episodes, seed=args.seed, rollout=RolloutConfig(timeout_s=args.timeout),
        columns=(Column.CLOSED_LOOP,), camera_split=Split.parse(args.cameras)), on_episode)
    seconds = report.median_success_time_s
    made = {"policy": str(args.model or args.checkpoint), "cameras": args.cameras, "seed": args.seed,
            "successes": report.successes, "n": report.n, "wilson_95": [round(v, 4) for v in report.interval],
            "median_final_distance_m": round(report.median_final_distance_m, 5),
            "median_success_time_s": None if math.isnan(seconds) else round(seconds, 2), "failures": report.reasons,
            "processor_s": round(time.process_time() - began, 1),
            "episodes": [{"episode": o.episode, "instruction": o.instruction, "success": o.result.success,
                          "reason": o.result.verdict.reason, "time_s": round(o.result.time_s, 2),
                          "final_distance_m": round(o.result.final_distance_m, 5)} for o in outcomes]}
    args.out.write_text(json.dumps(made, indent=1) + "\n")


def _policy(args: argparse.Namespace):
    if args.checkpoint:
        from policies import LerobotPolicy

        return LerobotPolicy.load(args.checkpoint), ModelConfig()
    from action_images_ros.policy import ActionImagePolicy

    policy = ActionImagePolicy.from_pretrained(args.model)
    return policy, policy.config


if __name__ == "__main__":
    main()

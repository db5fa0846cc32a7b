"""Trains one of lerobot's policies on the project's shards for a budget of processor time; resumable."""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from pathlib import Path

import numpy as np
import torch
from batches import Windows
from policies import NAMES, build, processors

_CLIP, _SAVE_S, _PRINT_S = 10.0, 60.0, 10.0
LEARNING_RATES = {"act": 2e-4, "diffusion": 3e-4}  # lerobot's 1e-5 and 1e-4 are for runs a hundred times as long


class Run:
    """Weights, optimiser and how much of the budget is spent."""

    def __init__(self, args: argparse.Namespace) -> None:
        torch.manual_seed(args.seed)
        self.args, self.path = args, args.out / "checkpoint.pt"
        self.policy = build(args.policy)
        preset = self.policy.config.get_optimizer_preset()
        backbone = [p for n, p in self.policy.named_parameters() if "backbone" in n]
        rest = [p for n, p in self.policy.named_parameters() if "backbone" not in n]
        kind = torch.optim.AdamW if args.policy == "act" else torch.optim.Adam
        self.optimiser = kind([{"params": rest}, {"params": backbone}], lr=0.0, weight_decay=preset.weight_decay,
                              betas=preset.betas, fused=True)
        self.average = {k: v.detach().clone() for k, v in self.policy.state_dict().items()}
        self.samples, self.spent_s, self.loss, self.statistics = 0, 0.0, math.nan, None
        if self.path.exists():
            self._resume()

    def _resume(self) -> None:
        stored = torch.load(self.path, map_location="cpu", weights_only=True)
        self.policy.load_state_dict(stored["weights"])
        self.optimiser.load_state_dict(stored["optimiser"])
        self.average, self.statistics = stored["average"], stored["statistics"]
        self.samples, self.spent_s = stored["samples"], stored["spent_s"]

    def save(self) -> None:
        partial = self.path.with_suffix(".partial")
        torch.save({"policy": self.args.policy, "weights": self.policy.state_dict(), "average": self.average,
                    "optimiser": self.optimiser.state_dict(), "statistics": self.statistics,
                    "samples": self.samples, "spent_s": self.spent_s}, partial)
        os.replace(partial, self.path)
        (self.args.out / "trained.json").write_text(json.dumps(self.facts(), indent=1) + "\n")

    def facts(self) -> dict:
        args = self.args
        return {"policy": args.policy, "samples": self.samples, "processor_s": round(self.spent_s, 1),
                "loss": self.loss, "learning_rate": args.learning_rate, "batch_size": args.batch_size,
                "minutes": args.minutes, "parameters": sum(p.numel() for p in self.policy.parameters())}

    @property
    def share(self) -> float:
        return min(1.0, max(self.spent_s / 60.0 / self.args.minutes, self.samples / self.args.samples))

    def step(self, batch: dict[str, torch.Tensor]) -> None:
        args = self.args
        rate = (args.learning_rate * min(1.0, (self.samples + 1) / args.warmup_samples)
                * 0.5 * (1 + math.cos(math.pi * self.share)))
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.policy.train()
        torch.manual_seed(args.seed * 1_000_003 + self.samples)
        with torch.autocast("cpu", torch.bfloat16, enabled=args.arithmetic == "bf16"):
            loss, _ = self.policy.forward(batch)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.policy.parameters(), _CLIP)
        self.optimiser.step()
        self.samples += args.batch_size
        steps = self.samples / args.batch_size
        decay = min(args.average_decay, (1 + steps) / (10 + steps))
        with torch.no_grad():
            for name, value in self.policy.state_dict().items():
                if value.is_floating_point():
                    self.average[name].lerp_(value, 1 - decay)
        value = loss.item()
        if not math.isfinite(value):
            raise SystemExit(f"the loss became {value} after {self.samples} samples; lower --learning-rate")
        self.loss = value if math.isnan(self.loss) else 0.98 * self.loss + 0.02 * value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--policy", choices=NAMES, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--episodes", type=int)
    parser.add_argument("--minutes", type=float, default=20.0, help="of processor time, all threads together")
    parser.add_argument("--samples", type=float, default=math.inf)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--learning-rate", type=float, help=f"{LEARNING_RATES}")
    parser.add_argument("--warmup-samples", type=int, default=2000)
    parser.add_argument("--average-decay", type=float, default=0.99)
    parser.add_argument("--arithmetic", choices=["bf16", "f32"], default="bf16")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    args.learning_rate = args.learning_rate or LEARNING_RATES[args.policy]
    torch.set_num_threads(args.threads)
    args.out.mkdir(parents=True, exist_ok=True)
    run = Run(args)
    if run.share < 1.0:
        train(run, Windows(args.data, args.episodes))
    print(run.facts())


def train(run: Run, windows: Windows) -> None:
    args = run.args
    run.statistics = run.statistics or windows.statistics()
    before, _ = processors(args.policy, run.policy, run.statistics)
    if args.policy == "diffusion":
        before = _with_one_past_step(before)
    began, saved, printed = time.process_time() - run.spent_s, run.spent_s, -math.inf
    while run.share < 1.0:
        rng = np.random.default_rng((args.seed, run.samples))
        run.step(before(windows.batch(rng, args.batch_size)))
        run.spent_s = time.process_time() - began
        if run.spent_s - printed > _PRINT_S:
            printed = run.spent_s
            print(f"{run.share:6.1%} {run.samples:7d} samples {run.spent_s:6.0f} s  loss {run.loss:.4f}", flush=True)
        if run.spent_s - saved > _SAVE_S:
            saved = run.spent_s
            run.save()
    run.save()


def _with_one_past_step(before):
    """Diffusion Policy takes a history of observations, here of one."""
    def ready(batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        made = before(batch)
        return {k: v[:, None] if k.startswith("observation.") else v for k, v in made.items()}

    return ready


if __name__ == "__main__":
    main()

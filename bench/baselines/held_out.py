"""First chunks of episodes that no training saw, against the expert's: how far they end from where it would. Many more
trials for the time than closed loop, and nothing is mended by looking again."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from batches import Windows

from action_images_ros.metrics.intervals import wilson
from action_images_ros.training.validate import first_windows

_HIT_M, _BATCH = 0.03, 32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--model", type=Path, help="model directory of this project")
    what.add_argument("--checkpoint", type=Path, help="of train.py")
    parser.add_argument("--set", nargs=2, action="append", metavar=("NAME", "DIR"), required=True, help="shards")
    parser.add_argument("--windows", type=int, default=200)
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write")
    args = parser.parse_args()
    torch.set_num_threads(1)
    measure = _of_model(args.model) if args.model else _of_checkpoint(args.checkpoint)
    rows = {}
    for name, directory in args.set:
        windows = Windows(Path(directory), args.windows)
        rows[name] = _summary(measure(windows, first_windows(windows.source, args.windows)))
        print(args.model or args.checkpoint, name, rows[name], flush=True)
    args.out.write_text(json.dumps(rows, indent=1) + "\n")


def _of_checkpoint(path: Path):
    from policies import LerobotPolicy

    policy = LerobotPolicy.load(path)

    def measure(windows: Windows, picks: list) -> np.ndarray:
        parts = []
        for i in range(0, len(picks), _BATCH):
            batch = windows.of(picks[i:i + _BATCH])
            away = policy.actions(batch, seed=i)[..., :3] - batch["action"].numpy()[..., :3]
            parts.append(np.linalg.norm(away, axis=-1))
        return np.concatenate(parts)

    return measure


def _of_model(directory: Path):
    from action_images_ros.engines.torch_eager import load_denoiser
    from action_images_ros.model.config import ModelConfig
    from action_images_ros.training.data import CanvasSource
    from action_images_ros.training.validate import chunk_errors

    config = ModelConfig.load(directory)
    denoiser = load_denoiser(directory, config)

    def measure(windows: Windows, picks: list) -> np.ndarray:
        source = CanvasSource(windows.source.episodes, config, directory)
        return chunk_errors(denoiser, source, picks, seed=1).position_m[:, 1:]

    return measure


def _summary(error_m: np.ndarray) -> dict:
    """error_m (N, 8): of the position at each step."""
    last = error_m[:, -1]
    hits = int((last < _HIT_M).sum())
    return {"n": len(last), "median_mm": round(float(np.median(error_m)) * 1e3, 1),
            "median_last_mm": round(float(np.median(last)) * 1e3, 1), "hits": hits,
            "wilson_95": [round(v, 4) for v in wilson(hits, len(last))]}


if __name__ == "__main__":
    main()

"""Facts of a run of `action-images train`, and its first chunks of held-out episodes against the recorded ones, as
`train.py` measures those of the others: MODEL VALIDATION EPISODES, into MODEL/trained.json."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch

from action_images_ros.engines.torch_eager import load_denoiser
from action_images_ros.model.config import ModelConfig
from action_images_ros.training.data import CanvasSource, load_episodes
from action_images_ros.training.validate import chunk_errors, first_windows

_WINDOWS, _HIT_M = 64, 0.03


def main() -> None:
    model, validation, episodes = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    torch.set_num_threads(1)
    config = ModelConfig.load(model)
    denoiser = load_denoiser(model, config)
    source = CanvasSource(load_episodes(validation, _WINDOWS), config, model)
    found = chunk_errors(denoiser, source, first_windows(source, _WINDOWS), seed=1).summary(_HIT_M)
    last = json.loads((model / "log.jsonl").read_text().splitlines()[-1])
    row = {"policy": "ours", "samples": last["samples"], "processor_s": last["elapsed_s"], "loss": last["total"],
           "batch_size": 16, "episodes": episodes, "parameters": sum(p.numel() for p in denoiser.parameters()),
           "val_mm": found["val_mm"], "val_first_mm": found["val_last_mm"], "val_first_hit": found["val_last_hit"]}
    (model / "trained.json").write_text(json.dumps(row, indent=1) + "\n")
    print(json.dumps(row))


if __name__ == "__main__":
    main()

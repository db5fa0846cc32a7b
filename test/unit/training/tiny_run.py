"""A short run as one process of however many there are: replicated, then in shards.

python tiny_run.py SHARDS OUT
"""

import sys
from pathlib import Path

import torch
from tiny_training import CONFIG

from action_images_ros.training.data import CanvasSource, load_episodes
from action_images_ros.training.loop import Arithmetic, TrainConfig, Trainer
from action_images_ros.training.sharing import Sharing

STEPS = {"samples": 24, "batch_size": 4, "learning_rate": 1e-3, "warmup_samples": 8, "seed": 3,
         "arithmetic": Arithmetic.F32}


def train(source, out, **changes):
    made = Trainer(source, CONFIG, TrainConfig(**(STEPS | changes)), out, clock=lambda: 0.0)
    made.run(lambda progress: None, every_samples=12)
    return made


if __name__ == "__main__":
    torch.set_num_threads(1)
    shards, out = Path(sys.argv[1]), Path(sys.argv[2])
    source = CanvasSource(load_episodes(shards), CONFIG)
    assert train(source, out / "replicated").accelerator.num_processes == 2
    train(source, out / "sharded", sharing=Sharing.SHARDED, accumulate=2)

import pytest
import torch
from tiny_training import CONFIG

from action_images_ros.sim.collect import CollectConfig, collect_episodes
from action_images_ros.sim.split import Split
from action_images_ros.training.data import CanvasSource, load_episodes


@pytest.fixture(scope="session")
def shards(tmp_path_factory):
    """Three episodes of the simulated cell in two shards."""
    torch.set_num_threads(1)
    directory = tmp_path_factory.mktemp("shards")
    collect_episodes(directory, CollectConfig("reach_target", 3, 5, Split.TRAIN, image_px=32, shard_episodes=2))
    return directory


@pytest.fixture(scope="session")
def episodes(shards):
    return load_episodes(shards)


@pytest.fixture(scope="session")
def source(episodes):
    return CanvasSource(episodes, CONFIG)

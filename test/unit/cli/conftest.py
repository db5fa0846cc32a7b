import json

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from safetensors.torch import save_file as save_weights
from tiny_cell import CONFIG, FRAMES, WORDS, cameras, motion

from action_images_ros.model.small import ConvCanvas


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory):
    """A model directory with random weights."""
    torch.manual_seed(0)
    directory = tmp_path_factory.mktemp("model")
    net = ConvCanvas(CONFIG)
    with torch.no_grad():
        for value in net.parameters():
            if not value.any():
                value.normal_(0, 0.05)
    CONFIG.save(directory)
    save_weights(net.state_dict(), directory / "model.safetensors")
    return directory


@pytest.fixture(scope="session")
def tiny_shards(tmp_path_factory):
    """Two episodes in the format of `sim collect`; the second has the frames that are looked at."""
    directory = tmp_path_factory.mktemp("shards")
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (2 * FRAMES, 2, 32, 32, 3), np.uint8)
    seen = cameras((32, 32))
    arrays = {"images": images, "base_T_tcp": np.concatenate([motion(), motion()]).astype(np.float32),
              "openness": np.tile(np.float32([1, 1, 1, 0, 0]), 2),
              "episode_index": np.repeat(np.int32([0, 1]), FRAMES),
              "K": np.stack([[c.K for c in seen]] * 2).astype(np.float32),
              "base_T_camera": np.stack([[c.base_T_camera for c in seen]] * 2).astype(np.float32)}
    words = [{"task": "reach_target", "instruction": WORDS, "canonical_instruction": WORDS, "objects": []}] * 2
    save_file(arrays, directory / "shard_00000.safetensors", metadata={"episodes": json.dumps(words)})
    return directory, images[FRAMES:]

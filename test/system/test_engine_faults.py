"""An engine that returns NaN while the node runs: such chunks never leave it, the next one is tried, then it ends.

The fault is real: weights that are finite but overflow for instructions which contain one word.
"""

import numpy as np
import pytest
from graph_support import START_S, node, sim_node, tiny_model
from safetensors.numpy import load_file, save_file
from sensor_msgs.msg import Image

from action_images_ros.errors import ActionImagesError
from action_images_ros.model.config import ModelConfig
from action_images_ros.model.text import make_text_encoder
from action_images_ros.ros import qos
from action_images_ros.ros.operator import Operator
from action_images_ros.ros.runner import GraphRunner

GOOD, BAD = "wait", "reach the red ball"


def overflowing(directory):
    """Spoil a small denoiser: finite for GOOD, beyond float32's range for BAD."""
    config = ModelConfig.load(directory)
    encoder, path = make_text_encoder(config.text), directory / "model.safetensors"

    def gist(instruction):
        features, mask = encoder(instruction)
        return features[mask].sum(0).astype(float) / np.sqrt(mask.sum())

    good, bad = gist(GOOD), gist(BAD)
    direction = bad - good * (bad @ good) / (good @ good)
    weights = dict(load_file(path))
    weights["gist.0.weight"] = np.tile(1e3 * direction / (direction @ bad), (config.conv_canvas.width, 1)).astype("f4")
    weights["gist.0.bias"] = np.full(config.conv_canvas.width, -500, "f4")  # SiLU of -500 is zero, of 500 is 500
    weights["gist.2.weight"] = np.full((config.conv_canvas.width,) * 2, 1e37, "f4")
    save_file(weights, path)


@pytest.fixture
def spoiled(tmp_path):
    tiny_model(tmp_path)
    overflowing(tmp_path)
    return tmp_path


def test_nan_is_dropped_the_next_chunk_is_tried_and_too_many_end_the_node(cell_file, spoiled, tmp_path_factory):
    for limit, expected in ((0, "recovers"), (2, "ends")):
        denoiser = node("denoiser", cell_file, model=str(spoiled), engine="torch", max_failures=limit)
        nodes = [sim_node(cell_file), denoiser]
        with GraphRunner(nodes, tmp_path_factory.mktemp("log")) as runner, Operator() as operator:
            made = []
            operator.node.create_subscription(Image, "action_images", made.append, qos.TARGETS)
            operator.until(lambda: operator.active("denoiser: generate"), "the denoiser", 2 * START_S)
            operator.instruct(BAD)
            if expected == "ends":
                with pytest.raises(ActionImagesError, match="2 chunks in a row failed; .*NaN or infinity"):
                    operator.until(lambda: runner.require_running(), "the end of the denoiser", START_S)
                assert made == []
                return
            operator.until(lambda: operator.value("denoiser: generate", "dropped") >= 3, "dropped chunks", START_S)
            assert made == [] and "NaN or infinity" in operator.diagnostics["denoiser: generate"]["message"]
            operator.instruct(GOOD)
            operator.until(lambda: made, "a chunk after the fault", START_S)
            runner.require_running()

import contextlib
import io
import shutil

import pytest
import torch
from safetensors.torch import save_file

from action_images_ros.cli import main
from action_images_ros.model.config import ConvCanvasConfig, ModelConfig
from action_images_ros.model.small import ConvCanvas

CONFIG = ModelConfig(chunk_size=4, image_size=(32, 32), action_size=(16, 16), modes=("policy", "joint"),
                     conv_canvas=ConvCanvasConfig(width=48, channels=16, blocks=1, heads=3))


def write_model(directory, config=CONFIG, seed=0):
    """A model directory with random weights, those that start at zero too."""
    torch.manual_seed(seed)
    model = ConvCanvas(config)
    with torch.no_grad():
        for value in model.parameters():
            if not value.any():
                value.normal_(0, 0.1)
    config.save(directory)
    save_file(model.state_dict(), directory / "model.safetensors")
    return directory


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """Weights and configuration only."""
    return write_model(tmp_path_factory.mktemp("trained"))


@pytest.fixture(scope="session")
def export(tmp_path_factory, trained):
    """(directory, status, what it printed) of the export command. The one export of these tests: it takes seconds."""
    torch.set_num_threads(1)
    directory = shutil.copytree(trained, tmp_path_factory.mktemp("exported") / "model")
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        status = main(["export", str(directory), "--json"])
    return directory, status, printed.getvalue()


@pytest.fixture(scope="session")
def exported(export):
    """A model directory with its graphs. Not to be written to."""
    return export[0]


@pytest.fixture
def copy(tmp_path, exported):
    """The exported model, to be spoiled."""
    return shutil.copytree(exported, tmp_path / "model")

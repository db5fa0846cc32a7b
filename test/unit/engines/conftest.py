import contextlib
import io
import shutil

import pytest
import torch
from engine_models import write_model

from action_images_ros.cli import main


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

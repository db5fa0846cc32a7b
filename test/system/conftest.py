"""Real processes over DDS, in a domain of this run's own and on this machine only."""

import os
from pathlib import Path

import pytest

pytest.importorskip("rclpy")

os.environ["ROS_DOMAIN_ID"] = str(1 + os.getpid() % 100)
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MUJOCO_GL", "egl")

from action_images_ros.ros.runner import environment_defaults  # noqa: E402

os.environ.update(environment_defaults())

from graph_support import test_cell, tiny_model  # noqa: E402


@pytest.fixture(scope="session")
def cell_file(tmp_path_factory) -> Path:
    """The cell file of a simulated cell with two cameras of the test split."""
    path = tmp_path_factory.mktemp("cell") / "cell.yaml"
    test_cell().save(path)
    return path


@pytest.fixture(scope="session")
def model_directory(tmp_path_factory) -> Path:
    """A model of the default shapes with untrained weights."""
    path = tmp_path_factory.mktemp("model")
    tiny_model(path)
    return path


def pytest_collection_modifyitems(items) -> None:
    """A machine that other work occupies can keep several real processes from their deadlines: what fails is run once
    more, and the report says RERUN."""
    for item in items:
        if Path(__file__).parent in Path(item.path).parents:
            item.add_marker(pytest.mark.flaky(reruns=1))

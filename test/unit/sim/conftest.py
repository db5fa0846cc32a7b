import numpy as np
import pytest

from action_images_ros.sim.cell import SimCell, SimCellConfig
from action_images_ros.sim.episodes import sample_setting
from action_images_ros.sim.split import Split
from action_images_ros.sim.tasks import make_task

IMAGE_SIZE = (320, 240)


@pytest.fixture(scope="session")
def cell():
    made = SimCell(SimCellConfig(image_size=IMAGE_SIZE))
    yield made
    made.close()


@pytest.fixture(scope="session")
def task():
    return make_task("reach_target")


@pytest.fixture(scope="session")
def settings(cell, task):
    """Six (scene, cameras) of the TEST split."""
    rng = np.random.default_rng(11)
    return [sample_setting(task, rng, Split.TEST, cell.kinematics, 2, IMAGE_SIZE) for _ in range(6)]

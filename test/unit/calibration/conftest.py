import numpy as np
import pytest

from action_images_ros.bench.calibration_cell import operator_poses, random_cell, synthetic_samples
from action_images_ros.calibration import Options, calibrate


@pytest.fixture(scope="session")
def cell():
    """Two fixed cameras, a wrist camera, a board on the gripper and one on the table."""
    return random_cell(np.random.default_rng(3))


@pytest.fixture(scope="session")
def poses(cell):
    return operator_poses(np.random.default_rng(4), cell, 16)


@pytest.fixture(scope="session")
def samples(cell, poses):
    return synthetic_samples(np.random.default_rng(5), cell, poses)


@pytest.fixture(scope="session")
def result(cell, samples):
    return calibrate(cell.rig, samples, cell.arm, Options())

import numpy as np
import pytest

from action_images_ros.geometry import PinholeCamera
from action_images_ros.geometry.se3 import make
from action_images_ros.model.config import ConvCanvasConfig, ModelConfig


def looking_at(target, eye, focal_px, image_size):
    """A camera at `eye` whose optical axis goes through `target`, image x horizontal."""
    forward = np.subtract(target, eye)
    forward = forward / np.linalg.norm(forward)
    right = np.cross(forward, (0.0, 0.0, 1.0))
    right = right / np.linalg.norm(right)
    pose = make(np.stack([right, np.cross(forward, right), forward], 1), np.array(eye, float))
    K = np.array([[focal_px, 0, image_size[0] / 2 - 0.5], [0, focal_px, image_size[1] / 2 - 0.5], [0, 0, 1]])
    return PinholeCamera(K, image_size, pose)


@pytest.fixture(scope="session")
def cameras():
    """Two live views of the table in front of the arm, of different kind."""
    return (looking_at((0.5, 0.0, 0.2), (1.2, 0.8, 0.7), 420.0, (640, 480)),
            looking_at((0.45, 0.05, 0.2), (1.1, -0.9, 0.8), 250.0, (424, 240)))


@pytest.fixture(scope="session")
def tiny():
    """A configuration of the small denoiser that a test can afford."""
    return ModelConfig(chunk_size=4, image_size=(32, 32), action_size=(16, 16),
                       conv_canvas=ConvCanvasConfig(width=48, channels=16, blocks=2, heads=3))

"""The cell, motion and configuration behind the fixtures of this folder."""

import numpy as np

from action_images_ros.geometry import PinholeCamera
from action_images_ros.geometry.se3 import make
from action_images_ros.model.config import ConvCanvasConfig, ModelConfig

CONFIG = ModelConfig(chunk_size=4, image_size=(32, 32), action_size=(16, 16),
                     conv_canvas=ConvCanvasConfig(width=48, channels=16, blocks=1, heads=3))
DOWN = np.diag([1.0, -1.0, -1.0])
FRAMES = 5
WORDS = "reach the red ball"


def cameras(size):
    out = []
    for y in (0.7, -0.7):
        eye = np.array([1.2, y, 0.7])
        forward = np.array([0.5, 0, 0.2]) - eye
        forward /= np.linalg.norm(forward)
        right = np.cross(forward, [0, 0, 1.0])
        right /= np.linalg.norm(right)
        f = 1.1 * min(size)
        K = np.array([[f, 0, size[0] / 2 - 0.5], [0, f, size[1] / 2 - 0.5], [0, 0, 1]])
        out.append(PinholeCamera(K, size, make(np.stack([right, np.cross(forward, right), forward], 1), eye)))
    return tuple(out)


def motion():
    k = np.arange(FRAMES)[:, None]
    return make(np.repeat(DOWN[None], FRAMES, 0), np.array([0.48, -0.03, 0.22]) + k * [0.01, 0.02, -0.01])

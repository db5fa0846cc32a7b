"""The loss is the metric: 1 - SSIM of the same pictures."""

import numpy as np
import pytest
import torch

from action_images_ros.metrics.images import ssim
from action_images_ros.model.frames import PixelCodec
from action_images_ros.training.structure import dissimilarity


def latents(images: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(PixelCodec(4).encode(images))


@pytest.mark.parametrize("autocast", [False, True])
def test_it_is_one_minus_the_metric(autocast):
    rng = np.random.default_rng(0)
    truth = np.kron(rng.integers(0, 256, (5, 12, 12, 3)), np.ones((1, 4, 4, 1))).astype(np.uint8)
    made = np.clip(truth + rng.normal(0, 30, truth.shape), 0, 255).astype(np.uint8)
    expected = 1 - np.mean([ssim(a, b) for a, b in zip(truth, made)])
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        found = float(dissimilarity(latents(made), latents(truth), 4))
    assert abs(found - expected) < 2e-4


def test_it_pulls_a_picture_towards_the_truth():
    rng = np.random.default_rng(1)
    truth = latents(rng.integers(0, 256, (2, 24, 24, 3)).astype(np.uint8))
    made = (0.3 * truth).requires_grad_()
    dissimilarity(made, truth, 4).backward()
    assert float((made.grad * (truth - made)).sum()) < 0

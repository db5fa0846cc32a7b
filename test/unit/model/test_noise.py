"""Noise levels for exported graphs, against the torch network's own."""

import numpy as np
import torch

from action_images_ros.model.noise import level_features, velocity_from_clean
from action_images_ros.model.small import layers


def test_numpy_features_are_those_of_the_network():
    sigma = np.array([1.0, 0.75, 0.3337, 0.02, 0.0], np.float32)
    theirs = layers.level_features(torch.from_numpy(sigma), 48).numpy()
    ours = level_features(sigma, 48)
    assert ours.dtype == np.float32
    assert np.abs(ours - theirs).max() < 1e-4


def test_velocity_points_from_clean_to_noise():
    """x_s = (1 - s) x + s eps has velocity eps - x, for numpy and torch alike."""
    rng = np.random.default_rng(0)
    clean, noise = rng.standard_normal((2, 2, 1, 2, 3, 4, 4))
    sigma = np.array([0.9, 0.25])
    s = sigma.reshape(-1, 1, 1, 1, 1, 1)
    noisy = (1 - s) * clean + s * noise
    assert np.allclose(velocity_from_clean(noisy, clean, sigma), noise - clean)
    made = velocity_from_clean(*(torch.from_numpy(x) for x in (noisy, clean, sigma)))
    assert np.allclose(made.numpy(), noise - clean)


def test_velocity_at_zero_noise_is_finite():
    x = np.ones((1, 1, 1, 1, 1, 1))
    assert np.all(np.isfinite(velocity_from_clean(x, 0 * x, np.zeros(1))))

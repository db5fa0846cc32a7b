"""What a noise level means to a denoiser that predicts the clean sample."""

from __future__ import annotations

import numpy as np

MIN_SIGMA = 1e-3
"""Below this level a velocity is not divided any further: the sample is as good as clean."""

_MODEL_TIME = 1000.0
_LONGEST_PERIOD = 10_000.0


def level_features(sigma: np.ndarray, width: int) -> np.ndarray:
    """sigma (B,) in [0, 1] -> sinusoidal features (B, width) float32; the numpy twin of `small.layers.level_features`.

    Exported graphs take these instead of sigma: angles reach 1000 rad, which reduced precision cannot represent.
    """
    half = width // 2
    frequency = np.exp(-np.log(np.float32(_LONGEST_PERIOD)) * np.arange(half, dtype=np.float32) / np.float32(half))
    angle = np.float32(_MODEL_TIME) * np.asarray(sigma, np.float32)[:, None] * frequency
    return np.concatenate([np.cos(angle), np.sin(angle)], -1)


def velocity_from_clean(noisy, clean, sigma):
    """(noisy - clean) / sigma, of numpy arrays or torch tensors: noisy and clean (B, V, F, C, h, w), sigma (B,)."""
    return (noisy - clean) / sigma.clip(MIN_SIGMA).reshape(-1, 1, 1, 1, 1, 1)

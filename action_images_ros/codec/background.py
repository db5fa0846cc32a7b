"""Slow background under the blobs: a video model's haze, which would pull every fit towards its bright side."""

from __future__ import annotations

import numpy as np

from .blobs import Blobs
from .grid import Grid

_WAVES = 4  # cosines an axis: up to 1.5 periods over the image
_CELLS = 32  # an axis, of the samples that are looked at
_BLOB_SIGMA = 2.3
_WAVE_SD = 0.04
_MIN_NOISE = 0.004
_MIN_RMS = 0.003
_MIN_F = 3.0


def estimate(planes: np.ndarray, blobs: list[Blobs], grid: Grid, is_blue: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fit a few cosines to what lies outside the blobs.

    planes (N, h, w); blobs: sets of shape (N,), of amplitude 0 where a plane has none. Returns the
    backgrounds (N, h, w) float32 and whether each differs from a constant by more than noise explains (N,)
    bool. Of red and green the constant belongs to the background, of blue it is the pedestal and stays.
    """
    n, h, w = planes.shape
    stride = max(1, min(h, w) // _CELLS)
    y, x = np.arange(stride // 2, h, stride), np.arange(stride // 2, w, stride)
    rest = planes[:, y[:, None], x]
    free = np.ones(rest.shape, np.float32)
    for blob in blobs:
        some = blob.amplitude > 0
        sd = grid.sigma * np.exp(blob.log_width[some, None])
        dx, dy = ((x - blob.xy[some, :1]) / sd) ** 2, ((y - blob.xy[some, 1:]) / sd) ** 2
        height = np.where(is_blue, 0.0, blob.amplitude)[some, None].astype(np.float32)
        gy, gx = height * np.exp(-0.5 * dy).astype(np.float32), np.exp(-0.5 * dx).astype(np.float32)
        rest[some] -= gy[:, :, None] * gx[:, None, :]
        free[some] *= dy[:, :, None] + dx[:, None, :] > _BLOB_SIGMA**2
    basis = np.einsum("ky,lx->yxkl", _waves(h)[:, y], _waves(w)[:, x]).reshape(-1, _WAVES**2).astype(np.float32)
    coefficients, significant = _solve(rest.reshape(n, -1), free.reshape(n, -1), basis)
    coefficients[is_blue, 0] = 0.0
    shaped = coefficients.reshape(n, _WAVES, _WAVES).astype(np.float32)
    return _waves(h).T.astype(np.float32) @ shaped @ _waves(w).astype(np.float32), significant


def _waves(size: int) -> np.ndarray:
    return np.cos(np.pi * np.arange(_WAVES)[:, None] * (np.arange(size) + 0.5) / size)


def _solve(rest: np.ndarray, free: np.ndarray, basis: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    terms = basis.shape[1]
    upper = np.triu_indices(terms)
    gram = np.empty((len(rest), terms, terms))
    gram[:, upper[0], upper[1]] = gram[:, upper[1], upper[0]] = free @ (basis[:, upper[0]] * basis[:, upper[1]])
    count = np.maximum(free.sum(-1), 1.0)
    mean = (rest * free).sum(-1) / count
    centred = (rest - mean[:, None]) * free
    rhs = centred @ basis
    total = (centred**2).sum(-1)
    noise2 = np.maximum(total / count, _MIN_NOISE**2)
    for _ in range(2):
        ridge = np.eye(terms) * (noise2 / _WAVE_SD**2)[:, None, None]
        ridge[:, 0, 0] = 1e-6
        out = np.linalg.solve(gram + ridge, rhs[..., None])[..., 0]
        explained = (out * rhs).sum(-1)
        noise2 = np.maximum((total - explained) / np.maximum(count - terms, 1.0), _MIN_NOISE**2)
    rms = np.sqrt((out[:, 1:] ** 2).sum(-1)) / 2
    out[:, 0] += mean
    return out, (explained > _MIN_F * (terms - 1) * noise2) & (rms > _MIN_RMS)

"""Slow background under the blobs: a video model's haze, which would pull every fit towards its bright side."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from .blobs import Blobs
from .grid import Grid

_WAVES = 5  # cosines an axis, up to 1.5 periods over the image
_TEST_ORDER = 3  # fewer of them show whether there is a background at all
_MARGIN = 0.15  # of the image: the cosines are those of a wider image, since at its border they would be level
_BLOB_SIGMA = 2.3
_WAVE_SD = 0.04
_MIN_NOISE = 0.004
_MIN_RMS = 0.003
_MIN_F = 3.0


def estimate(planes: np.ndarray, blobs: list[Blobs], grid: Grid, is_blue: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fit a few cosines to what lies outside the blobs.

    planes (N, h, w); blobs: sets of shape (N,), of amplitude 0 where a plane has none. Returns coefficients
    (n, 5, 5) for `draw`, of those n planes that differ from a constant by more than noise explains, and which these
    are (n,). Of red and green the constant belongs to the background, of blue it is the pedestal and stays.
    """
    n, h, w = planes.shape
    y, x = grid.coarse(h), grid.coarse(w)
    rest = planes[:, y[0]::grid.stride, x[0]::grid.stride].copy()
    free: np.ndarray = np.ones(rest.shape, np.float32)
    for blob in blobs:
        some = np.flatnonzero(blob.amplitude > 0)
        sd = grid.sigma * np.exp(blob.log_width[some, None])
        dx, dy = (((at - blob.xy[some, k, None]) / sd) ** 2 for k, at in enumerate((x, y)))
        dx, dy = dx.astype(np.float32), dy.astype(np.float32)
        height = np.where(is_blue[some], 0.0, blob.amplitude[some])[:, None].astype(np.float32)
        rest[some] -= (height * np.exp(-0.5 * dy))[:, :, None] * np.exp(-0.5 * dx)[:, None, :]
        free[some] *= dy[:, :, None] + dx[:, None, :] > np.float32(_BLOB_SIGMA**2)
    rest, free = rest.reshape(n, -1), free.reshape(n, -1)
    which = np.flatnonzero(_solve(rest, free, *_basis(h, w, grid.stride, _TEST_ORDER))[1])
    out = _solve(rest[which], free[which], *_basis(h, w, grid.stride, 2 * _WAVES))[0].reshape(-1, _WAVES, _WAVES)
    out[is_blue[which], 0, 0] = 0.0
    return out, which


def draw(coefficients: np.ndarray, h: int, w: int) -> np.ndarray:
    """Backgrounds (N, h, w) float32."""
    return _waves(h, _WAVES).T @ coefficients.astype(np.float32) @ _waves(w, _WAVES)


def _waves(size: int, count: int) -> np.ndarray:
    at = ((np.arange(size) + 0.5) / size + _MARGIN) / (1 + 2 * _MARGIN)
    return np.cos(np.pi * np.arange(count)[:, None] * at).astype(np.float32)


@lru_cache(maxsize=8)
def _basis(h: int, w: int, stride: int, order: int) -> tuple[np.ndarray, np.ndarray]:
    """Waves (cells, n) up to a total order on the cells of a search, the constant first; and the products of each
    two of them."""
    y, x = ((size - 1) % stride // 2 for size in (h, w))
    basis = np.einsum("ky,lx->klyx", _waves(h, _WAVES)[:, y::stride], _waves(w, _WAVES)[:, x::stride])
    k = np.arange(_WAVES)
    basis = np.ascontiguousarray(basis[k[:, None] + k <= order].reshape(-1, basis.shape[2] * basis.shape[3]).T)
    first, second = np.triu_indices(basis.shape[1])
    return basis, basis[:, first] * basis[:, second]


def _solve(rest: np.ndarray, free: np.ndarray, basis: np.ndarray,
           products: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    terms = basis.shape[1]
    first, second = np.triu_indices(terms)
    gram = np.empty((len(rest), terms, terms))
    gram[:, first, second] = gram[:, second, first] = free @ products
    count = np.maximum(free.sum(-1), 1.0)
    rest = rest * free
    mean = rest.sum(-1) / count
    rest -= mean[:, None] * free
    rhs = (rest @ basis).astype(float)
    total = np.einsum("np,np->n", rest, rest).astype(float)
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

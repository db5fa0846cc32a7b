"""Sub-pixel blobs: fit the known Gaussian with free height, width and offset, many windows at once."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from .grid import Grid

WINDOW_SIGMA = 2.5
_ITERATIONS = 5
_LOG_WIDTH_SD = 0.3
_OFFSET_SD = 0.05
_BLUE_OFFSET_SD = 0.03
_MAX_LOG_WIDTH = 0.8
_MIN_NOISE = 2e-4


@dataclass
class Blobs:
    """Fitted blobs, arrays of one leading shape S. Lengths in cells of the grid.

    xy S+(2,) centre; cov S+(2, 2) of its error; amplitude S; log_width S, ln of sigma over the drawn
    sigma; offset S; misfit S, rms residual.
    """

    xy: np.ndarray
    cov: np.ndarray
    amplitude: np.ndarray
    log_width: np.ndarray
    offset: np.ndarray
    misfit: np.ndarray

    @classmethod
    def empty(cls, n: int) -> Blobs:
        return cls(np.zeros((n, 2)), np.tile(np.eye(2), (n, 1, 1)), np.zeros(n), np.zeros(n), np.zeros(n), np.zeros(n))

    @classmethod
    def stack(cls, blobs: list[Blobs]) -> Blobs:
        """K sets of shape S -> one of shape S + (K,)."""
        at = blobs[0].amplitude.ndim
        return cls(*(np.stack([getattr(b, f.name) for b in blobs], at) for f in fields(cls)))

    def take(self, which: np.ndarray) -> Blobs:
        return Blobs(*(getattr(self, f.name)[which] for f in fields(self)))

    def put(self, which: np.ndarray, other: Blobs) -> None:
        for f in fields(self):
            getattr(self, f.name)[which] = getattr(other, f.name)

    def reshaped(self, *shape: int) -> Blobs:
        return Blobs(self.xy.reshape(*shape, 2), self.cov.reshape(*shape, 2, 2), self.amplitude.reshape(shape),
                     self.log_width.reshape(shape), self.offset.reshape(shape), self.misfit.reshape(shape))


def fit(grid: Grid, planes: np.ndarray, index: np.ndarray, start_xy: np.ndarray, start_amplitude: np.ndarray,
        is_blue: np.ndarray, pedestal: float) -> Blobs:
    """Fit one blob in each of N windows.

    planes (P, h, w) float32; index (N,) the plane of each window; start_xy (N, 2) cells; start_amplitude (N,);
    is_blue (N,) bool: only cells that the blob lifts above the pedestal count.
    """
    if not len(index):
        return Blobs.empty(0)
    h, w = planes.shape[-2:]
    half = int(np.ceil(WINDOW_SIGMA * grid.sigma))
    corner = np.rint(start_xy).astype(int) - half
    span = np.arange(2 * half + 1)
    x, y = corner[:, :1] + span, corner[:, 1:] + span
    inside = ((y >= 0) & (y < h))[:, :, None] & ((x >= 0) & (x < w))[:, None, :]
    values = planes[index[:, None, None], np.clip(y, 0, h - 1)[:, :, None], np.clip(x, 0, w - 1)[:, None, :]]
    n = len(index)
    values, inside = values.reshape(n, -1).astype(float), inside.reshape(n, -1).astype(float)
    state = np.stack([start_amplitude, start_xy[:, 0], start_xy[:, 1], np.zeros(n), np.zeros(n)], -1)
    offset_sd = np.where(is_blue, _BLUE_OFFSET_SD, _OFFSET_SD)
    prior = np.zeros((n, 5))
    noise2 = np.full(n, 1e-4)
    for k in range(_ITERATIONS + 1):
        g, jac, weight = _linearise(state, x, y, grid, is_blue, pedestal)
        weight = weight * inside
        residual = values - state[:, :1] * g - state[:, 4:]
        count = np.maximum(weight.sum(-1), 1.0)
        if k:
            noise2 = np.maximum((weight * residual**2).sum(-1) / np.maximum(count - 4.0, 1.0), _MIN_NOISE**2)
        prior[:, 3], prior[:, 4] = noise2 / _LOG_WIDTH_SD**2, noise2 / offset_sd**2
        weighted = jac * weight[:, None, :]
        normal = weighted @ np.swapaxes(jac, -1, -2)
        normal[:, range(5), range(5)] += prior + 1e-9
        if k == _ITERATIONS:
            break
        gradient = (weighted @ residual[:, :, None])[..., 0] - prior * state * [0, 0, 0, 1, 1]
        step = np.linalg.solve(normal, gradient[..., None])[..., 0]
        reach = np.hypot(step[:, 1], step[:, 2]) / (0.5 * grid.sigma)
        step /= np.maximum(reach, 1.0)[:, None]
        state = state + step
        state[:, 0] = np.clip(state[:, 0], 0.02, 3.0)
        state[:, 3] = np.clip(state[:, 3], -_MAX_LOG_WIDTH, _MAX_LOG_WIDTH)
    cov = noise2[:, None, None] * np.linalg.inv(normal)[:, 1:3, 1:3]
    return Blobs(state[:, 1:3], cov, state[:, 0], state[:, 3], state[:, 4], np.sqrt(noise2))


def _linearise(state: np.ndarray, x: np.ndarray, y: np.ndarray, grid: Grid, is_blue: np.ndarray,
               pedestal: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gaussians (N, P), Jacobian (N, 5, P) by (amplitude, x, y, ln width, offset), weights (N, P)."""
    n = len(state)
    var = (grid.sigma * np.exp(state[:, 3])) ** 2
    dx, dy = x - state[:, 1:2], y - state[:, 2:3]
    gy, gx = np.exp(-0.5 * dy**2 / var[:, None]), np.exp(-0.5 * dx**2 / var[:, None])
    g = (gy[:, :, None] * gx[:, None, :]).reshape(n, -1)
    ones = np.ones_like(g)
    dx = np.broadcast_to(dx[:, None, :], (n, y.shape[1], x.shape[1])).reshape(n, -1)
    dy = np.broadcast_to(dy[:, :, None], (n, y.shape[1], x.shape[1])).reshape(n, -1)
    r2 = dx**2 + dy**2
    slope = g * (state[:, :1] / var[:, None])
    jac = np.stack([g, slope * dx, slope * dy, slope * r2, ones], 1)
    radius = np.full(n, WINDOW_SIGMA * grid.sigma)
    lift = np.sqrt(2 * var * np.log(np.maximum(state[:, 0] / pedestal, 1.05)))
    spill = 0.7 if grid.cell > 1 else 0.1
    radius = np.where(is_blue, np.maximum(lift - spill, 1.2), radius)
    return g, jac, (r2 <= radius[:, None] ** 2).astype(float)

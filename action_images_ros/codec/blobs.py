"""Sub-pixel blobs: fit the known Gaussian with free height, width and offset, many windows at once."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from .grid import Grid

WINDOW_SIGMA = 2.5
_ITERATIONS = 8
_CONVERGED_SIGMA = 0.01  # a further step would be a hundredth of it
_CONVERGED_WIDTH = 0.02
_MAX_STEP_SIGMA = 0.5
_AMPLITUDE_RANGE = (0.02, 3.0)
_LOG_WIDTH_SD = 0.3
_OFFSET_SD = 0.05
_BLUE_OFFSET_SD = 0.03
_MAX_LOG_WIDTH = 0.8
_TOO_HIGH, _FULL = 1.05, 0.97
_START_NOISE2 = 1e-4
_PRIOR_NOISE2 = 1e-4  # what a window leaves unexplained is never trusted to be less
_MIN_NOISE = 2e-4
_SPILL_CELLS = 0.7  # half a cell's diagonal
_SPILL_PIXELS = 0.1
_MIN_RADIUS = 1.2
_MIN_RADIUS_SIGMA = 0.75


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


def fit(grid: Grid, planes: np.ndarray, start_xy: np.ndarray, start_amplitude: np.ndarray, is_blue: np.ndarray,
        pedestal: float) -> Blobs:
    """Fit one blob in each of N planes by Gauss-Newton, in a window around its start.

    planes (N, h, w) float32; start_xy (N, 2) cells; start_amplitude (N,); is_blue (N,) bool: only cells that the
    blob lifts above the pedestal count. Width and offset have a prior, so that a blob cut by the border
    or low over the pedestal stays determined.
    """
    n = len(planes)
    windows = _cut(planes, start_xy, int(np.ceil(WINDOW_SIGMA * grid.sigma)))
    state = np.zeros((n, 5))
    state[:, 0], state[:, 1:3] = start_amplitude, start_xy
    prior = np.zeros((n, 5))
    prior[:, 3], prior[:, 4] = _LOG_WIDTH_SD**-2, np.where(is_blue, _BLUE_OFFSET_SD, _OFFSET_SD) ** -2.0
    noise2, normal = np.full(n, _START_NOISE2), np.tile(np.eye(5), (n, 1, 1))
    active = np.arange(n)
    for _ in range(_ITERATIONS):
        if not len(active):
            break
        some = windows if len(active) == n else [a[active] for a in windows]
        step, noise2[active], normal[active] = _step(state[active], some, grid, is_blue[active], pedestal,
                                                     prior[active], noise2[active])
        moved = np.hypot(step[:, 1], step[:, 2]) / grid.sigma
        state[active] += step * np.minimum(1.0, _MAX_STEP_SIGMA / np.maximum(moved, 1e-12))[:, None]
        state[:, 0] = np.clip(state[:, 0], *_AMPLITUDE_RANGE)
        state[:, 3] = np.clip(state[:, 3], -_MAX_LOG_WIDTH, _MAX_LOG_WIDTH)
        active = active[(moved > _CONVERGED_SIGMA) | (np.abs(step[:, 3]) > _CONVERGED_WIDTH)]
    cov = noise2[:, None, None] * np.linalg.inv(normal)[:, 1:3, 1:3]
    cov = (cov + np.swapaxes(cov, 1, 2)) / 2
    return Blobs(state[:, 1:3].copy(), cov, state[:, 0].copy(), state[:, 3].copy(), state[:, 4].copy(), np.sqrt(noise2))


def _cut(planes: np.ndarray, centres: np.ndarray, half: int) -> list[np.ndarray]:
    """Windows of n = 2 half + 1 cells: values and whether inside the image (N, n, n), x and y (N, n); float32."""
    h, w = planes.shape[-2:]
    corner = np.rint(centres).astype(int) - half
    span = np.arange(2 * half + 1)
    x, y = corner[:, :1] + span, corner[:, 1:] + span
    inside = ((y >= 0) & (y < h))[:, :, None] & ((x >= 0) & (x < w))[:, None, :]
    flat = np.clip(y, 0, h - 1)[:, :, None] * w + np.clip(x, 0, w - 1)[:, None, :]
    values = np.take_along_axis(planes.reshape(len(planes), -1), flat.reshape(len(planes), -1), 1).reshape(flat.shape)
    return [values, inside.astype(np.float32), x.astype(np.float32), y.astype(np.float32)]


def _step(state: np.ndarray, windows: list[np.ndarray], grid: Grid, is_blue: np.ndarray, pedestal: float,
          prior: np.ndarray, noise2: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One Gauss-Newton step of (amplitude, x, y, ln width, offset) (N, 5); the noise variance that it leaves (N,);
    the normal matrix (N, 5, 5)."""
    values, inside, x, y = windows
    n, amplitude = len(state), state[:, 0].astype(np.float32)
    var = (grid.sigma * np.exp(state[:, 3])) ** 2
    dx, dy = x - state[:, 1:2].astype(np.float32), y - state[:, 2:3].astype(np.float32)
    decay = (-0.5 / var).astype(np.float32)[:, None]
    dx2, dy2 = dx * dx, dy * dy
    r2 = dy2[:, :, None] + dx2[:, None, :]
    rows = np.empty((n, 6) + r2.shape[1:], np.float32)
    g, by_x, by_y, by_width, ones, residual = np.moveaxis(rows, 1, 0)
    np.multiply(inside, r2 <= _radius2(state, var, grid, is_blue, pedestal)[:, None, None], out=ones)
    np.multiply(np.exp(decay * dy2)[:, :, None], np.exp(decay * dx2)[:, None, :], out=g)
    _drop_saturated(state, g, ones)
    g *= ones
    np.multiply(g, dx[:, None, :], out=by_x)
    np.multiply(g, dy[:, :, None], out=by_y)
    np.multiply(g, r2, out=by_width)
    np.subtract(values, state[:, 4].astype(np.float32)[:, None, None], out=residual)
    residual *= ones
    residual -= amplitude[:, None, None] * g
    rows = rows.reshape(n, 6, -1)
    gram = (rows @ np.swapaxes(rows, 1, 2)).astype(float)
    steep = state[:, 0] / var
    scale = np.stack([np.ones(n), steep, steep, steep, np.ones(n)], -1)
    data = gram[:, :5, :5] * scale[:, :, None] * scale[:, None, :]
    pull = np.maximum(noise2, _PRIOR_NOISE2)[:, None] * prior
    normal = data + pull[:, :, None] * np.eye(5) + 1e-9 * np.eye(5)
    slope = gram[:, :5, 5] * scale
    step = np.linalg.solve(normal, (slope - pull * state)[..., None])[..., 0]
    left = gram[:, 5, 5] - 2 * (step * slope).sum(-1) + (step[:, None] @ data @ step[:, :, None])[:, 0, 0]
    return step, np.maximum(left / np.maximum(gram[:, 4, 4] - 4.0, 1.0), _MIN_NOISE**2), normal


def _drop_saturated(state: np.ndarray, g: np.ndarray, ones: np.ndarray) -> None:
    """Cells at which a blob drawn too high was cut off at full scale do not count."""
    high = np.flatnonzero(state[:, 0] + state[:, 4] > _TOO_HIGH)
    limit = ((_FULL - state[high, 4]) / state[high, 0]).astype(np.float32)
    ones[high] *= g[high] < limit[:, None, None]


def _radius2(state: np.ndarray, var: np.ndarray, grid: Grid, is_blue: np.ndarray, pedestal: float) -> np.ndarray:
    """Squared radius (N,) of the cells that count; of blue those that lie wholly above the pedestal."""
    lifted = np.sqrt(2 * var * np.log(np.maximum(state[:, 0] / pedestal, 1.05)))
    blue = np.maximum(lifted - (_SPILL_CELLS if grid.cell > 1 else _SPILL_PIXELS),
                      max(_MIN_RADIUS, _MIN_RADIUS_SIGMA * grid.sigma))
    return (np.where(is_blue, blue, WINDOW_SIGMA * grid.sigma) ** 2).astype(np.float32)

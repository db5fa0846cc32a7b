"""The working grid of the decoder: action images on cells of a third of a blob's sigma.

A blob of sigma 25.6 px is as well known from sums over 8x8 pixels as from the pixels themselves. So
the decoder samples every image once to find its way, and adds up only the pixels around the blobs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_CELLS_PER_SIGMA = 3.2
_FINE_SIGMA = 2.2  # cells; where a blob is wider, every second cell is enough to find it
_SEARCH_BLUR = 0.5  # of sigma: a compromise between noise and blobs that touch


@dataclass
class Grid:
    """values (T, V, 3, h, w) float32 in [0, 1]: cell means, or single samples of cells that were not summed.

    cell: width of a cell in pixels. sigma: of a drawn blob, in cells. Cell i is centred on pixel
    `i * cell + (cell - 1) / 2`.
    """

    values: np.ndarray
    cell: int
    sigma: float

    @property
    def stride(self) -> int:
        """Cells between those that a search looks at."""
        return 2 if self.sigma > _FINE_SIGMA else 1

    def coarse(self, size: int) -> np.ndarray:
        """Along an axis of `size` cells, those that a search looks at."""
        return np.arange((size - 1) % self.stride // 2, size, self.stride)

    def to_px(self, cells: np.ndarray) -> np.ndarray:
        return cells * self.cell + (self.cell - 1) / 2


def sample(images: np.ndarray, sigma_px: float) -> Grid:
    """One pixel for each cell; where cells are wider than pixels, only for those that a search looks at, and `add_up`
    makes the others true. images (T, V, H, W, 3), uint8 or float in [0, 1]."""
    cell = max(1, round(sigma_px / _CELLS_PER_SIGMA))
    height, width = images.shape[2] // cell, images.shape[3] // cell
    grid = Grid(np.empty(images.shape[:2] + (3, height, width), np.float32), cell,
                float(np.sqrt(sigma_px**2 + (cell**2 - 1) / 12) / cell))
    stride = grid.stride if cell > 1 else 1
    first = [(size - 1) % stride // 2 for size in (height, width)]
    y, x = (slice(at * cell + cell // 2, size * cell, stride * cell) for at, size in zip(first, (height, width)))
    picked = images[:, :, y, x]
    values = grid.values if stride == 1 else np.empty(images.shape[:2] + (3,) + picked.shape[2:4], np.float32)
    for channel in range(3):
        np.multiply(picked[..., channel], np.float32(1 / 255 if images.dtype == np.uint8 else 1),
                    out=values[:, :, channel])
    if stride > 1:
        rows, columns = (np.clip((np.arange(size) - at) // stride, 0, count - 1)
                         for size, at, count in zip((height, width), first, picked.shape[2:4]))
        np.take(np.take(values, columns, -1), rows, -2, out=grid.values)
    return grid


def add_up(grid: Grid, images: np.ndarray, which: np.ndarray, centres: np.ndarray, radius: float) -> None:
    """Replace samples by the means of whole cells wherever a blob may be.

    which (N,): images out of T * V; centres (N, n, 2) xy in cells; radius in cells. Writes into grid.values.
    """
    h, w = grid.values.shape[-2:]
    limit = np.array([w, h])
    low = np.clip(np.floor(centres.min(1) - radius), 0, limit).astype(int).tolist()
    high = np.clip(np.ceil(centres.max(1) + radius) + 1, 0, limit).astype(int).tolist()
    boxes = [(k, y0, y1, x0, x1) for k, (x0, y0), (x1, y1) in zip(which.tolist(), low, high) if x1 > x0 and y1 > y0]
    if grid.cell == 1 or not boxes:
        return
    means = _cell_means(images.reshape((-1,) + images.shape[2:]), grid.cell, boxes)
    planes = grid.values.reshape((-1,) + grid.values.shape[2:])
    start = 0
    for k, y0, y1, x0, x1 in boxes:
        ny, nx = y1 - y0, x1 - x0
        planes[k, :, y0:y1, x0:x1] = means[:, start:start + ny * nx].reshape(3, ny, nx)
        start += ny * nx


def _cell_means(images: np.ndarray, cell: int, boxes: Sequence[tuple[int, ...]]) -> np.ndarray:
    """Means (3, n) float32 of all cells of boxes (image, y0, y1, x0, x1), one box after the other, row by row."""
    is_bytes = images.dtype == np.uint8
    count = sum((y1 - y0) * (x1 - x0) for _, y0, y1, x0, x1 in boxes)
    columns = np.empty((count, cell * 3), np.uint16 if is_bytes else np.float32)
    start = 0
    for k, y0, y1, x0, x1 in boxes:
        ny, width = y1 - y0, (x1 - x0) * cell * 3
        box = images[k, y0 * cell:y1 * cell, x0 * cell:x1 * cell].reshape(ny, cell, width)
        end = start + ny * (x1 - x0)
        np.add.reduce(box, axis=1, dtype=columns.dtype, out=columns[start:end].reshape(ny, width))
        start = end
    scale = 1 / cell**2 / (255 if is_bytes else 1)
    take = np.tile(np.eye(3, dtype=np.float32) * np.float32(scale), (1, cell))
    return take @ columns.astype(np.float32).T


def smoothed(planes: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian blur of (N, h, w) float32 by half a blob of `sigma`; at the border over what there is."""
    h, w = planes.shape[-2:]
    return _blur(h, _SEARCH_BLUR * sigma) @ planes @ _blur(w, _SEARCH_BLUR * sigma).T


def _blur(size: int, sigma: float) -> np.ndarray:
    at = np.arange(size)
    out = np.exp(-0.5 * ((at[:, None] - at) / max(sigma, 0.3)) ** 2)
    return (out / out.sum(1, keepdims=True)).astype(np.float32)


def peaks(planes: np.ndarray, sigma: float) -> tuple[np.ndarray, np.ndarray]:
    """The highest point of each smoothed plane (N, h, w): xy (N, 2) to a fraction of a cell, and its value (N,)."""
    n, h, w = planes.shape
    response = smoothed(planes, sigma)
    best = response.reshape(n, -1).argmax(-1)
    x, y, every = best % w, best // w, np.arange(n)
    shift_x = _vertex(*(response[every, y, np.clip(x + d, 0, w - 1)] for d in (-1, 0, 1)))
    shift_y = _vertex(*(response[every, np.clip(y + d, 0, h - 1), x] for d in (-1, 0, 1)))
    inner_x, inner_y = (x > 0) & (x < w - 1), (y > 0) & (y < h - 1)
    return np.stack([x + shift_x * inner_x, y + shift_y * inner_y], -1), response[every, y, x]


def _vertex(before: np.ndarray, at: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Where the parabola through three equidistant values peaks, in [-0.5, 0.5] of their distance."""
    bend = np.maximum(2 * at - before - after, 1e-9)
    return np.clip(0.5 * (after - before) / bend, -0.5, 0.5).astype(float)

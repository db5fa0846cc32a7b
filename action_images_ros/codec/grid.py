"""The working grid of the decoder: action images on cells of a third of a blob's sigma.

A blob of sigma 25.6 px is as well known from sums over 8x8 pixels as from the pixels themselves. So
the decoder samples every image once to find its way, and adds up only the pixels around the blobs.
"""

from __future__ import annotations

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
    """One pixel out of each cell. images (T, V, H, W, 3), uint8 or float in [0, 1]."""
    cell = max(1, round(sigma_px / _CELLS_PER_SIGMA))
    height, width = images.shape[2] // cell, images.shape[3] // cell
    mid = cell // 2
    picked = images[:, :, mid::cell, mid::cell][:, :, :height, :width]
    if images.dtype == np.uint8 and picked.strides[-1] == 1:  # copy whole pixels, which is several times faster
        picked = np.ascontiguousarray(picked.view("V3")).view(np.uint8)
    values = np.empty(picked.shape[:2] + (3, height, width), np.float32)
    np.multiply(np.moveaxis(picked, -1, 2), np.float32(1 / 255 if images.dtype == np.uint8 else 1), out=values)
    return Grid(values, cell, float(np.sqrt(sigma_px**2 + (cell**2 - 1) / 12) / cell))


def add_up(grid: Grid, images: np.ndarray, centres: np.ndarray, radius: float) -> None:
    """Replace samples by the means of whole cells wherever a blob of the image may be.

    centres (T, V, n, 2) xy in cells; radius in cells. Writes into grid.values.
    """
    if grid.cell == 1:
        return
    h, w = grid.values.shape[-2:]
    limit = np.array([w, h])
    low = np.clip(np.floor(centres.min(2) - radius), 0, limit).astype(int).reshape(-1, 2).tolist()
    high = np.clip(np.ceil(centres.max(2) + radius) + 1, 0, limit).astype(int).reshape(-1, 2).tolist()
    planes = grid.values.reshape((-1,) + grid.values.shape[2:])
    take = _take_channels(grid.cell, 1.0 if images.dtype != np.uint8 else 1 / 255)
    for image, out, (x0, y0), (x1, y1) in zip(images.reshape((-1,) + images.shape[2:]), planes, low, high):
        if x1 > x0 and y1 > y0:
            out[:, y0:y1, x0:x1] = _cell_means(image, grid.cell, take, x0, y0, x1, y1)


def _take_channels(cell: int, scale: float) -> np.ndarray:
    """(3 cell, 3): from `cell` interleaved pixels, already summed down, the mean of each channel."""
    return np.tile(np.eye(3, dtype=np.float32) * np.float32(scale / cell**2), (cell, 1))


def _cell_means(image: np.ndarray, cell: int, take: np.ndarray, x0: int, y0: int, x1: int, y1: int) -> np.ndarray:
    """Means of the cells [x0, x1) x [y0, y1) of an (H, W, 3) image -> (3, y1 - y0, x1 - x0) float32."""
    ny, nx = y1 - y0, x1 - x0
    box = image[y0 * cell:y1 * cell, x0 * cell:x1 * cell].reshape(ny, cell, nx * cell * 3)
    wide = np.uint16 if image.dtype == np.uint8 else np.float32
    rows = np.add.reduce(box, axis=1, dtype=wide).astype(np.float32)
    return np.moveaxis((rows.reshape(ny * nx, cell * 3) @ take).reshape(ny, nx, 3), -1, 0)


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

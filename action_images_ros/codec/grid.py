"""The working grid of the decoder: action images on cells of a third of a blob's sigma.

A blob of sigma 25.6 px is as well known from sums over 8x8 pixels as from the pixels themselves. So
the decoder samples every image once to find its way, and adds up only the pixels around the blobs.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np

_CELLS_PER_SIGMA = 3.2
_SEARCH_BLUR_CELLS = 0.5  # of sigma: a compromise between noise and blobs that touch


@dataclass
class Grid:
    """values (T, V, 3, h, w) float32 in [0, 1]: cell means, or single samples of cells that were not summed.

    cell: width of a cell in pixels. sigma: of a drawn blob, in cells. Cell i is centred on pixel
    `i * cell + (cell - 1) / 2`.
    """

    values: np.ndarray
    cell: int
    sigma: float

    def to_px(self, cells: np.ndarray) -> np.ndarray:
        return cells * self.cell + (self.cell - 1) / 2


def sample(images: np.ndarray, sigma_px: float) -> Grid:
    """One pixel out of each cell. images (T, V, H, W, 3), uint8 or float in [0, 1]."""
    cell = max(1, round(sigma_px / _CELLS_PER_SIGMA))
    height, width = images.shape[2] // cell, images.shape[3] // cell
    mid = cell // 2
    picked = images[:, :, mid::cell, mid::cell][:, :, :height, :width]
    values = np.ascontiguousarray(np.moveaxis(picked, -1, 2), np.float32)
    if images.dtype == np.uint8:
        values *= np.float32(1 / 255)
    return Grid(values, cell, float(np.sqrt(sigma_px**2 + (cell**2 - 1) / 12) / cell))


def add_up(grid: Grid, images: np.ndarray, centres: np.ndarray, radius: float) -> None:
    """Replace samples by the means of whole cells wherever a blob of the image may be.

    centres (T, V, n, 2) xy in cells, NaN ignored; radius in cells. Writes into grid.values.
    """
    if grid.cell == 1:
        return
    h, w = grid.values.shape[-2:]
    found = np.isfinite(centres[..., :1])
    low = np.where(found, centres, np.inf).min(2) - radius
    high = np.where(found, centres, -np.inf).max(2) + radius
    limit = np.array([w, h])
    low = np.clip(np.nan_to_num(np.floor(low), posinf=0.0), 0, limit).astype(int)
    high = np.clip(np.nan_to_num(np.ceil(high), neginf=-1.0) + 1, 0, limit).astype(int)
    flat_images = images.reshape((-1,) + images.shape[2:])
    flat_values = grid.values.reshape((-1,) + grid.values.shape[2:])
    jobs = list(zip(flat_images, flat_values, low.reshape(-1, 2).tolist(), high.reshape(-1, 2).tolist()))

    def work(part: list) -> None:
        for image, values, (x0, y0), (x1, y1) in part:
            if x1 > x0 and y1 > y0:
                values[:, y0:y1, x0:x1] = _cell_means(image, grid.cell, x0, y0, x1, y1)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(work, (jobs[0::2], jobs[1::2])))


def _cell_means(image: np.ndarray, cell: int, x0: int, y0: int, x1: int, y1: int) -> np.ndarray:
    """Means of the cells [x0, x1) x [y0, y1) of an (H, W, 3) image -> (3, y1 - y0, x1 - x0) float32."""
    ny, nx = y1 - y0, x1 - x0
    box = image[y0 * cell:y1 * cell, x0 * cell:x1 * cell].reshape(ny, cell, nx * cell * 3)
    wide = np.uint16 if image.dtype == np.uint8 else np.float32
    rows = np.add.reduce(box, axis=1, dtype=wide).reshape(ny * nx, cell * 3).astype(np.float32)
    scale = 1.0 / (cell * cell * (255.0 if image.dtype == np.uint8 else 1.0))
    take = np.tile(np.eye(3, dtype=np.float32) * np.float32(scale), (cell, 1))
    return np.moveaxis((rows @ take).reshape(ny, nx, 3), -1, 0)


def smoothed(values: np.ndarray, sigma_cells: float) -> np.ndarray:
    """Gaussian blur of (..., h, w) float32 by half a blob, mirrored at the border."""
    h, w = values.shape[-2:]
    blur = max(_SEARCH_BLUR_CELLS * sigma_cells, 0.3)
    out = np.empty_like(values)
    size = 2 * int(np.ceil(2 * blur)) + 1
    for source, target in zip(values.reshape(-1, h, w), out.reshape(-1, h, w)):
        cv2.GaussianBlur(source, (size, size), blur, dst=target, borderType=cv2.BORDER_REPLICATE)
    return out

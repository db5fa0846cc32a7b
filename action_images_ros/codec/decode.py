"""Action images -> calibrated 7-DoF targets, by maximum likelihood."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from threadpoolctl import ThreadpoolController

from ..errors import EncodingError
from ..geometry import PinholeCamera
from ..geometry.se3 import make
from ..types import ActionChunk
from . import gripper
from .config import DecodeConfig
from .encoding import ActionEncoding
from .find import Candidates, Finder
from .grid import Grid, sample
from .select import Scene, Selector, Solution

_ASSIGN_SIGMA, _ASSIGN_SHARE = 0.3, 0.5
_FLOAT_RANGE = (-1.0, 2.0)  # [0, 1] and noise
_POOLS = ThreadpoolController()
_SPLIT_ABOVE = 1_000_000  # values in a chunk; below, a second thread costs more than it saves


def decode(images: np.ndarray, cameras: Sequence[PinholeCamera], encoding: ActionEncoding = ActionEncoding(),
           config: DecodeConfig = DecodeConfig()) -> ActionChunk:
    """Recover T poses and gripper states from V >= 2 calibrated views.

    images (T, V, H, W, 3): uint8, or float in [0, 1]; cameras: V, of image_size (W, H). Returns an ActionChunk
    without time; openness is 0 or 1. A step that too few blobs determine, or whose blobs do not agree, has
    credible False and says why; its pose is then the best available, or the identity.
    Raises EncodingError where images and cameras do not fit.
    """
    _check(images, cameras)
    with _POOLS.limit(limits=1, user_api="blas"):  # its products are small: threads of BLAS would only wait
        return _decode(images, cameras, encoding, config)


def _decode(images: np.ndarray, cameras: Sequence[PinholeCamera], encoding: ActionEncoding,
            config: DecodeConfig) -> ActionChunk:
    sigma_px = encoding.sigma_px(cameras[0].image_size)
    if images.size > _SPLIT_ABOVE and len(images) > 1:
        with ThreadPoolExecutor(2) as pool:
            found = list(pool.map(lambda part: _look(part, sigma_px, encoding, config), np.array_split(images, 2)))
    else:
        found = [_look(images, sigma_px, encoding, config)]
    candidates, grid = Candidates.joined([f[0] for f in found]), found[0][1]
    assign_px = max(_ASSIGN_SIGMA * sigma_px, _ASSIGN_SHARE * config.max_error_px)
    scene = Scene(tuple(cameras), encoding.tcp_points, encoding.axis_length_m, sigma_px, assign_px)
    solution = Selector(candidates, grid, scene, config).run()
    share = np.concatenate([f[2] for f in found])
    return _chunk(solution, gripper.with_hysteresis(share, config))


def _look(images: np.ndarray, sigma_px: float, encoding: ActionEncoding,
          config: DecodeConfig) -> tuple[Candidates, Grid, np.ndarray]:
    """All that is read from the pixels of some steps: candidate blobs, their grid, drawn openness (T,)."""
    grid = sample(images, sigma_px)
    candidates = Finder(grid, images, encoding, config).run()
    y, x = (grid.coarse(size) for size in grid.values.shape[3:])
    blue = grid.values[:, :, 2, y[0]::grid.stride, x[0]::grid.stride]
    blobs = candidates.blobs
    widths = np.where(candidates.ok, grid.sigma * np.exp(blobs.log_width), 0.0)
    return candidates, grid, gripper.pedestal_share(blue, x, y, blobs.xy[:, :, 2], widths[:, :, 2], encoding.pedestal)


def _check(images: np.ndarray, cameras: Sequence[PinholeCamera]) -> None:
    if images.ndim != 5 or images.shape[-1] != 3 or images.shape[0] < 1:
        raise EncodingError(f"action images have shape {images.shape}; expected (T, V, H, W, 3)")
    if images.dtype != np.uint8 and not np.issubdtype(images.dtype, np.floating):
        raise EncodingError(f"action images are {images.dtype}; expected uint8, or float in [0, 1]")
    if images.dtype != np.uint8:
        low, high = float(images.min()), float(images.max())
        if not (_FLOAT_RANGE[0] <= low and high <= _FLOAT_RANGE[1]):
            raise EncodingError(f"action images of floats range from {low:.3g} to {high:.3g}; expected [0, 1] without "
                                "NaN: divide bytes by 255")
    if images.shape[1] != len(cameras) or len(cameras) < 2:
        raise EncodingError(f"action images have {images.shape[1]} views and there are {len(cameras)} cameras; both "
                            "counts must be equal and at least 2")
    for v, camera in enumerate(cameras):
        if tuple(camera.image_size) != (images.shape[3], images.shape[2]):
            raise EncodingError(f"view {v}: action images are {images.shape[3]}x{images.shape[2]} but the camera is "
                                f"{camera.image_size[0]}x{camera.image_size[1]}; resize or crop the camera alike")


def _chunk(solution: Solution, openness: np.ndarray) -> ActionChunk:
    poses = solution.poses
    count = solution.used.sum((1, 2))
    rms = np.sqrt((poses.residual**2).sum((1, 2, 3)) / np.maximum(2 * count, 1))
    factor = np.maximum(1.0, poses.chi2 / np.maximum(2 * count - 6, 1))
    cov = np.full((len(count), 6, 6), np.nan)
    spread = np.linalg.eigvalsh(poses.normal)
    fixed = poses.solved & (spread[:, 0] > 1e-12 * spread[:, -1])
    cov[fixed] = np.linalg.inv(poses.normal[fixed]) * factor[fixed, None, None]
    why = solution.reasons()
    return ActionChunk(make(poses.R, poses.p), openness, cov, rms, np.array([not w for w in why]), why)

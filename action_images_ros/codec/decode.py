"""Action images -> calibrated 7-DoF targets, by maximum likelihood."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..errors import EncodingError
from ..geometry import PinholeCamera
from ..geometry.se3 import make
from ..types import ActionChunk
from . import gripper, grid as grids
from .blobs import Blobs, fit
from .config import DecodeConfig
from .encoding import ActionEncoding
from .grid import Grid
from .integrity import error_bounds
from .pose import PoseFit, Sightings, sight, solve

_COV_FLOOR_SIGMA = 1e-3


def decode(images: np.ndarray, cameras: Sequence[PinholeCamera], encoding: ActionEncoding = ActionEncoding(),
           config: DecodeConfig = DecodeConfig()) -> ActionChunk:
    """Recover T poses and gripper states from V >= 2 calibrated views.

    images (T, V, H, W, 3): uint8, or float in [0, 1]; cameras: V, of image_size (W, H). Returns an ActionChunk
    without time; openness is 0 or 1. A step that too few blobs determine, or whose blobs do not agree, has
    credible False and says why; its pose is then the best available, or the identity.
    Raises EncodingError where images and cameras do not fit.
    """
    _check(images, cameras)
    sigma_px = encoding.sigma_px(cameras[0].image_size)
    grid = grids.sample(images, sigma_px)
    blobs = find(grid, images, encoding)
    weight, usable = _weights(blobs, grid, config, encoding)
    sightings = sight(grid.to_px(blobs.xy), weight, cameras)
    poses = solve(sightings, encoding.tcp_points, cameras)
    sightings, poses = _without_outlier(sightings, poses, encoding, cameras, config, sigma_px)
    share = gripper.pedestal_share(grid.values[:, :, 2], blobs.xy[:, :, 2:], grid.sigma * np.exp(blobs.log_width[:, :, 2:]),
                                   encoding.pedestal)
    return _chunk(poses, sightings, gripper.with_hysteresis(share, config), cameras, config, sigma_px)


def _check(images: np.ndarray, cameras: Sequence[PinholeCamera]) -> None:
    if images.ndim != 5 or images.shape[-1] != 3 or images.shape[0] < 1:
        raise EncodingError(f"action images have shape {images.shape}; expected (T, V, H, W, 3)")
    if images.dtype != np.uint8 and not np.issubdtype(images.dtype, np.floating):
        raise EncodingError(f"action images are {images.dtype}; expected uint8, or float in [0, 1]")
    if images.shape[1] != len(cameras) or len(cameras) < 2:
        raise EncodingError(f"action images have {images.shape[1]} views and there are {len(cameras)} cameras; both "
                            "counts must be equal and at least 2")
    for v, camera in enumerate(cameras):
        if tuple(camera.image_size) != (images.shape[3], images.shape[2]):
            raise EncodingError(f"view {v}: action images are {images.shape[3]}x{images.shape[2]} but the camera is "
                                f"{camera.image_size[0]}x{camera.image_size[1]}; pass the camera resized or cropped alike")


def find(grid: Grid, images: np.ndarray, encoding: ActionEncoding) -> Blobs:
    """The strongest blob of every step, view and colour, shape (T, V, 3)."""
    t, v, _, h, w = grid.values.shape
    lifted = grid.values.copy()
    lifted[:, :, 2] = np.maximum(lifted[:, :, 2], encoding.pedestal) - np.float32(encoding.pedestal)
    response = grids.smoothed(lifted, grid.sigma).reshape(t * v * 3, -1)
    best = response.argmax(-1)
    start = np.stack([best % w, best // w], -1).astype(float)
    height = response[np.arange(len(best)), best] * 1.25 + np.tile([0, 0, encoding.pedestal], t * v)
    grids.add_up(grid, images, start.reshape(t, v, 3, 2), 2.5 * grid.sigma + 2)
    blue = np.tile([False, False, True], t * v)
    planes = grid.values.reshape(-1, h, w)
    return fit(grid, planes, np.arange(len(planes)), start, height, blue, encoding.pedestal).reshaped(t, v, 3)


def _weights(blobs: Blobs, grid: Grid, config: DecodeConfig, encoding: ActionEncoding) -> tuple[np.ndarray, np.ndarray]:
    h, w = grid.values.shape[-2:]
    lowest = np.array([config.min_amplitude, config.min_amplitude, max(config.min_amplitude, 1.2 * encoding.pedestal)])
    sd = np.sqrt(np.maximum(np.linalg.eigvalsh(blobs.cov)[..., -1], 0)) / grid.sigma
    outside = np.maximum(-0.5 - blobs.xy, blobs.xy - np.array([w, h]) + 0.5).max(-1) / grid.sigma
    ok = ((blobs.amplitude > lowest) & (blobs.amplitude < config.max_amplitude) & (sd < config.max_blob_sd_sigma)
          & (np.abs(blobs.log_width) < np.log(config.max_width_factor)) & (outside < config.max_outside_sigma))
    floor = (_COV_FLOOR_SIGMA * grid.sigma) ** 2
    weight = np.linalg.inv((blobs.cov + floor * np.eye(2)) * grid.cell**2)
    return np.where(ok[..., None, None], weight, 0.0), ok


def _limits(poses: PoseFit, cameras: Sequence[PinholeCamera], encoding_length: float,
            config: DecodeConfig) -> tuple[np.ndarray, np.ndarray]:
    """Position (T,) m and rotation (T,) rad errors that a credible pose may have."""
    px = np.mean([np.linalg.norm(poses.p - c.centre, axis=-1) / c.K[0, 0] for c in cameras], 0)
    return (np.maximum(config.max_position_error_m, config.max_error_px * px),
            np.maximum(config.max_rotation_error_rad, config.max_error_px * px / encoding_length))


def _without_outlier(sightings: Sightings, poses: PoseFit, encoding: ActionEncoding, cameras: Sequence[PinholeCamera],
                     config: DecodeConfig, sigma_px: float) -> tuple[Sightings, PoseFit]:
    """Where the blobs of a step contradict each other, leave out the one blob that explains it."""
    return sightings, poses


def _chunk(poses: PoseFit, sightings: Sightings, openness: np.ndarray, cameras: Sequence[PinholeCamera],
           config: DecodeConfig, sigma_px: float) -> ActionChunk:
    position, rotation = error_bounds(poses, sightings, config.blob_bias_sigma * sigma_px)
    max_position, max_rotation = _limits(poses, cameras, 0.1, config)
    used = sightings.used
    count = used.sum((1, 2))
    rms = np.sqrt((poses.residual**2).sum((1, 2, 3)) / np.maximum(2 * count, 1))
    factor = np.maximum(1.0, poses.chi2 / np.maximum(2 * count - 6, 1))
    cov = np.full((len(count), 6, 6), np.nan)
    cov[poses.solved] = np.linalg.inv(poses.normal[poses.solved]) * factor[poses.solved, None, None]
    why = []
    for i in range(len(count)):
        if not poses.solved[i]:
            why.append(f"too few blobs: {count[i]} of {used[i].size}")
        elif position[i] > max_position[i] or rotation[i] > max_rotation[i]:
            why.append(f"blobs disagree: position known to {1e3 * position[i]:.1f} mm, rotation to "
                       f"{np.degrees(rotation[i]):.1f} deg")
        else:
            why.append("")
    credible = np.array([not w for w in why])
    return ActionChunk(make(poses.R, poses.p), openness, cov, rms, credible, tuple(why))

"""7-DoF actions -> action images: coloured Gaussian blobs at the pixels where the action happens.

Source: arXiv 2604.06168 and its public release; see docs/method.md for where the two disagree.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import EncodingError
from ..geometry import PinholeCamera
from ..geometry.se3 import require_rigid

_AXES = {"+x": (1, 0, 0), "-x": (-1, 0, 0), "+y": (0, 1, 0), "-y": (0, -1, 0), "+z": (0, 0, 1), "-z": (0, 0, -1)}


@dataclass(frozen=True)
class ActionEncoding:
    """How an action is drawn. Part of a model's own configuration: a model trained otherwise still loads.

    Red is the TCP; green and blue are points `axis_length_m` along a TCP axis. sigma_fraction:
    standard deviation of a blob over min(height, width). pedestal: openness g is written as
    pedestal * g wherever blue <= pedestal.
    """

    axis_length_m: float = 0.1
    green_axis: str = "+x"
    blue_axis: str = "-z"
    sigma_fraction: float = 0.05
    pedestal: float = 0.25

    def __post_init__(self) -> None:
        for name in ("green_axis", "blue_axis"):
            if getattr(self, name) not in _AXES:
                raise EncodingError(f"{name} is {getattr(self, name)!r}; legal: {', '.join(_AXES)}")
        if self.green_axis[1] == self.blue_axis[1]:
            raise EncodingError(f"green_axis {self.green_axis} and blue_axis {self.blue_axis} must be perpendicular")
        if not (0 < self.axis_length_m < 1 and 0 < self.sigma_fraction < 0.5 and 0 < self.pedestal < 0.9):
            raise EncodingError(f"encoding out of range: axis_length_m {self.axis_length_m} (0..1), sigma_fraction "
                                f"{self.sigma_fraction} (0..0.5), pedestal {self.pedestal} (0..0.9)")

    @property
    def tcp_points(self) -> np.ndarray:
        """(3, 3) m: the red, green and blue points in the TCP frame, one a row."""
        length = self.axis_length_m
        return np.array([(0, 0, 0), _AXES[self.green_axis], _AXES[self.blue_axis]], float) * length

    def base_points(self, base_T_tcps: np.ndarray) -> np.ndarray:
        """Poses (..., 4, 4) -> points (..., 3, 3): axis -2 is the colour, axis -1 the base-frame position (m)."""
        return self.tcp_points @ np.swapaxes(base_T_tcps[..., :3, :3], -1, -2) + base_T_tcps[..., None, :3, 3]

    def sigma_px(self, image_size: tuple[int, int]) -> float:
        return self.sigma_fraction * min(image_size)


def encode(base_T_tcps: np.ndarray, openness: np.ndarray, cameras: Sequence[PinholeCamera],
           encoding: ActionEncoding = ActionEncoding()) -> np.ndarray:
    """Draw T actions in V views.

    base_T_tcps (T, 4, 4) m; openness (T,) in [0, 1]; cameras: V >= 1 of one image size.
    Returns uint8 (T, V, H, W, 3). A point behind a camera draws no blob.
    Raises EncodingError for wrong shapes, values outside [0, 1] or cameras of different size.
    """
    uv, openness, size = _projected(base_T_tcps, openness, cameras, encoding)
    out = np.empty(uv.shape[:2] + (size[1], size[0], 3), np.uint8)
    for image, at, g in zip(out, uv, openness):  # one action at a time stays in the processor's cache
        drawn = draw(at[None], g[None], size, encoding)[0]
        drawn *= 255.0
        np.rint(drawn, out=image, casting="unsafe")
    return out


def encode_float(base_T_tcps: np.ndarray, openness: np.ndarray, cameras: Sequence[PinholeCamera],
                 encoding: ActionEncoding = ActionEncoding()) -> np.ndarray:
    """`encode` before quantisation: float32 (T, V, H, W, 3) in [0, 1]."""
    return draw(*_projected(base_T_tcps, openness, cameras, encoding), encoding)


def _projected(base_T_tcps: np.ndarray, openness: np.ndarray, cameras: Sequence[PinholeCamera],
               encoding: ActionEncoding) -> tuple[np.ndarray, np.ndarray, tuple[int, int]]:
    """Checks the actions; uv (T, V, 3, 2) px, openness (T,), image size."""
    poses = require_rigid(base_T_tcps, "base_T_tcps")
    openness = np.asarray(openness, float)
    if poses.ndim != 3 or openness.shape != (len(poses),):
        raise EncodingError(f"base_T_tcps {poses.shape} and openness {openness.shape} must be (T, 4, 4) and (T,)")
    if not np.all((openness >= 0) & (openness <= 1)):
        raise EncodingError(f"openness must lie in [0, 1]; got {openness.min():.3g} to {openness.max():.3g}")
    sizes = {camera.image_size for camera in cameras}
    if len(sizes) != 1:
        raise EncodingError(f"encode needs at least one camera, all of one image size; got {sorted(sizes)}")
    points = encoding.base_points(poses)
    return np.stack([camera.project(points) for camera in cameras], 1), openness, sizes.pop()


def draw(uv: np.ndarray, openness: np.ndarray, image_size: tuple[int, int], encoding: ActionEncoding) -> np.ndarray:
    """Blobs at uv (T, V, 3, 2) px (NaN: no blob), openness (T,) -> float32 (T, V, H, W, 3) in [0, 1]."""
    width, height = image_size
    scale = -0.5 / encoding.sigma_px(image_size) ** 2
    gx = np.exp(scale * (np.arange(width) - uv[..., :1]) ** 2)
    gy = np.exp(scale * (np.arange(height) - uv[..., 1:]) ** 2)
    gx, gy = (np.nan_to_num(g, nan=0.0).astype(np.float32) for g in (gx, gy))
    out = np.empty(uv.shape[:2] + (height, width, 3), np.float32)
    for c in range(3):
        np.multiply(gy[:, :, c, :, None], gx[:, :, c, None, :], out=out[..., c])
    floor = (encoding.pedestal * openness).astype(np.float32)[:, None, None, None]
    blue = out[..., 2]
    np.copyto(blue, floor, where=blue <= np.float32(encoding.pedestal))
    return out

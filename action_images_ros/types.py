"""The data that travels between rooms: one frozen dataclass for each arrow of the data flow.

Poses are 4x4 homogeneous matrices, float64, metres, in the robot base frame unless named otherwise.
Arrays are checked once, at construction.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from .errors import ActionImagesError, CameraError, EncodingError

if TYPE_CHECKING:
    from .geometry.camera import PinholeCamera


def _check(array: np.ndarray, shape: tuple, name: str, error: type[ActionImagesError]) -> None:
    if array.ndim != len(shape) or any(w is not None and w != h for w, h in zip(shape, array.shape)):
        want = "(" + ", ".join("*" if w is None else str(w) for w in shape) + ")"
        raise error(f"{name} has shape {array.shape}; expected {want}")


@dataclass(frozen=True)
class SyncedFrames:
    """One matched set of camera images.

    views: V names, the order of the canvas. images: V arrays (H, W, 3) uint8 RGB, each view its own
    size. cameras: V calibrated cameras, whose image_size equals the image's. stamps_ns: V exposure
    times, ROS time. Raises CameraError where they do not fit.
    """

    views: tuple[str, ...]
    images: tuple[np.ndarray, ...]
    cameras: tuple[PinholeCamera, ...]
    stamps_ns: tuple[int, ...]

    def __post_init__(self) -> None:
        n = len(self.views)
        if not (n == len(self.images) == len(self.cameras) == len(self.stamps_ns)) or n == 0:
            raise CameraError(
                f"SyncedFrames has {n} views, {len(self.images)} images, {len(self.cameras)} cameras and "
                f"{len(self.stamps_ns)} stamps; all four counts must be equal and at least 1"
            )
        for view, image, camera in zip(self.views, self.images, self.cameras):
            if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
                raise CameraError(f"view {view}: image is {image.dtype} {image.shape}; expected uint8 (H, W, 3)")
            if (image.shape[1], image.shape[0]) != tuple(camera.image_size):
                raise CameraError(
                    f"view {view}: image is {image.shape[1]}x{image.shape[0]} but its calibration is for "
                    f"{camera.image_size[0]}x{camera.image_size[1]}; set the camera's resolution or recalibrate"
                )

    @property
    def stamp_ns(self) -> int:
        """The oldest exposure of the set: what the model saw is never newer than this says."""
        return min(self.stamps_ns)


@dataclass(frozen=True)
class ActionImages:
    """An action video of every view.

    images: (T, V, H, W, 3) uint8; index 0 is the pose at the time of the observation. stamp_ns: time
    of that observation. dt_s: spacing of the action steps. cameras: the V cameras at (W, H), in
    which the blobs are drawn.
    """

    images: np.ndarray
    views: tuple[str, ...]
    cameras: tuple[PinholeCamera, ...]
    stamp_ns: int
    dt_s: float

    def __post_init__(self) -> None:
        _check(self.images, (None, len(self.views), None, None, 3), "action images", EncodingError)
        if self.images.dtype != np.uint8:
            raise EncodingError(f"action images are {self.images.dtype}; expected uint8")


@dataclass(frozen=True)
class ActionChunk:
    """T targets recovered from action images, with what the decoder knows about their quality.

    base_T_tcps (T, 4, 4); openness (T,) in [0, 1], 1 = open; covariance (T, 6, 6) of the pose error
    in the order translation (m, base frame), rotation vector (rad, base frame: R = exp(w) R_est);
    reproj_rms_px (T,) at the size of the action images; credible (T,) bool; why (T,) the reason
    where not credible, else "". Target k is meant for stamp_ns + k dt_s; index 0 is the pose at the
    observation. stamp_ns and dt_s are None for a chunk decoded from images without time.
    """

    base_T_tcps: np.ndarray
    openness: np.ndarray
    covariance: np.ndarray
    reproj_rms_px: np.ndarray
    credible: np.ndarray
    why: tuple[str, ...] = ()
    stamp_ns: int | None = None
    dt_s: float | None = None

    def __post_init__(self) -> None:
        _check(self.base_T_tcps, (None, 4, 4), "base_T_tcps", EncodingError)
        n = len(self.base_T_tcps)
        _check(self.openness, (n,), "openness", EncodingError)
        _check(self.covariance, (n, 6, 6), "covariance", EncodingError)
        _check(self.reproj_rms_px, (n,), "reproj_rms_px", EncodingError)
        _check(self.credible, (n,), "credible", EncodingError)
        if not self.why:
            object.__setattr__(self, "why", ("",) * n)

    def __len__(self) -> int:
        return len(self.base_T_tcps)

    def stamped(self, stamp_ns: int, dt_s: float) -> ActionChunk:
        return replace(self, stamp_ns=stamp_ns, dt_s=dt_s)

    @classmethod
    def from_poses(cls, base_T_tcps: np.ndarray, openness: np.ndarray, stamp_ns: int | None = None,
                   dt_s: float | None = None) -> ActionChunk:
        """A chunk of exactly known poses (an expert's, a replay's): zero covariance, all credible."""
        n = len(base_T_tcps)
        return cls(np.asarray(base_T_tcps, float), np.asarray(openness, float), np.zeros((n, 6, 6)),
                   np.zeros(n), np.ones(n, bool), stamp_ns=stamp_ns, dt_s=dt_s)


@dataclass(frozen=True)
class RobotState:
    """What the arm reports: q, dq (7,) rad and rad/s, gripper_width_m total opening, stamp_ns ROS time."""

    q: np.ndarray
    dq: np.ndarray
    gripper_width_m: float
    stamp_ns: int
    names: tuple[str, ...] = field(default=tuple(f"fr3_joint{i}" for i in range(1, 8)))

"""A finished calibration with the evidence for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..geometry import PinholeCamera
from .boards import Board
from .bundle import Outlier
from .leave_out import HeldOut
from .rig import BoardMount, CameraMount, RigCamera


@dataclass(frozen=True, eq=False)
class ViewResult:
    """One camera. parent_T_camera: in the base frame (eye_to_hand) or the TCP frame (eye_in_hand). covariance
    (6, 6): of translation (m) and rotation vector (rad) in the parent frame, R_true = exp(w) R. pixel_sd: scatter of
    a point's coordinate. held_out_mm, held_out_deg: median and largest leave-one-pose-out error. workspace_sd_mm,
    rotation_sd_deg: standard deviation in the worst direction. intrinsics: what the check of them said, or ""."""

    mount: CameraMount
    camera: RigCamera
    parent_T_camera: np.ndarray
    covariance: np.ndarray
    pixel_sd: float
    reproj_rms_px: float
    poses: int
    points: int
    held_out_mm: tuple[float, float]
    held_out_deg: tuple[float, float]
    workspace_sd_mm: float
    rotation_sd_deg: float
    intrinsics: str = ""

    @property
    def pinhole(self) -> PinholeCamera:
        """The camera at parent_T_camera: in the base frame for a fixed camera, else in the TCP frame."""
        return self.camera.at(self.parent_T_camera)


@dataclass(frozen=True, eq=False)
class BoardResult:
    """parent_T_board in the base frame (table) or the TCP frame (gripper), with its covariance (6, 6).
    scale: printed over nominal size, less 1; 0.001 is one part in a thousand too large."""

    mount: BoardMount
    board: Board
    parent_T_board: np.ndarray
    covariance: np.ndarray
    scale: float
    scale_sd: float


@dataclass(frozen=True, eq=False)
class ArmCorrection:
    """joint_sd_deg: estimated scatter of joint readings. offsets_deg (7,): to add to readings; zero where not
    corrected. delay_s: image stamp minus joint stamp of what belongs together. With standard deviations."""

    joint_sd_deg: float
    offsets_deg: np.ndarray
    offsets_sd_deg: np.ndarray
    delay_s: float
    delay_sd_s: float


@dataclass(frozen=True)
class PoseRms:
    """Reprojection of one view of one pose. used: False where it was left out as an outlier."""

    pose: str
    view: str
    points: int
    rms_px: float
    used: bool


@dataclass(frozen=True, eq=False)
class SeenPoints:
    """Every detected point. view, pose (M,): names; uv (M, 2) px; residuals (M, 2) px, projected less seen; used
    (M,)."""

    view: np.ndarray
    pose: np.ndarray
    uv: np.ndarray
    residuals: np.ndarray
    used: np.ndarray


@dataclass(frozen=True, eq=False)
class CalibrationResult:
    """Everything that was found. poses: how many were given. workspace_m: where errors are stated.
    camera_covariance (6 V, 6 V): joint, in the order of views. seen: None for a result read from a file."""

    arm: str
    views: Mapping[str, ViewResult]
    boards: Mapping[str, BoardResult]
    correction: ArmCorrection
    pose_rms: tuple[PoseRms, ...]
    held_out: tuple[HeldOut, ...]
    outliers: tuple[Outlier, ...]
    notes: tuple[str, ...]
    poses: int
    workspace_m: tuple[float, float, float]
    camera_covariance: np.ndarray
    seen: SeenPoints | None = None

    @property
    def method(self) -> str:
        mounts = sorted({v.mount.value for v in self.views.values()})
        boards = ", ".join(f"{name} {b.board.text} on the {b.mount.value}" for name, b in self.boards.items())
        return f"joint adjustment of {len(self.views)} cameras ({' and '.join(mounts)}), {self.poses} poses, {boards}"

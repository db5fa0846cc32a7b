"""What is calibrated: cameras and boards, fixed to the base or carried by the arm, and one sample of them all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

import numpy as np

from ..errors import CalibrationError
from ..geometry import PinholeCamera
from .boards import Board
from .detect import Detection


class JointRange(Protocol):
    """q_min, q_max (7,) rad."""

    @property
    def q_min(self) -> np.ndarray: ...

    @property
    def q_max(self) -> np.ndarray: ...


class ArmModel(Protocol):
    """The arm's own kinematics; `control.Fr3Kinematics` is one."""

    @property
    def limits(self) -> JointRange: ...

    def fk(self, q: np.ndarray) -> np.ndarray:
        """q (..., 7) rad -> base_T_tcp (..., 4, 4)."""

    def fk_jacobian(self, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """base_T_tcp (..., 4, 4) and its Jacobian (..., 6, 7): translation over rotation, base frame."""


class CameraMount(Enum):
    """EYE_TO_HAND: fixed in the base frame. EYE_IN_HAND: carried by the arm, fixed in the TCP frame."""

    EYE_TO_HAND = "eye_to_hand"
    EYE_IN_HAND = "eye_in_hand"


class BoardMount(Enum):
    """GRIPPER: fixed in the TCP frame. TABLE: fixed in the base frame."""

    GRIPPER = "gripper"
    TABLE = "table"


@dataclass(frozen=True, eq=False)
class RigCamera:
    """A camera whose pose is sought. Its intrinsics are a camera_info's, or a guess to re-estimate.

    K (3, 3) px; distortion 8 OpenCV coefficients (shorter ones are padded). The checks are PinholeCamera's.
    """

    mount: CameraMount
    serial: str
    K: np.ndarray
    image_size: tuple[int, int]
    distortion: np.ndarray | None = None

    def __post_init__(self) -> None:
        camera = PinholeCamera(self.K, self.image_size, np.eye(4), self.distortion)
        object.__setattr__(self, "K", camera.K)
        object.__setattr__(self, "image_size", camera.image_size)
        object.__setattr__(self, "distortion", np.zeros(8) if camera.distortion is None else camera.distortion)

    @property
    def coefficients(self) -> np.ndarray:
        """All 8 of the distortion."""
        assert self.distortion is not None, "padded when made"
        return self.distortion

    def at(self, base_T_camera: np.ndarray) -> PinholeCamera:
        return PinholeCamera(self.K, self.image_size, base_T_camera, self.distortion)


@dataclass(frozen=True)
class RigBoard:
    """A board whose pose is sought too."""

    mount: BoardMount
    board: Board


@dataclass(frozen=True)
class Rig:
    """cameras by view name, boards by name. arm: a text that identifies the arm (its serial, or a model name)."""

    cameras: Mapping[str, RigCamera]
    boards: Mapping[str, RigBoard]
    arm: str = "fr3"

    def __post_init__(self) -> None:
        if not self.cameras or not self.boards:
            raise CalibrationError(
                f"the rig has {len(self.cameras)} cameras and {len(self.boards)} boards; needs one of each at least"
            )
        for view, camera in self.cameras.items():
            helpful = [
                b
                for b in self.boards.values()
                if (b.mount is BoardMount.TABLE) or camera.mount is CameraMount.EYE_TO_HAND
            ]
            if not helpful:
                raise CalibrationError(
                    f"view {view} is carried by the arm, and so is every board: they never move against each "
                    "other. Put a board on the table"
                )
        if not any(moving(self, view, board) for view in self.cameras for board in self.boards):
            raise CalibrationError(
                "no camera moves against any board; put a board on the gripper, or add a wrist camera"
            )

    @property
    def plain_boards(self) -> dict[str, Board]:
        return {name: b.board for name, b in self.boards.items()}


@dataclass(frozen=True, eq=False)
class Sample:
    """All views at one arm pose. name: what messages call it. q, dq (7,): joint angles and velocities that
    belong to stamp_ns. detections: by view; views that saw nothing are absent or empty."""

    name: str
    q: np.ndarray
    detections: Mapping[str, tuple[Detection, ...]]
    dq: np.ndarray = field(default_factory=lambda: np.zeros(7))
    stamp_ns: int = 0

    def __post_init__(self) -> None:
        for what in ("q", "dq"):
            value = np.asarray(getattr(self, what), float)
            if value.shape != (7,) or not np.all(np.isfinite(value)):
                raise CalibrationError(f"pose {self.name}: {what} must be 7 finite numbers; got {value.tolist()}")
            object.__setattr__(self, what, value)

    def points(self, view: str) -> int:
        return sum(len(d) for d in self.detections.get(view, ()))


def require_known(rig: Rig, samples: list[Sample]) -> None:
    """Raise CalibrationError where a sample speaks of a view or board that the rig has not, or of a point twice."""
    for sample in samples:
        for view, detections in sample.detections.items():
            if view not in rig.cameras:
                raise CalibrationError(f"pose {sample.name} has view {view!r}; the rig has: {', '.join(rig.cameras)}")
            for d in detections:
                if d.board not in rig.boards:
                    raise CalibrationError(
                        f"pose {sample.name}, view {view}: board {d.board!r}; the rig has: {', '.join(rig.boards)}"
                    )
                if len(d) and not (0 <= d.ids.min() and d.ids.max() < len(rig.boards[d.board].board.points)):
                    raise CalibrationError(
                        f"pose {sample.name}, view {view}: board {d.board} has no point {d.ids.max()}"
                    )
                if len(np.unique(d.ids)) != len(d):
                    raise CalibrationError(
                        f"pose {sample.name}, view {view}: board {d.board} has a point twice; detect it again"
                    )


def moving(rig: Rig, view: str, board: str) -> bool:
    """Whether the arm moves this board against this camera."""
    return (rig.cameras[view].mount is CameraMount.EYE_IN_HAND) != (rig.boards[board].mount is BoardMount.GRIPPER)

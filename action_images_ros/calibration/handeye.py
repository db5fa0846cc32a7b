"""Closed-form solutions of A X = X B: our own, and OpenCV's solvers where its Python module has them."""

from __future__ import annotations

from enum import Enum
from typing import Any

import cv2
import numpy as np

from ..errors import CalibrationError
from ..geometry.se3 import inverse, make, so3_log

_solvers: Any = cv2  # its annotations lack them


class Solver(Enum):
    """PARK: ours (Park and Martin 1994). The others: OpenCV's, absent from the Python module of OpenCV 5.0."""

    PARK = "park"
    CV_TSAI = "tsai"
    CV_PARK = "opencv park"
    CV_HORAUD = "horaud"
    CV_ANDREFF = "andreff"
    CV_DANIILIDIS = "daniilidis"
    CV_SHAH = "shah"
    CV_LI = "li"

    @property
    def available(self) -> bool:
        if self is Solver.PARK:
            return True
        return hasattr(cv2, "calibrateRobotWorldHandEye" if self in _ROBOT_WORLD else "calibrateHandEye")


_ROBOT_WORLD = {Solver.CV_SHAH: "CALIB_ROBOT_WORLD_HAND_EYE_SHAH", Solver.CV_LI: "CALIB_ROBOT_WORLD_HAND_EYE_LI"}
_HAND_EYE = {
    Solver.CV_TSAI: "CALIB_HAND_EYE_TSAI",
    Solver.CV_PARK: "CALIB_HAND_EYE_PARK",
    Solver.CV_HORAUD: "CALIB_HAND_EYE_HORAUD",
    Solver.CV_ANDREFF: "CALIB_HAND_EYE_ANDREFF",
    Solver.CV_DANIILIDIS: "CALIB_HAND_EYE_DANIILIDIS",
}
OPENCV_FIVE = tuple(_HAND_EYE)


def hand_eye(hand_poses: np.ndarray, camera_T_boards: np.ndarray, solver: Solver = Solver.PARK) -> np.ndarray:
    """X (4, 4) with  hand_poses[i] X camera_T_boards[i] = constant  (N, 4, 4 each; N >= 3).

    A wrist camera: hand_poses are base_T_tcp, X is tcp_T_camera. A fixed camera and a board on the gripper:
    hand_poses are tcp_T_base, X is base_T_camera. Raises CalibrationError for a solver that this OpenCV lacks.
    """
    if not solver.available:
        raise CalibrationError(
            f"OpenCV {cv2.__version__} for Python has no solver {solver.value!r}; install opencv-python 4.8 to 4.x, "
            "or use the solver 'park'"
        )
    if solver is Solver.PARK:
        return _park(hand_poses, camera_T_boards)
    H, C = hand_poses, camera_T_boards
    if solver in _HAND_EYE:
        R, t = _solvers.calibrateHandEye(
            list(H[:, :3, :3]),
            list(H[:, :3, 3]),
            list(C[:, :3, :3]),
            list(C[:, :3, 3]),
            method=getattr(cv2, _HAND_EYE[solver]),
        )
        return make(R, t.ravel())
    B = inverse(H)
    _, _, R, t = _solvers.calibrateRobotWorldHandEye(
        list(C[:, :3, :3]),
        list(C[:, :3, 3]),
        list(B[:, :3, :3]),
        list(B[:, :3, 3]),
        method=getattr(cv2, _ROBOT_WORLD[solver]),
    )
    return inverse(make(R, t.ravel()))


def _park(H: np.ndarray, C: np.ndarray) -> np.ndarray:
    """Rotation by the polar factor of the motions' rotation vectors, then translation by least squares, all pairs."""
    i, j = np.triu_indices(len(H), 1)
    A, B = inverse(H[j]) @ H[i], C[j] @ inverse(C[i])
    a, b = so3_log(A[:, :3, :3]), so3_log(B[:, :3, :3])
    sure = np.linalg.norm(a, axis=1) < np.pi - 0.1
    u, _, vt = np.linalg.svd(a[sure].T @ b[sure])
    R = u @ np.diag([1, 1, np.sign(np.linalg.det(u @ vt))]) @ vt
    lhs = (A[:, :3, :3] - np.eye(3)).reshape(-1, 3)
    rhs = (np.einsum("ij,nj->ni", R, B[:, :3, 3]) - A[:, :3, 3]).ravel()
    return make(R, np.linalg.lstsq(lhs, rhs, rcond=None)[0])


def mean_pose(poses: np.ndarray) -> np.ndarray:
    """Chordal mean rotation and median translation of poses (N, 4, 4)."""
    u, _, vt = np.linalg.svd(poses[:, :3, :3].sum(0))
    return make(u @ np.diag([1, 1, np.sign(np.linalg.det(u @ vt))]) @ vt, np.median(poses[:, :3, 3], axis=0))

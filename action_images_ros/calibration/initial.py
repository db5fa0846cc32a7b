"""Where an adjustment starts: board poses image by image, closed-form hand-eye, then from camera to board to camera.

Closed forms follow outliers, so each is tried on many small sets of poses, judged by the median disagreement
of all poses, and made again from the poses that agree (random sample consensus with a fixed seed).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from ..errors import CalibrationError
from ..geometry.se3 import angle_between, inverse, make
from .detect import Detection
from .handeye import Solver, hand_eye, mean_pose
from .rig import ArmModel, BoardMount, CameraMount, Rig, RigCamera, Sample, moving

_AMBIGUOUS = 1.6
_TRIALS = 80
_AGREEING = 2.5
_LEAST_POSES = 4
_LENGTH_M = 0.5


@dataclass(frozen=True, eq=False)
class SeenBoard:
    """camera_T_board of one detection. clear: no mirrored pose explains the image almost as well."""

    pose: int
    view: str
    board: str
    camera_T_board: np.ndarray
    clear: bool


def board_pose(camera: RigCamera, points: np.ndarray, detection: Detection) -> tuple[np.ndarray, bool]:
    """camera_T_board (4, 4) of one detection, and whether it is unambiguous (a plane seen from afar has a mirrored
    twin)."""
    xyz, uv = points[detection.ids], detection.uv.reshape(-1, 1, 2)
    _, rotations, translations, errors = cv2.solvePnPGeneric(
        xyz, uv, camera.K, camera.distortion, flags=cv2.SOLVEPNP_IPPE
    )
    errors = np.ravel(errors)
    best = int(np.argmin(errors))
    r, t = cv2.solvePnPRefineLM(xyz, uv, camera.K, camera.distortion, rotations[best], translations[best])
    clear = len(errors) < 2 or errors[1 - best] > _AMBIGUOUS * errors[best]
    return make(cv2.Rodrigues(r)[0], t.ravel()), bool(clear)


def seen_boards(rig: Rig, samples: list[Sample]) -> list[SeenBoard]:
    """Every detection's board pose."""
    found = []
    for p, sample in enumerate(samples):
        for view, detections in sample.detections.items():
            for d in detections:
                T, clear = board_pose(rig.cameras[view], rig.boards[d.board].board.points, d)
                found.append(SeenBoard(p, view, d.board, T, clear))
    return found


@dataclass(frozen=True, eq=False)
class Start:
    """First values: cameras[view] is base_T_camera or tcp_T_camera, boards[name] base_T_board or tcp_T_board."""

    cameras: dict[str, np.ndarray]
    boards: dict[str, np.ndarray]


def start_values(rig: Rig, samples: list[Sample], arm: ArmModel) -> Start:
    """Closed-form poses of everything. Raises CalibrationError naming views and boards that the samples leave open."""
    tcp = arm.fk(np.array([s.q for s in samples]))
    seen = seen_boards(rig, samples)
    cameras: dict[str, np.ndarray] = {}
    boards: dict[str, np.ndarray] = {}
    for view in rig.cameras:
        for board in rig.boards:
            mine = _usable([s for s in seen if s.view == view and s.board == board])
            if moving(rig, view, board) and len(mine) >= _LEAST_POSES and view not in cameras:
                cameras[view] = _closed_form(rig, view, mine, tcp)
    if not cameras:
        raise CalibrationError(
            f"no camera saw a board that moves against it in {_LEAST_POSES} poses or more; add poses"
        )
    _spread(rig, seen, tcp, cameras, boards)
    missing = [f"view {v}" for v in rig.cameras if v not in cameras] + [
        f"board {b}" for b in rig.boards if b not in boards
    ]
    if missing:
        raise CalibrationError(
            f"nothing ties {', '.join(missing)} to the rest; add poses in which it is seen together with "
            "a camera or board that is already tied"
        )
    return Start(cameras, boards)


def _usable(seen: list[SeenBoard]) -> list[SeenBoard]:
    clear = [s for s in seen if s.clear]
    return clear if len(clear) >= max(_LEAST_POSES, len(seen) // 2) else seen


def hand_poses(rig: Rig, view: str, tcp: np.ndarray) -> np.ndarray:
    """The poses that hand_eye wants for this view."""
    return tcp if rig.cameras[view].mount is CameraMount.EYE_IN_HAND else inverse(tcp)


def _closed_form(rig: Rig, view: str, seen: list[SeenBoard], tcp: np.ndarray) -> np.ndarray:
    hands = hand_poses(rig, view, tcp[[s.pose for s in seen]])
    boards = np.array([s.camera_T_board for s in seen])
    rng = np.random.default_rng(0)
    best, best_score = np.eye(4), np.inf
    for trial in range(_TRIALS):
        pick = np.arange(len(seen)) if trial == 0 else rng.permutation(len(seen))[:_LEAST_POSES]
        try:
            X = hand_eye(hands[pick], boards[pick], Solver.PARK)
        except np.linalg.LinAlgError:
            continue
        score = float(np.median(_disagreements(hands @ X @ boards, pick)))
        if score < best_score:
            best, best_score = X, score
    off = _disagreements(hands @ best @ boards, np.arange(len(seen)))
    good = off <= max(_AGREEING * np.median(off), np.partition(off, _LEAST_POSES - 1)[_LEAST_POSES - 1])
    return hand_eye(hands[good], boards[good], Solver.PARK)


def _disagreements(poses: np.ndarray, pick: np.ndarray) -> np.ndarray:
    """Distance (N,) of poses (N, 4, 4) from the middle of those picked, turns counted at half a metre."""
    centre = mean_pose(poses[pick])
    return _distances(poses, centre)


def _distances(poses: np.ndarray, centre: np.ndarray) -> np.ndarray:
    turned = angle_between(poses[:, :3, :3], centre[:3, :3])
    return np.linalg.norm(poses[:, :3, 3] - centre[:3, 3], axis=1) + _LENGTH_M * turned


def _spread(rig: Rig, seen: list[SeenBoard], tcp: np.ndarray, cameras: dict, boards: dict) -> None:
    """Board poses from known cameras, camera poses from known boards, until nothing new is found."""
    while True:
        known = len(cameras) + len(boards)
        for name in rig.boards:
            mine = _usable([s for s in seen if s.board == name and s.view in cameras])
            if name not in boards and mine:
                boards[name] = _consensus(np.array([_board_from(rig, s, tcp[s.pose], cameras[s.view]) for s in mine]))
        for view in rig.cameras:
            mine = _usable([s for s in seen if s.view == view and s.board in boards])
            if view not in cameras and mine:
                cameras[view] = _consensus(np.array([_camera_from(rig, s, tcp[s.pose], boards[s.board]) for s in mine]))
        if len(cameras) + len(boards) == known:
            return


def _consensus(poses: np.ndarray) -> np.ndarray:
    """The one of the poses (N, 4, 4) that the others agree with best, averaged with the better half of them."""
    scores = [np.median(_distances(poses, centre)) for centre in poses]
    off = _distances(poses, poses[int(np.argmin(scores))])
    return mean_pose(poses[off <= np.median(off)])


def _carrier(rig: Rig, view: str, board: str, base_T_tcp: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """base_T_parent of the camera and of the board."""
    return (
        base_T_tcp if rig.cameras[view].mount is CameraMount.EYE_IN_HAND else np.eye(4),
        base_T_tcp if rig.boards[board].mount is BoardMount.GRIPPER else np.eye(4),
    )


def _board_from(rig: Rig, seen: SeenBoard, base_T_tcp: np.ndarray, camera: np.ndarray) -> np.ndarray:
    of_camera, of_board = _carrier(rig, seen.view, seen.board, base_T_tcp)
    return inverse(of_board) @ of_camera @ camera @ seen.camera_T_board


def _camera_from(rig: Rig, seen: SeenBoard, base_T_tcp: np.ndarray, board: np.ndarray) -> np.ndarray:
    of_camera, of_board = _carrier(rig, seen.view, seen.board, base_T_tcp)
    return inverse(of_camera) @ of_board @ board @ inverse(seen.camera_T_board)

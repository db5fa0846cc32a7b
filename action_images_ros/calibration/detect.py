"""Board points in images, refined to a fraction of a pixel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np

from ..errors import CalibrationError
from .boards import Board, BoardKind
from .chessboard import grown, marker_corners

_MIN_POINTS = 6
_MAX_WINDOW_PX = 6
_BORDER_PX = 2
_ENLARGED_PX = 1300
_SHARPENED_PX = 1.5
_OFF_PLANE_PX = (0.5, 4.0)
_OFF_PLANE_OF_SQUARE = 0.04


@dataclass(frozen=True, eq=False)
class Detection:
    """Points of one board in one image. board: its name; ids (N,) rows of Board.points; uv (N, 2) px."""

    board: str
    ids: np.ndarray
    uv: np.ndarray

    def __post_init__(self) -> None:
        ids, uv = np.asarray(self.ids, int), np.asarray(self.uv, float)
        if ids.ndim != 1 or uv.shape != (len(ids), 2) or not np.all(np.isfinite(uv)):
            raise CalibrationError(
                f"a detection of board {self.board} has ids {ids.shape} and finite-uv {uv.shape}; "
                "expected (N,) and (N, 2)"
            )
        object.__setattr__(self, "ids", ids)
        object.__setattr__(self, "uv", uv)

    def __len__(self) -> int:
        return len(self.ids)


class BoardDetector:
    """Finds named boards in images. Boards of one dictionary must not share marker ids."""

    def __init__(self, boards: dict[str, Board]):
        self._boards = dict(boards)
        taken: dict[tuple[str, int], str] = {}
        for name, board in boards.items():
            for marker in range(board.first_id, board.first_id + board.markers):
                other = taken.setdefault((board.dictionary, marker), name)
                if other != name:
                    raise CalibrationError(
                        f"boards {other} and {name} both have marker {marker} of {board.dictionary}; print one "
                        "with another first id (the +N of its name) or another dictionary"
                    )
        self._detectors = {name: _detector(board) for name, board in boards.items()}

    def detect(self, image: np.ndarray) -> tuple[Detection, ...]:
        """image uint8 (H, W, 3) RGB or (H, W) -> one detection a board seen with at least 6 points, not in one line."""
        gray = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        gray, found = np.ascontiguousarray(gray), []
        read: dict[tuple, tuple] = {}
        for name, board in self._boards.items():
            if board.kind is BoardKind.CHARUCO:
                ids, uv = _charuco(partial(self._markers, gray, board, read), board, gray)
            else:
                ids, uv = _tags(self._detectors[name], board, gray)
            keep = _on_one_plane(board, ids, uv)
            if keep.sum() >= _MIN_POINTS and _spans_a_plane(board.points[ids[keep], :2]):
                found.append(Detection(name, ids[keep], uv[keep]))
        return tuple(found)

    def _markers(self, gray: np.ndarray, board: Board, read: dict, scale: int) -> tuple:
        """Corners and ids of the markers of this board's dictionary; read once a picture for all boards."""
        key = board.dictionary, scale
        if key not in read:
            name = next(n for n, b in self._boards.items() if b.dictionary == key[0] and b.kind is BoardKind.CHARUCO)
            corners, ids, _ = self._detectors[name].detectMarkers(gray if scale == 1 else _enlarged(gray))
            read[key] = corners, np.zeros(0, int) if ids is None else ids.ravel()
        return read[key]


def _detector(board: Board):
    parameters = cv2.aruco.DetectorParameters()
    if board.kind is BoardKind.CHARUCO:
        parameters.perspectiveRemovePixelPerCell = 8
        parameters.perspectiveRemoveIgnoredMarginPerCell = 0.25
        return cv2.aruco.ArucoDetector(board._dictionary, parameters)
    parameters.cornerRefinementMethod = cv2.aruco.CORNER_REFINE_SUBPIX
    parameters.relativeCornerRefinmentWinSize = 0.25
    return cv2.aruco.ArucoDetector(board._dictionary, parameters)


def _charuco(read: Callable[[int], tuple], board: Board, gray: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Markers are read in the picture and, where that did not show the whole board, in a sharper one of twice its
    size."""
    gap = (board.pitch_m - board.marker_m) / 2 / board.pitch_m

    def refine(uv: np.ndarray, square_px: float) -> tuple[np.ndarray, np.ndarray]:
        return _refined(gray, uv.astype(np.float32), gap * square_px)

    best = np.zeros(0, int), np.zeros((0, 2))
    for scale in (1, 2) if gray.shape[1] <= _ENLARGED_PX else (1,):
        corners, ids = read(scale)
        xy, uv = marker_corners(board, ids, corners)
        if not len(xy):
            continue
        found = grown(gray, board, xy, (uv + 0.5) / scale - 0.5, refine)
        best = max(best, found, key=lambda f: len(f[0]))
        if len(best[0]) == len(board.points):
            break
    return best


def _enlarged(gray: np.ndarray) -> np.ndarray:
    large = cv2.resize(gray, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
    return cv2.addWeighted(large, 2.0, cv2.GaussianBlur(large, (0, 0), _SHARPENED_PX), -1.0, 0)


def _tags(detector, board: Board, gray: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    corners, ids, _ = detector.detectMarkers(gray)
    mine = (
        []
        if ids is None
        else [
            (int(i) - board.first_id, c)
            for i, c in zip(ids.ravel(), corners)
            if 0 <= int(i) - board.first_id < board.markers
        ]
    )
    if not mine:
        return np.zeros(0, int), np.zeros((0, 2))
    index = np.concatenate([4 * i + np.arange(4) for i, _ in mine])
    return index, np.concatenate([np.asarray(c, float).reshape(4, 2) for _, c in mine])


def _square_px(board: Board, ids: np.ndarray, uv: np.ndarray) -> float:
    """The shortest side of a square in the image: the room there is around a corner."""
    H, _ = cv2.findHomography(board.points[ids, :2], uv)
    if H is None:
        return 0.0
    xy = board.points[ids, :2]
    sides = [
        np.linalg.norm(_apply(H, xy + step) - _apply(H, xy), axis=1).min()
        for step in ((board.pitch_m, 0.0), (0.0, board.pitch_m))
    ]
    return float(min(sides))


def _refined(gray: np.ndarray, uv: np.ndarray, gap_px: float) -> tuple[np.ndarray, np.ndarray]:
    """Saddle points (N, 2) by gradient orthogonality, and which of them (N,) settled.

    The window reaches as far as the white gap between a corner and the nearest marker: with a marker's corner
    in it, errors of a third of a pixel alternate from corner to corner.
    """
    half = int(np.clip(round(gap_px), 2, _MAX_WINDOW_PX))
    criteria = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 60, 1e-4)
    refined = (
        cv2.cornerSubPix(gray, uv.reshape(-1, 1, 2).copy(), (half, half), (-1, -1), criteria)
        .reshape(-1, 2)
        .astype(float)
    )
    near = np.abs(refined - uv).max(1) < half
    edge = half + _BORDER_PX
    inside = np.all((refined > edge) & (refined < np.array(gray.shape[::-1]) - 1 - edge), axis=1)
    return refined, near & inside


def _apply(H: np.ndarray, xy: np.ndarray) -> np.ndarray:
    p = np.concatenate([xy, np.ones((len(xy), 1))], 1) @ H.T
    return p[:, :2] / p[:, 2:]


def _on_one_plane(board: Board, ids: np.ndarray, uv: np.ndarray) -> np.ndarray:
    """Which points agree with one plane seen through a mild lens; false corners do not."""
    if len(uv) < _MIN_POINTS:
        return np.zeros(len(uv), bool)
    limit = float(np.clip(_OFF_PLANE_OF_SQUARE * _square_px(board, ids, uv), *_OFF_PLANE_PX))
    _, inside = cv2.findHomography(board.points[ids, :2], uv, cv2.RANSAC, limit)
    return np.zeros(len(uv), bool) if inside is None else inside.ravel().astype(bool)


def _spans_a_plane(xy: np.ndarray) -> bool:
    spread = np.linalg.svd(xy - xy.mean(0), compute_uv=False)
    return bool(spread[1] > 0.1 * spread[0])

"""The corners of a ChArUco board of which few markers could be read: from corner to corner by where the next must be.

A marker has six cells across, so a board is seen as a chessboard long before its markers can be read. Corners next to
known ones are predicted by a local homography, refined, and kept where the four squares around are dark and bright as
printed.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from .boards import Board

Refine = Callable[[np.ndarray, float], tuple[np.ndarray, np.ndarray]]
"""(uv (N, 2), side of a square px) -> refined uv (N, 2) and which (N,) settled."""

_NEAREST = 8
_LEAST = 4
_PROBE = 0.12
_CONTRAST = 0.35
_MAX_STRAY = 0.25
_LEAST_SQUARE_PX = 7.0


def grown(
    gray: np.ndarray, board: Board, xy: np.ndarray, uv: np.ndarray, refine: Refine
) -> tuple[np.ndarray, np.ndarray]:
    """ids (N,) and uv (N, 2) of every corner reached from seeds: board points xy (S, 2) m seen at uv (S, 2) px.

    Seeds may be corners of squares or of markers. gray: uint8 (H, W).
    """
    corners, bright = board.points[:, :2], _bright_squares(board)
    found: dict[int, np.ndarray] = {}
    refused: set[int] = set()
    while len(xy) >= _LEAST:
        apart = np.linalg.norm(corners[:, None] - xy, axis=2)
        near = apart.min(1) < 1.5 * board.pitch_m
        new = [i for i in np.flatnonzero(near).tolist() if i not in found and i not in refused]
        if not new:
            break
        reached = False
        for i in new:
            pick = np.argsort(apart[i])[:_NEAREST]
            at = _corner(gray, board, i, xy[pick], uv[pick], bright, refine)
            if at is None:
                refused.add(i)
                continue
            found[i], reached = at, True
        if not reached:
            break
        xy = np.concatenate([xy, corners[[i for i in new if i in found]]])
        uv = np.concatenate([uv, [found[i] for i in new if i in found]])
    ids = np.array(sorted(found), int)
    return ids, np.array([found[i] for i in ids]).reshape(-1, 2)


def _corner(
    gray: np.ndarray, board: Board, i: int, xy: np.ndarray, uv: np.ndarray, bright: np.ndarray, refine: Refine
) -> np.ndarray | None:
    """Where corner i is, told by its neighbours; None where the picture does not show it there."""
    if np.linalg.svd(xy - xy.mean(0), compute_uv=False)[1] < 0.1 * board.marker_m:
        return None
    H, _ = cv2.findHomography(xy, uv)
    if H is None:
        return None
    here, p = board.points[i, :2], board.pitch_m
    around = here + p * np.array([[0, 0], [1, 0], [-1, 0], [0, 1], [0, -1]])
    put = cv2.perspectiveTransform(around[None].astype(float), H)[0]
    if not np.all(np.isfinite(put)):
        return None
    square = float(np.linalg.norm(put[1:] - put[0], axis=1).min())
    height, width = gray.shape
    if square < _LEAST_SQUARE_PX or not (4 < put[0, 0] < width - 5 and 4 < put[0, 1] < height - 5):
        return None
    at, good = refine(put[:1], square)
    if not good[0] or np.linalg.norm(at[0] - put[0]) > _MAX_STRAY * square:
        return None
    diagonal = np.array([[-1, -1], [1, -1], [-1, 1], [1, 1]])
    probes = cv2.perspectiveTransform((here + _PROBE * p * diagonal)[None], H)[0] + at[0] - put[0]
    u, v = probes.T[:, None].astype(np.float32)
    values = cv2.remap(gray, u, v, cv2.INTER_LINEAR).ravel().astype(float)
    column, row = i % (board.columns - 1), i // (board.columns - 1)
    light = bright[[row, row, row + 1, row + 1], [column, column + 1, column, column + 1]]
    step = values[light].min() - values[~light].max()
    return at[0] if step > _CONTRAST * max(np.ptp(values), 20.0) else None


def _bright_squares(board: Board) -> np.ndarray:
    """bool (rows, columns): squares that carry a marker are white."""
    bright = np.zeros((board.rows, board.columns), bool)
    for corners in board.cv_board.getObjPoints():
        column, row = (np.mean(np.asarray(corners).reshape(-1, 3)[:, :2], 0) / board.pitch_m).astype(int)
        bright[row, column] = True
    return bright


def marker_corners(board: Board, ids: np.ndarray, corners: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Board points (4 N, 2) m and pixels (4 N, 2) of the markers of this board that were read."""
    places = np.asarray(board.cv_board.getObjPoints(), float).reshape(-1, 4, 3)[..., :2] - np.array(board.size_m) / 2
    mine = [(int(i) - board.first_id, c) for i, c in zip(ids, corners) if 0 <= int(i) - board.first_id < len(places)]
    if not mine:
        return np.zeros((0, 2)), np.zeros((0, 2))
    return (
        np.concatenate([places[i] for i, _ in mine]),
        np.concatenate([np.asarray(c, float).reshape(4, 2) for _, c in mine]),
    )

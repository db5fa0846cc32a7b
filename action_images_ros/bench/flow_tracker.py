"""Labelling a video with optical flow: the first step's blobs followed through every view, then triangulated.

The control of mode label in `bench modes`. It is given what the model is given: the video, the calibration and the
pose at its first frame.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np

from ..codec import ActionEncoding
from ..codec.pose import Scene, sight, solve
from ..geometry import PinholeCamera
from ..geometry.se3 import make

_LUCAS_KANADE: dict[str, Any] = {"winSize": (15, 15), "maxLevel": 3,
                 "criteria": (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 30, 0.01)}
_THERE_AND_BACK_PX = 1.0
_HAND_PX = 10
_MAX_CORNERS, _MIN_CORNERS = 40, 3

Follow = Callable[[np.ndarray, np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
"""Two grey pictures and points (3, 2) px in the first -> points (3, 2) in the second, and which were found (3,)."""


def follow_points(before: np.ndarray, after: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pyramidal Lucas-Kanade of the three points themselves; found if tracking back ends within a pixel."""
    moved, good = _flow(before, after, points)
    return np.where(good[:, None], moved, points), good


def follow_hand(before: np.ndarray, after: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Corners on and around the triangle of the three points, tracked; the points move with the similarity that fits
    most of them (RANSAC). A blob often hangs in the air beside the hand, where there is nothing to track."""
    lost = np.zeros(3, bool)
    mask: np.ndarray = np.zeros(before.shape, np.uint8)
    cv2.fillConvexPoly(mask, cv2.convexHull(np.rint(points).astype(np.int32)), 255)
    mask = cv2.dilate(mask, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * _HAND_PX + 1,) * 2))
    corners = cv2.goodFeaturesToTrack(before, _MAX_CORNERS, 0.02, 2, mask=mask, blockSize=3)
    if corners is None or len(corners) < _MIN_CORNERS:
        return points, lost
    corners = corners.reshape(-1, 2).astype(float)
    moved, good = _flow(before, after, corners)
    if good.sum() < _MIN_CORNERS:
        return points, lost
    motion, _ = cv2.estimateAffinePartial2D(corners[good], moved[good], method=cv2.RANSAC, ransacReprojThreshold=1.0)
    if motion is None:
        return points, lost
    return points @ motion[:, :2].T + motion[:, 2], ~lost


def track(video: np.ndarray, base_T_tcp: np.ndarray, cameras: Sequence[PinholeCamera], encoding: ActionEncoding,
          follow: Follow) -> tuple[np.ndarray, np.ndarray]:
    """video (T, V, H, W, 3) uint8, the pose (4, 4) at its first frame, cameras at (W, H).

    Returns poses (T, 4, 4) and where there is one (T,) bool; without one the last pose is held.
    """
    uv, found = _paths(video, base_T_tcp, cameras, encoding, follow)
    weight = np.where(found[..., None, None], np.eye(2), 0.0)
    scene = Scene(tuple(cameras), encoding.tcp_points, encoding.axis_length_m, encoding.sigma_px(cameras[0].image_size))
    fit = solve(sight(uv, weight, cameras), scene)
    poses, solved = make(fit.R, fit.p), fit.solved.copy()
    poses[0], solved[0] = base_T_tcp, True
    last = np.maximum.accumulate(np.where(solved, np.arange(len(poses)), 0))
    return poses[last], solved


def _paths(video: np.ndarray, base_T_tcp: np.ndarray, cameras: Sequence[PinholeCamera], encoding: ActionEncoding,
           follow: Follow) -> tuple[np.ndarray, np.ndarray]:
    """uv (T, V, 3, 2) px and found (T, V, 3); a point once lost stays lost."""
    steps, views = video.shape[:2]
    uv, found = np.zeros((steps, views, 3, 2)), np.zeros((steps, views, 3), bool)
    points = encoding.base_points(base_T_tcp)
    for v, camera in enumerate(cameras):
        grey = [cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_RGB2GRAY) for frame in video[:, v]]
        uv[0, v] = camera.project(points)
        found[0, v] = np.isfinite(uv[0, v]).all(-1)
        uv[0, v] = np.nan_to_num(uv[0, v])
        for t in range(1, steps):
            uv[t, v], good = follow(grey[t - 1], grey[t], uv[t - 1, v])
            found[t, v] = good & found[t - 1, v]
    return uv, found


def _flow(before: np.ndarray, after: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points (n, 2) px -> where they went (n, 2), and whether the way back leads to where they came from (n,)."""
    start = points.astype(np.float32).reshape(-1, 1, 2)
    flow: Any = cv2.calcOpticalFlowPyrLK  # None, which its annotations forbid, has it make the result
    there, ok, _ = flow(before, after, start, None, **_LUCAS_KANADE)
    back, ok_back, _ = flow(after, before, there, None, **_LUCAS_KANADE)
    moved = there.reshape(-1, 2).astype(float)
    error = np.linalg.norm(back.reshape(-1, 2) - start.reshape(-1, 2), axis=-1)
    return moved, (ok.ravel() > 0) & (ok_back.ravel() > 0) & (error < _THERE_AND_BACK_PX)

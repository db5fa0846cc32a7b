"""Calibration drawn on pictures: what is seen while poses are taken, and where the result puts boards and arm."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from ..geometry.se3 import transform
from .detect import Detection
from .result import CalibrationResult
from .rig import ArmModel, BoardMount, CameraMount, Sample

_AXIS_M = 0.1
_SHIFT = 4
_TEXT = 0.45
_GREEN, _MAGENTA, _WHITE = (60, 220, 60), (255, 0, 255), (255, 255, 255)
_AXES = ((255, 40, 40), (40, 255, 40), (60, 90, 255))


def live_view(
    image: np.ndarray, detections: Sequence[Detection], earlier: np.ndarray, lines: Sequence[str]
) -> np.ndarray:
    """A copy of image (H, W, 3) RGB with the points found now (crosses), those of the poses taken so far, `earlier`
    (N, 2) px (dots: what of the picture is covered), and lines of text."""
    out = np.ascontiguousarray(image).copy()
    for uv in np.asarray(earlier, float).reshape(-1, 2):
        cv2.circle(out, _fixed(uv), 1 << _SHIFT, _MAGENTA, -1, cv2.LINE_AA, _SHIFT)
    for detection in detections:
        for uv in detection.uv:
            _cross(out, uv, _GREEN)
    _captions(out, lines)
    return out


def overlay(r: CalibrationResult, view: str, sample: Sample, arm: ArmModel, image: np.ndarray) -> np.ndarray:
    """The picture with found points, the boards as calibration and arm reading put them, and the axes of TCP and
    base."""
    v = r.views[view]
    tcp = arm.fk(sample.q + np.deg2rad(r.correction.offsets_deg) + r.correction.delay_s * sample.dq)
    camera = v.camera.at(tcp @ v.parent_T_camera if v.mount is CameraMount.EYE_IN_HAND else v.parent_T_camera)
    out = np.ascontiguousarray(image).copy()
    for detection in sample.detections.get(view, ()):
        board = r.boards[detection.board]
        T = tcp @ board.parent_T_board if board.mount is BoardMount.GRIPPER else board.parent_T_board
        points = transform(T, (1 + board.scale) * board.board.points[detection.ids])
        for seen, put in zip(detection.uv, camera.project(points)):
            _cross(out, seen, _GREEN)
            _ring(out, put, _MAGENTA)
        edge = camera.project(transform(T, (1 + board.scale) * board.board.outline))
        _lines(out, np.concatenate([edge, edge[:1]]), _MAGENTA)
    for frame in (tcp, np.eye(4)):
        ends = camera.project(transform(frame, np.concatenate([np.zeros((1, 3)), _AXIS_M * np.eye(3)])))
        for k, colour in enumerate(_AXES):
            _lines(out, ends[[0, k + 1]], colour)
    return out


def _captions(image: np.ndarray, lines: Sequence[str]) -> None:
    """White text on a darkened strip along the top, as small as the picture's width asks for."""
    height, bottom = 18, 8 + 18 * len(lines)
    image[:bottom] = (0.35 * image[:bottom]).astype(np.uint8)
    for k, text in enumerate(lines):
        (width, _), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, _TEXT, 1)
        size = _TEXT * min(1.0, (image.shape[1] - 16) / max(width, 1))
        at = (8, height + height * k)
        cv2.putText(image, text, at, cv2.FONT_HERSHEY_SIMPLEX, size, _WHITE, 1, cv2.LINE_AA)


def _fixed(uv: np.ndarray) -> tuple[int, int]:
    u, v = (int(round(float(x) * (1 << _SHIFT))) for x in uv)
    return u, v


def _in_reach(uv: np.ndarray) -> bool:
    return bool(np.all(np.isfinite(uv)) and np.all(np.abs(uv) < 1e4))


def _cross(image: np.ndarray, uv: np.ndarray, colour: tuple) -> None:
    for step in ((4, 0), (0, 4)):
        cv2.line(image, _fixed(uv - step), _fixed(uv + step), colour, 1, cv2.LINE_AA, _SHIFT)


def _ring(image: np.ndarray, uv: np.ndarray, colour: tuple) -> None:
    if _in_reach(uv):
        cv2.circle(image, _fixed(uv), 4 << _SHIFT, colour, 1, cv2.LINE_AA, _SHIFT)


def _lines(image: np.ndarray, uv: np.ndarray, colour: tuple) -> None:
    for a, b in zip(uv[:-1], uv[1:]):
        if _in_reach(a) and _in_reach(b):
            cv2.line(image, _fixed(a), _fixed(b), colour, 1, cv2.LINE_AA, _SHIFT)

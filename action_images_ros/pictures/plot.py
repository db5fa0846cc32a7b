"""A chunk's trajectory as one picture: in three dimensions and component by component."""

from __future__ import annotations

import cv2
import numpy as np

from ..geometry.se3 import so3_log
from ..types import ActionChunk
from .axes import Axes, dot, nice_ticks, polyline
from .sheet import INK, write

SIZE = (1500, 980)
RED, GREEN, BLUE, GREY = (235, 60, 60), (50, 190, 60), (80, 120, 255), (150, 150, 150)
_TRUTH, _FLOOR = (150, 150, 150), (222, 222, 222)
_LINE = (30, 90, 200)
_VIEW = np.array([[-0.5, 0.866, 0.0], [-0.36, -0.21, 0.91]])  # base frame -> right and up, seen from +x +y +z
_AXIS_M = 0.03
_SMALLEST_M, _SMALLEST_DEG = 0.02, 2.0
_SDS = 2.0


def plot_trajectory(chunk: ActionChunk, dt_s: float, title: str, truth: np.ndarray | None = None,
                    truth_openness: np.ndarray | None = None) -> np.ndarray:
    """uint8 (980, 1500, 3) RGB. Left the path in the base frame with the tool's axes; right x, y, z, the rotation
    vector since step 0 and the openness over time, with two standard deviations. Rings: steps that are not credible.

    truth (T, 4, 4), truth_openness (T,): drawn in grey.
    """
    image = np.full((SIZE[1], SIZE[0], 3), 255, np.uint8)
    write(image, title, (24, 28), scale=0.6)
    recorded = "" if truth is None else ", grey: recorded"
    write(image, f"decoded (rings: not credible; band: {_SDS:g} sd of decoding){recorded}", (24, 50))
    _space(image, (20, 70, 690, 880), chunk, truth)
    _components(image, (800, 46, 670, 890), chunk, dt_s, truth, truth_openness)
    return image


def _components(image: np.ndarray, box: tuple[int, int, int, int], chunk: ActionChunk, dt_s: float,
                truth: np.ndarray | None, truth_openness: np.ndarray | None) -> None:
    t = np.arange(len(chunk)) * dt_s
    made, sd = _seven(chunk.base_T_tcps, chunk.base_T_tcps[0], chunk.openness), _seven_sd(chunk)
    shown = chunk.openness if truth_openness is None else truth_openness
    true = None if truth is None else _seven(truth, truth[0], shown)
    names = ("x (m)", "y (m)", "z (m)", "rotation about base x (deg)", "rotation about base y (deg)",
             "rotation about base z (deg)", "openness")
    left, top, width, height = box
    each = height // len(names)
    span_m = _span([made[:, :3]] + ([] if true is None else [true[:, :3]]), _SMALLEST_M)
    span_deg = _span([made[:, 3:6]] + ([] if true is None else [true[:, 3:6]]), _SMALLEST_DEG)
    for i, name in enumerate(names):
        both = made[:, i] if true is None else np.concatenate([made[:, i], true[:, i]])
        middle, half = (both.min() + both.max()) / 2, (span_m if i < 3 else span_deg) * 0.6
        limits = (-0.15, 1.15) if i == 6 else (middle - half, middle + half)
        panel = (left, top + i * each, width, each - 26)
        axes = Axes(image, panel, (0.0, float(t[-1])), limits, name, show_x=i == len(names) - 1)
        if i < 6:
            axes.band(t, made[:, i] - _SDS * sd[:, i], made[:, i] + _SDS * sd[:, i], (150, 185, 240))
        if true is not None:
            axes.line(t, true[:, i], _TRUTH, 4)
        axes.line(t, made[:, i], _LINE, 2)
        axes.marks(t, made[:, i], _LINE, chunk.credible)
    write(image, "time since the observation (s)", (left + width // 2 - 90, top + height + 12))


def _seven(poses: np.ndarray, first: np.ndarray, openness: np.ndarray) -> np.ndarray:
    """(T, 7): position m, rotation vector since `first` in the base frame deg, openness."""
    turned = np.degrees(so3_log(poses[:, :3, :3] @ first[:3, :3].T))
    return np.concatenate([poses[:, :3, 3], turned, openness[:, None]], -1)


def _seven_sd(chunk: ActionChunk) -> np.ndarray:
    sd = np.sqrt(np.einsum("tii->ti", chunk.covariance))
    return np.concatenate([sd[:, :3], np.degrees(sd[:, 3:])], -1)


def _span(groups: list[np.ndarray], smallest: float) -> float:
    """The widest range of one component: panels of one unit share a scale."""
    every = np.concatenate(groups)
    return max(smallest, float((every.max(0) - every.min(0)).max()))


class _Space:
    """Orthographic view of a box in the base frame. low, high (3,) m; box (left, top, width, height) px."""

    def __init__(self, low: np.ndarray, high: np.ndarray, box: tuple[int, int, int, int]) -> None:
        left, top, width, height = box
        corners = np.array([[x, y, z] for x in (low[0], high[0]) for y in (low[1], high[1]) for z in (low[2], high[2])])
        flat = corners @ _VIEW.T
        extent = flat.max(0) - flat.min(0)
        self.scale = 0.88 * min(width / extent[0], height / extent[1])
        self.centre = (flat.max(0) + flat.min(0)) / 2
        self.middle = np.array([left + width / 2, top + height / 2])

    def place(self, points: np.ndarray) -> np.ndarray:
        """(..., 3) m -> (..., 2) px."""
        offset = (np.asarray(points, float) @ _VIEW.T - self.centre) * self.scale
        return self.middle + offset * [1, -1]


def _space(image: np.ndarray, box: tuple[int, int, int, int], chunk: ActionChunk, truth: np.ndarray | None) -> None:
    points = chunk.base_T_tcps[:, :3, 3]
    every = points if truth is None else np.concatenate([points, truth[:, :3, 3]])
    middle = (every.min(0) + every.max(0)) / 2
    half = np.maximum((every.max(0) - every.min(0)) / 2 + 0.04, 0.08)
    low, high = middle - half, middle + half
    space = _Space(low, high, box)
    _floor(image, space, low, high)
    if truth is not None:
        _path(image, space, truth[:, :3, 3], low[2], _TRUTH, np.ones(len(truth), bool))
    _path(image, space, points, low[2], _LINE, chunk.credible)
    for pose in chunk.base_T_tcps[chunk.credible]:
        ends = pose[:3, 3] + _AXIS_M * pose[:3, :3].T
        for end, colour in zip(ends, (RED, GREEN, BLUE)):
            polyline(image, space.place(np.stack([pose[:3, 3], end])), colour, 2)
    x, y = space.place(points[0])
    write(image, "start", (int(x) + 8, int(y) + 8))


def _path(image: np.ndarray, space: _Space, points: np.ndarray, floor: float, colour: tuple[int, int, int],
          filled: np.ndarray) -> None:
    """The path, and its shadow on the floor with plumb lines."""
    below = points.copy()
    below[:, 2] = floor
    r, g, b = ((c + 2 * 220) // 3 for c in colour)
    polyline(image, space.place(below), (r, g, b), 2)
    for above, foot in zip(points, below):
        polyline(image, space.place(np.stack([above, foot])), _FLOOR, 1)
    polyline(image, space.place(points), colour, 2)
    for point, full in zip(space.place(points), filled):
        dot(image, point, colour if full else GREY, 4.5, bool(full))


def _floor(image: np.ndarray, space: _Space, low: np.ndarray, high: np.ndarray) -> None:
    """Grid on the floor with round ticks (m), the vertical edge, and the axes' names."""
    for axis, other in ((0, 1), (1, 0)):
        for value in nice_ticks(low[axis], high[axis]):
            ends = np.tile(low, (2, 1))
            ends[:, axis] = value
            ends[:, other] = low[other], high[other]
            polyline(image, space.place(ends), _FLOOR, 1)
            _label(image, space.place(ends[1]), f"{value:.5g}")
    corner = np.array([low[0], low[1], low[2]])
    for value in nice_ticks(low[2], high[2]):
        at = corner.copy()
        at[2] = value
        end = space.place(at)
        cv2.line(image, (round(end[0]) - 4, round(end[1])), (round(end[0]) + 4, round(end[1])), INK, 1)
        _label(image, end, f"{value:.5g}", -48)
    polyline(image, space.place(np.stack([corner, [low[0], low[1], high[2]]])), INK, 1)
    outline = np.array([[low[0], low[1]], [high[0], low[1]], [high[0], high[1]], [low[0], high[1]], [low[0], low[1]]])
    polyline(image, space.place(np.concatenate([outline, np.full((5, 1), low[2])], 1)), INK, 1)
    names = {"x": [(low[0] + high[0]) / 2, high[1], low[2]], "y": [high[0], (low[1] + high[1]) / 2, low[2]],
             "z": [low[0], low[1], high[2]]}
    for name, place in names.items():
        end = space.place(np.array(place))
        right, down = (8, 0) if name == "z" else (22, 34)
        write(image, f"{name} (m)", (int(end[0]) + right, int(end[1]) + down), scale=0.5)


def _label(image: np.ndarray, at: np.ndarray, text: str, shift: int = 6) -> None:
    write(image, text, (int(at[0]) + shift, int(at[1]) + 12), scale=0.38)

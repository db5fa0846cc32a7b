"""One panel of a line plot, drawn with OpenCV."""

from __future__ import annotations

import cv2
import numpy as np

from .sheet import INK, write

_GRID = (225, 225, 225)
_SUB_PX = 4  # fractional bits of OpenCV's anti-aliased coordinates


def nice_ticks(low: float, high: float, about: int = 5) -> np.ndarray:
    """Round values (n,) within [low, high], about `about` of them, at 1, 2 or 5 times a power of ten."""
    rough = max(high - low, 1e-12) / about
    power = 10.0 ** np.floor(np.log10(rough))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough * 0.999)
    return np.arange(np.ceil(low / step - 1e-9), np.floor(high / step + 1e-9) + 1) * step + 0.0


def fix(points: np.ndarray) -> np.ndarray:
    """Pixel positions (..., 2) as OpenCV's fixed-point integers."""
    return np.rint(np.asarray(points) * (1 << _SUB_PX)).astype(np.int32)


def polyline(image: np.ndarray, points: np.ndarray, colour: tuple[int, int, int], width: int = 2) -> None:
    """Connected finite points (n, 2) px; a NaN breaks the line."""
    good = np.isfinite(points).all(-1)
    for k in np.flatnonzero(good[1:] & good[:-1]):
        a, b = fix(points[k:k + 2])
        cv2.line(image, tuple(map(int, a)), tuple(map(int, b)), colour, width, cv2.LINE_AA, _SUB_PX)


def dot(image: np.ndarray, point: np.ndarray, colour: tuple[int, int, int], radius: float, filled: bool) -> None:
    """A disc at (2,) px; a larger ring, empty inside, if not filled."""
    if np.all(np.isfinite(point)):
        at, unit = tuple(map(int, fix(point))), 1 << _SUB_PX
        cv2.circle(image, at, round((radius if filled else radius + 1.5) * unit), colour, -1, cv2.LINE_AA, _SUB_PX)
        if not filled:
            cv2.circle(image, at, round((radius - 0.5) * unit), (255, 255, 255), -1, cv2.LINE_AA, _SUB_PX)


class Axes:
    """A panel at box = (left, top, width, height) px of `image`, over x (low, high) and y (low, high)."""

    def __init__(self, image: np.ndarray, box: tuple[int, int, int, int], x: tuple[float, float],
                 y: tuple[float, float], title: str, show_x: bool) -> None:
        self.image, self.box, self.x, self.y = image, box, x, y
        left, top, width, height = box
        for value in nice_ticks(*y, about=4):
            at = self.place(np.array([x[0], value]))
            cv2.line(image, (left, round(at[1])), (left + width, round(at[1])), _GRID, 1)
            write(image, f"{value:.5g}", (left - 52, round(at[1]) + 4), scale=0.38)
        for value in nice_ticks(*x, about=8):
            at = self.place(np.array([value, y[0]]))
            cv2.line(image, (round(at[0]), top), (round(at[0]), top + height), _GRID, 1)
            if show_x:
                write(image, f"{value:.5g}", (round(at[0]) - 8, top + height + 16), scale=0.38)
        cv2.rectangle(image, (left, top), (left + width, top + height), INK, 1)
        write(image, title, (left, top - 5), scale=0.44)

    def place(self, points: np.ndarray) -> np.ndarray:
        """Data (..., 2) -> px (..., 2)."""
        left, top, width, height = self.box
        share = (points - [self.x[0], self.y[0]]) / [self.x[1] - self.x[0], self.y[1] - self.y[0]]
        return np.stack([left + share[..., 0] * width, top + (1 - share[..., 1]) * height], -1)

    def line(self, x: np.ndarray, y: np.ndarray, colour: tuple[int, int, int], width: int = 2) -> None:
        polyline(self.image, self.place(np.stack([x, y], -1)), colour, width)

    def marks(self, x: np.ndarray, y: np.ndarray, colour: tuple[int, int, int], filled: np.ndarray) -> None:
        for point, full in zip(self.place(np.stack([x, y], -1)), filled):
            dot(self.image, point, colour, 3.5, bool(full))

    def band(self, x: np.ndarray, low: np.ndarray, high: np.ndarray, colour: tuple[int, int, int]) -> None:
        """The area between two curves, mixed with what is there; cut at the panel's border, left out at NaN."""
        good = np.isfinite(low) & np.isfinite(high)
        over = self.image.copy()
        for run in np.split(np.flatnonzero(good), np.flatnonzero(np.diff(np.flatnonzero(good)) > 1) + 1):
            if len(run) > 1:
                upper = np.stack([x[run], np.clip(high[run], *self.y)], -1)
                lower = np.stack([x[run], np.clip(low[run], *self.y)], -1)
                around = self.place(np.concatenate([lower, upper[::-1]]))
                cv2.fillPoly(over, [fix(around)], colour, cv2.LINE_AA, _SUB_PX)
        self.image[:] = cv2.addWeighted(over, 0.35, self.image, 0.65, 0)

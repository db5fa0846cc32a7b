"""Predicted actions drawn over camera pictures, and pictures put side by side. Pure image operations."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from .codec import ActionEncoding
from .errors import EncodingError
from .geometry import PinholeCamera
from .types import ActionChunk

_RGB = ((255, 60, 60), (60, 230, 60), (80, 140, 255))
_OPEN, _CLOSED, _DOUBT = (255, 255, 255), (255, 200, 0), (150, 150, 150)
_TEXT_PX = 14
_SHIFT = 3


def draw_chunk(
    image: np.ndarray, chunk: ActionChunk, camera: PinholeCamera, encoding: ActionEncoding = ActionEncoding()
) -> np.ndarray:
    """A copy of image (H, W, 3) uint8 RGB with the chunk over it.

    The TCP's path runs through the credible steps, from dark to bright; at its end stand the encoded axes. A point is
    white where the gripper is open, yellow where closed, grey where the step is not credible. Steps behind the
    camera are left out.
    """
    if (image.shape[1], image.shape[0]) != tuple(camera.image_size):
        raise EncodingError(
            f"picture is {image.shape[1]}x{image.shape[0]}, its camera {camera.image_size[0]}x{camera.image_size[1]}"
        )
    out = np.ascontiguousarray(image).copy()
    if not len(chunk):
        return out
    scale = max(1, round(min(camera.image_size) / 240))
    uv = camera.project(encoding.base_points(chunk.base_T_tcps))
    points = _fixed(uv)
    tcp = [p[0] for p in points]
    sure = np.flatnonzero(chunk.credible)
    for a, b in zip(sure[:-1], sure[1:]):
        bright = 0.35 + 0.65 * b / max(len(chunk) - 1, 1)
        _line(out, tcp[a], tcp[b], tuple(int(bright * c) for c in (255, 120, 0)), 2 * scale)
    for k in range(len(chunk)):
        colour = _DOUBT if not chunk.credible[k] else _OPEN if chunk.openness[k] > 0.5 else _CLOSED
        _dot(out, tcp[k], colour, 2 * scale)
    if len(sure):
        for axis in (1, 2):
            _line(out, tcp[sure[-1]], points[sure[-1]][axis], _RGB[axis], 2 * scale)
        _dot(out, tcp[sure[-1]], _RGB[0], 3 * scale)
    return out


_Point = tuple[int, int]


def _fixed(uv: np.ndarray) -> list[list[_Point | None]]:
    """OpenCV's fixed-point coordinates of points (T, P, 2), for sub-pixel drawing; None where a point is not finite."""
    seen = np.isfinite(uv).all(axis=-1)
    whole = np.rint(np.clip(np.where(seen[..., None], uv, 0.0), -1e4, 1e4) * 2**_SHIFT).astype(int).tolist()
    return [[(x, y) if s else None for (x, y), s in zip(row, flags)] for row, flags in zip(whole, seen.tolist())]


def _line(image: np.ndarray, a: _Point | None, b: _Point | None, colour: tuple[int, ...], width: int) -> None:
    if a is not None and b is not None:
        cv2.line(image, a, b, colour, width, cv2.LINE_AA, _SHIFT)


def _dot(image: np.ndarray, at: _Point | None, colour: tuple[int, ...], radius: int) -> None:
    if at is not None:
        cv2.circle(image, at, radius << _SHIFT, colour, -1, cv2.LINE_AA, _SHIFT)


def enlarged(image: np.ndarray, height: int) -> np.ndarray:
    """Nearest-neighbour resize of (h, w, 3) to the given height, aspect kept: pixels stay visible."""
    width = max(1, round(image.shape[1] * height / image.shape[0]))
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_NEAREST)


def strip(action_images: np.ndarray, height: int, columns: int = 4) -> np.ndarray:
    """Up to `columns` action images (T, h, w, 3) of one view, evenly chosen from first to last, side by side."""
    chosen = np.unique(np.linspace(0, len(action_images) - 1, min(columns, len(action_images))).round().astype(int))
    gap = np.full((height, 2, 3), 90, np.uint8)
    return np.hstack([part for k in chosen for part in (enlarged(action_images[k], height), gap)])


def grid(images: np.ndarray, height: int) -> np.ndarray:
    """All images (T, h, w, 3) of one view as a square, row by row, each of this height."""
    columns = int(np.ceil(np.sqrt(len(images))))
    tiles = [enlarged(image, height) for image in images]
    tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % columns)
    tiles = [np.pad(tile, ((0, 2), (0, 2), (0, 0)), constant_values=60) for tile in tiles]
    return np.vstack([np.hstack(tiles[k : k + columns]) for k in range(0, len(tiles), columns)])


def captioned(image: np.ndarray, text: str) -> np.ndarray:
    """The picture under a line of text."""
    band = np.full((_TEXT_PX + 6, image.shape[1], 3), 32, np.uint8)
    cv2.putText(band, text, (4, _TEXT_PX), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (235, 235, 235), 1, cv2.LINE_AA)
    return np.vstack([band, image])


def stacked(rows: Sequence[np.ndarray]) -> np.ndarray:
    """Pictures below each other, padded on the right to the widest."""
    width = max(row.shape[1] for row in rows)
    return np.vstack([np.pad(row, ((0, 0), (0, width - row.shape[1]), (0, 0)), constant_values=32) for row in rows])

"""Sheets of many small pictures. All images uint8 (H, W, 3) RGB."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

INK = (40, 40, 40)
_MARGIN_PX, _HEAD_PX, _GAP_PX = 128, 20, 3


def fitted(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """`image` scaled, in proportion, into a dark frame of (width, height)."""
    scale = min(size[0] / image.shape[1], size[1] / image.shape[0])
    inner = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    out = np.full((size[1], size[0], 3), INK, np.uint8)
    x, y = (size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2
    out[y:y + inner[1], x:x + inner[0]] = cv2.resize(image, inner,
                                                     interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    return out


def tiled(images: np.ndarray) -> np.ndarray:
    """(T, V, H, W, 3) -> one picture, row = step, column = view: the tiling of the `action_images` topic."""
    t, v, h, w, _ = images.shape
    return np.ascontiguousarray(images.transpose(0, 2, 1, 3, 4).reshape(t * h, v * w, 3))


def contact_sheet(rows: Sequence[tuple[str, Sequence[np.ndarray]]], heads: Sequence[str],
                  cell_px: int = 160) -> np.ndarray:
    """rows: (label, pictures) each; heads: what stands over each column. Pictures are fitted into squares."""
    step = cell_px + _GAP_PX
    out = np.full((_HEAD_PX + len(rows) * step, _MARGIN_PX + len(heads) * step, 3), 255, np.uint8)
    for column, head in enumerate(heads):
        write(out, head, (_MARGIN_PX + column * step + 4, _HEAD_PX - 6))
    for row, (label, pictures) in enumerate(rows):
        top = _HEAD_PX + row * step
        for line, word in enumerate(label.split("\n")):
            write(out, word, (6, top + cell_px // 2 + 16 * line))
        for column, picture in enumerate(pictures):
            left = _MARGIN_PX + column * step
            out[top:top + cell_px, left:left + cell_px] = fitted(picture, (cell_px, cell_px))
    return out


def write(image: np.ndarray, text: str, at: tuple[int, int], scale: float = 0.42) -> None:
    """Text onto `image`, `at` being the left end of its baseline."""
    cv2.putText(image, text, at, cv2.FONT_HERSHEY_SIMPLEX, scale, INK, 1, cv2.LINE_AA)

"""Watching a rollout: the camera images with the predicted action drawn on them, as an MP4."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from ..geometry import PinholeCamera
from ..pictures.video_file import write_mp4
from ..types import ActionChunk
from .cell import SimCell

_RGB = ((255, 60, 60), (60, 255, 60), (80, 120, 255))
_GREEN_M, _BLUE_M = (0.05, 0, 0), (0, 0, -0.05)


def draw_chunk(image: np.ndarray, camera: PinholeCamera, chunk: ActionChunk) -> np.ndarray:
    """A copy of uint8 (H, W, 3) with the chunk's TCP path (red) and the axes of its last pose; grey: not credible."""
    out = image.copy()
    points = camera.project(chunk.base_T_tcps[:, :3, 3])
    for k in range(len(chunk)):
        if not np.all(np.isfinite(points[k])):
            continue
        here = tuple(int(v) for v in np.rint(points[k]))
        cv2.circle(out, here, 3, _RGB[0] if chunk.credible[k] else (150, 150, 150), -1, cv2.LINE_AA)
        if k and np.all(np.isfinite(points[k - 1])):
            cv2.line(out, tuple(int(v) for v in np.rint(points[k - 1])), here, _RGB[0], 1, cv2.LINE_AA)
    last = chunk.base_T_tcps[-1]
    for offset, colour in ((_GREEN_M, _RGB[1]), (_BLUE_M, _RGB[2])):
        ends = camera.project(np.stack([last[:3, 3], last[:3, :3] @ np.array(offset) + last[:3, 3]]))
        if np.all(np.isfinite(ends)):
            a, b = (tuple(int(v) for v in np.rint(e)) for e in ends)
            cv2.line(out, a, b, colour, 2, cv2.LINE_AA)
    return out


class VideoObserver:
    """Collects side-by-side views at rate_hz of simulation time, with the chunk being executed and a caption."""

    def __init__(self, caption: str, rate_hz: float = 10.0):
        self.caption, self.rate_hz = caption, rate_hz
        self.frames: list[np.ndarray] = []
        self._chunk: ActionChunk | None = None
        self._next_s = 0.0

    def on_chunk(self, cell: SimCell, chunk: ActionChunk) -> None:
        self._chunk = chunk

    def on_tick(self, cell: SimCell) -> None:
        if cell.time_s + 1e-9 < self._next_s:
            return
        self._next_s = cell.time_s + 1.0 / self.rate_hz
        views = []
        for view, camera in cell.cameras.items():
            image = cell.render(view)
            views.append(image if self._chunk is None else draw_chunk(image, camera, self._chunk))
        frame = np.concatenate(views, 1)
        cv2.putText(frame, f"{self.caption}  {cell.time_s:4.1f} s", (6, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.42,
                    (255, 255, 255), 1, cv2.LINE_AA)
        self.frames.append(frame)

    def save(self, path: Path) -> None:
        write_mp4(path, self.frames, self.rate_hz)

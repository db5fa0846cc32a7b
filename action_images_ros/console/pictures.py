"""The newest picture of each view, small, with the prediction over it, as JPEG."""

from __future__ import annotations

import threading
from dataclasses import dataclass

import cv2
import numpy as np

from ..codec import ActionEncoding
from ..errors import EncodingError
from ..geometry import PinholeCamera
from ..overlay import draw_chunk, grid
from ..types import ActionChunk

ACTIONS, VIDEO = "actions", "video"
"""Kinds of picture beside the live one, which has kind `live`."""
LIVE = "live"
_TILE_PX = 96


@dataclass(frozen=True)
class Jpeg:
    """number: counts up for each picture of one (kind, view)."""

    kind: str
    view: str
    number: int
    data: bytes


class Pictures:
    """Keeps what came last; draws and encodes when told. Any thread may call anything.

    width_px: of the pictures that are sent, never more than the camera's.
    """

    def __init__(
        self, cameras: dict[str, PinholeCamera], width_px: int = 320, quality: int = 75,
        encoding: ActionEncoding = ActionEncoding(),
    ) -> None:  # fmt: skip
        self._quality, self._encoding, self._lock = quality, encoding, threading.Lock()
        self._cameras = {name: _narrowed(camera, width_px) for name, camera in cameras.items()}
        self._jpegs: dict[tuple[str, str], Jpeg] = {}
        self._small: dict[str, np.ndarray] = {}

    def live(self, view: str, image: np.ndarray, chunk: ActionChunk | None) -> None:
        """image: (H, W, 3) uint8 RGB as the camera gave it. Raises EncodingError for another shape."""
        camera = self._cameras[view]
        width, height = camera.image_size
        if abs(image.shape[1] * height - image.shape[0] * width) > max(image.shape[:2]):
            raise EncodingError(f"view {view}: picture is {image.shape[1]}x{image.shape[0]}, its camera another shape")
        small = image
        if image.shape[1] != width:
            small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
        self._small[view] = small
        drawn = small if chunk is None else draw_chunk(small, chunk, camera, self._encoding)
        self._keep(LIVE, view, drawn)

    def actions(self, view: str, images: np.ndarray) -> None:
        """images: the generated action images of a view (T, h, w, 3)."""
        self._keep(ACTIONS, view, grid(images, _TILE_PX))

    def video(self, view: str, images: np.ndarray) -> None:
        """images: the predicted video of a view (T, h, w, 3)."""
        self._keep(VIDEO, view, grid(images, _TILE_PX))

    def small(self, view: str) -> np.ndarray | None:
        """The newest live picture without drawing."""
        return self._small.get(view)

    def after(self, numbers: dict[tuple[str, str], int]) -> list[Jpeg]:
        """What is newer than the numbers that somebody already has, by (kind, view)."""
        with self._lock:
            return [j for key, j in self._jpegs.items() if j.number > numbers.get(key, 0)]

    def _keep(self, kind: str, view: str, image: np.ndarray) -> None:
        bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
        ok, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, self._quality])
        if not ok:
            raise EncodingError(f"view {view}: a {kind} picture of {image.shape} could not be encoded")
        with self._lock:
            before = self._jpegs.get((kind, view))
            self._jpegs[kind, view] = Jpeg(kind, view, 1 + (before.number if before else 0), data.tobytes())


def _narrowed(camera: PinholeCamera, width_px: int) -> PinholeCamera:
    width, height = camera.image_size
    return camera if width <= width_px else camera.resized((width_px, round(height * width_px / width)))

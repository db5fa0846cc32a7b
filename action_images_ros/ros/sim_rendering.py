"""Rendering of the simulated cell in a thread of its own, so that physics and joint states never wait for it."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from ..sim.calibration_scene import SceneMirror
from ..sim.cell import SimCell
from ..sim.scene import Scene
from .loop import run_at_normal_priority

_SHIFTS = 1 << 14


@dataclass(frozen=True)
class Exposure:
    """The arm at the moment at which every camera takes its picture."""

    scene: Scene
    snapshot: np.ndarray
    stamp_ns: int


class SensorNoise:
    """Adds what every real sensor has, so that no two pictures are the same to the last bit: white noise of sd grey
    levels, cut out of a longer row at a new place each time."""

    def __init__(self, sd: float, seed: int = 0) -> None:
        self._sd, self._rng = sd, np.random.default_rng(seed)
        self._fields: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def add(self, image: np.ndarray) -> np.ndarray:
        """(H, W, 3) uint8 -> the same, noisy."""
        if not self._sd:
            return image
        if image.size not in self._fields:
            field = np.rint(self._rng.normal(0.0, self._sd, image.size + _SHIFTS)).astype(np.int16)
            self._fields[image.size] = (field.clip(0, 255).astype(np.uint8), (-field).clip(0, 255).astype(np.uint8))
        shift = int(self._rng.integers(0, _SHIFTS))
        up, down = (part[shift : shift + image.size].reshape(image.shape) for part in self._fields[image.size])
        return cv2.subtract(cv2.add(image, up), down)


class RenderThread(threading.Thread):
    """Owns the OpenGL context. An exposure that comes while it is busy is dropped.

    make_mirror: a cell that only renders, made in this thread. publish(view, image, stamp_ns); rendered(now_s, took_s)
    after all views of an exposure; on_error: for whatever ends the thread.
    """

    def __init__(
        self,
        make_mirror: Callable[[], SimCell | SceneMirror],
        publish: Callable[[str, np.ndarray, int], None],
        rendered: Callable[[float, float], None],
        on_error: Callable[[Exception], None],
    ) -> None:
        super().__init__(name="render", daemon=True)
        self._make_mirror, self._publish, self._rendered, self._on_error = make_mirror, publish, rendered, on_error
        self._queue: queue.Queue[Exposure | None] = queue.Queue(maxsize=1)

    def expose(self, exposure: Exposure) -> bool:
        try:
            self._queue.put_nowait(exposure)
        except queue.Full:
            return False
        return True

    def stop(self) -> None:
        while self.is_alive():
            try:
                self._queue.put(None, timeout=0.1)
                break
            except queue.Full:
                continue
        self.join(2.0)

    def run(self) -> None:
        try:
            run_at_normal_priority()
            mirror, scene = self._make_mirror(), None
            while (exposure := self._queue.get()) is not None:
                began_s = time.monotonic()
                if exposure.scene is not scene:
                    mirror.reset(exposure.scene)
                    scene = exposure.scene
                mirror.show(exposure.snapshot)
                for view in mirror.config.views:
                    self._publish(view, mirror.render(view), exposure.stamp_ns)
                self._rendered(time.monotonic(), time.monotonic() - began_s)
            mirror.close()
        except Exception as error:  # noqa: BLE001 - whatever ends this thread must end the node
            self._on_error(error)

"""What a camera gives: frames with the time by the device's clock, and what the device says of itself."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Protocol

import numpy as np


class ClockDomain(str, Enum):
    """Whose time a frame carries. global: the device's clock, translated to the host's by the driver's own exchange of
    time stamps; hardware: the device's clock as it is; system: when the frame reached the host."""

    GLOBAL = "global"
    HARDWARE = "hardware"
    SYSTEM = "system"


@dataclass(frozen=True, eq=False)
class RawFrame:
    """One frame of one camera. number: the device's counter; device_ns: its time in `domain`, to which
    middle_ns leads back to the middle of the exposure (0 where the device does not tell); color (H, W, 3) uint8 rgb;
    depth (H, W) uint16 mm in the pixels of color, with its own counter, or None."""

    number: int
    device_ns: int
    domain: ClockDomain
    color: np.ndarray
    middle_ns: int = 0
    depth: np.ndarray | None = None
    depth_number: int = 0


@dataclass(frozen=True, eq=False)
class CameraFrame:
    """What is new. stamp_ns: middle of the exposure of the colour image in host time. color None: depth that belongs to
    a colour image given before, with its stamp."""

    stamp_ns: int
    color: np.ndarray | None
    depth: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class CameraDescription:
    """Of an open camera. K (3, 3) px and distortion (OpenCV's k1 k2 p1 p2 k3, None: none) of its colour image;
    lens_error_px: how far those are off the device's own lens model, at worst."""

    name: str
    serial: str
    firmware: str
    usb: str
    image_size: tuple[int, int]
    K: np.ndarray
    distortion: np.ndarray | None = None
    lens_error_px: float = 0.0


class Camera(Protocol):
    """An open device. Every method may raise CameraError."""

    description: CameraDescription

    def read(self, timeout_s: float) -> RawFrame | None:
        """The newest frame, waiting for one at most so long; None when none came."""

    def reset(self) -> None:
        """Have the device start anew, as if it had been unplugged; `close` comes next."""

    def close(self) -> None: ...

"""sensor_msgs/Image -> arrays, for the encodings that need no conversion library."""

from __future__ import annotations

import sys
import zlib
from typing import Literal

import numpy as np

from ..errors import TransportError

DIRECT_ENCODINGS = {"rgb8": (np.uint8, 3), "bgr8": (np.uint8, 3), "mono8": (np.uint8, 1), "16UC1": (np.uint16, 1)}


_SAMPLES = 4096


def fingerprint(msg) -> int:
    """Of an image message: equal for equal pictures, and in practice only for those, since a camera's noise changes
    some of the some 4000 bytes that are looked at, spread over rows and columns. Costs a few microseconds."""
    data = np.frombuffer(msg.data, np.uint8)
    stride = max(1, len(data) // _SAMPLES) | 1
    while msg.step and msg.step % stride == 0 and stride > 1:
        stride += 2
    return zlib.crc32(data[::stride].tobytes())


def rgb_picture(msg) -> np.ndarray:
    """(H, W, 3) uint8 RGB of an rgb8, bgr8 or mono8 message; a view of it where nothing needs converting.

    Raises TransportError for another encoding, and for sizes that contradict each other.
    """
    if msg.encoding not in DIRECT_ENCODINGS or msg.encoding == "16UC1":
        raise TransportError(f"image has encoding {msg.encoding!r}; legal: rgb8, bgr8, mono8")
    array = raw_picture(msg)
    if msg.encoding == "mono8":
        return np.repeat(array[..., None], 3, axis=2)
    return array[..., ::-1] if msg.encoding == "bgr8" else array


def raw_picture(msg) -> np.ndarray:
    """The pixels as they are: (H, W, 3) or (H, W), uint8 or uint16.

    The encoding must be one of DIRECT_ENCODINGS. Raises TransportError for sizes that contradict each other.
    """
    dtype, channels = DIRECT_ENCODINGS[msg.encoding]
    row = msg.width * channels * np.dtype(dtype).itemsize
    if not msg.width or not msg.height or msg.step < row or len(msg.data) != msg.step * msg.height:
        raise TransportError(
            f"image says {msg.width}x{msg.height} {msg.encoding}, {msg.step} bytes a row, but carries "
            f"{len(msg.data)} bytes; expected {msg.height} rows of at least {row}"
        )
    rows = np.frombuffer(msg.data, np.uint8).reshape(msg.height, msg.step)[:, :row]
    order: Literal[">", "<"] = ">" if msg.is_bigendian else "<"
    array = rows.view(np.dtype(dtype).newbyteorder(order)) if dtype is np.uint16 else rows
    if dtype is np.uint16 and msg.is_bigendian != (sys.byteorder == "big"):
        array = array.astype(np.uint16)
    return array.reshape(msg.height, msg.width, channels) if channels > 1 else array

"""The message types that this package reads out of recordings, from their serialised bytes (CDR, as DDS sends them).

Every length is checked against what is there: damaged bytes are a DatasetError, never a wild read. Big arrays are views
of the bytes, not copies.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np

from ..errors import DatasetError

_NS = 1_000_000_000
_PLAIN = {b"\x00\x00": ">", b"\x00\x01": "<"}
_HEADER = 4


@dataclass(frozen=True)
class Stamp:
    sec: int
    nanosec: int

    @property
    def ns(self) -> int:
        return self.sec * _NS + self.nanosec


@dataclass(frozen=True)
class Header:
    stamp: Stamp
    frame_id: str


@dataclass(frozen=True, eq=False)
class ImageRecord:
    """sensor_msgs/Image; data: bytes-like view."""

    header: Header
    height: int
    width: int
    encoding: str
    is_bigendian: int
    step: int
    data: memoryview


@dataclass(frozen=True, eq=False)
class CompressedImageRecord:
    """sensor_msgs/CompressedImage."""

    header: Header
    format: str
    data: memoryview


@dataclass(frozen=True, eq=False)
class JointStateRecord:
    """sensor_msgs/JointState; position, velocity, effort float64."""

    header: Header
    name: tuple[str, ...]
    position: np.ndarray
    velocity: np.ndarray
    effort: np.ndarray


@dataclass(frozen=True, eq=False)
class CameraInfoRecord:
    """sensor_msgs/CameraInfo as far as intrinsics go; k (9,), d (n,)."""

    header: Header
    height: int
    width: int
    distortion_model: str
    d: np.ndarray
    k: np.ndarray


class CdrReader:
    """Reads values one after the other, each aligned to its own size. Raises DatasetError past the end."""

    def __init__(self, raw: bytes | memoryview) -> None:
        self._raw = memoryview(raw)
        if len(self._raw) < _HEADER or bytes(self._raw[:2]) not in _PLAIN:
            raise DatasetError(f"message starts with {bytes(self._raw[:4])!r}; plain CDR starts with 00 00 or 00 01")
        self._order = _PLAIN[bytes(self._raw[:2])]
        self._at = _HEADER

    def _take(self, size: int, alignment: int) -> int:
        start = self._at + (-(self._at - _HEADER)) % alignment
        if size < 0 or start + size > len(self._raw):
            raise DatasetError(f"message of {len(self._raw)} bytes ends before its content, at byte {start} + {size}")
        self._at = start + size
        return start

    def number(self, code: str) -> int:
        """One whole number by its struct code: B, H, I, i, Q."""
        size = struct.calcsize(code)
        return struct.unpack_from(self._order + code, self._raw, self._take(size, size))[0]

    def text(self) -> str:
        length = self.number("I")
        start = self._take(length, 1)
        try:
            return bytes(self._raw[start : start + max(length - 1, 0)]).decode("utf-8")
        except UnicodeDecodeError as e:
            raise DatasetError(f"message has text that is not UTF-8 ({e})") from e

    def texts(self) -> tuple[str, ...]:
        count = self.number("I")
        if count * 4 > len(self._raw):
            raise DatasetError(f"message of {len(self._raw)} bytes claims {count} texts")
        return tuple(self.text() for _ in range(count))

    def octets(self) -> memoryview:
        length = self.number("I")
        start = self._take(length, 1)
        return self._raw[start : start + length]

    def doubles(self, count: int | None = None) -> np.ndarray:
        """float64; count None: a sequence, which tells its own length."""
        n = self.number("I") if count is None else count
        if not n:
            return np.zeros(0)
        start = self._take(8 * n, 8)
        return np.frombuffer(self._raw[start : start + 8 * n], np.dtype(f"{self._order}f8")).astype(float)

    def header(self) -> Header:
        sec, nanosec = self.number("i"), self.number("I")
        return Header(Stamp(int(sec), int(nanosec)), self.text())


def read_text(raw: bytes | memoryview) -> str:
    """std_msgs/String."""
    return CdrReader(raw).text()


def text_bytes(text: str) -> bytes:
    """The serialised std_msgs/String."""
    data = text.encode("utf-8") + b"\0"
    return b"\x00\x01\x00\x00" + struct.pack("<I", len(data)) + data


def read_image(raw: bytes | memoryview) -> ImageRecord:
    r = CdrReader(raw)
    header, height, width = r.header(), r.number("I"), r.number("I")
    return ImageRecord(header, height, width, r.text(), r.number("B"), r.number("I"), r.octets())


def read_compressed_image(raw: bytes | memoryview) -> CompressedImageRecord:
    r = CdrReader(raw)
    return CompressedImageRecord(r.header(), r.text(), r.octets())


def compressed_image_bytes(image: ImageRecord, form: str, data: bytes) -> bytes:
    """The serialised CompressedImage with the header of `image`."""
    out = bytearray(b"\x00\x01\x00\x00" + struct.pack("<iI", image.header.stamp.sec, image.header.stamp.nanosec))
    for piece in (image.header.frame_id.encode() + b"\0", form.encode() + b"\0", data):
        out += b"\0" * (-(len(out) - _HEADER) % 4) + struct.pack("<I", len(piece)) + piece
    return bytes(out)


def read_joint_state(raw: bytes | memoryview) -> JointStateRecord:
    r = CdrReader(raw)
    return JointStateRecord(r.header(), r.texts(), r.doubles(), r.doubles(), r.doubles())


def read_camera_info(raw: bytes | memoryview) -> CameraInfoRecord:
    r = CdrReader(raw)
    return CameraInfoRecord(r.header(), r.number("I"), r.number("I"), r.text(), r.doubles(), r.doubles(9))


def header_stamp_ns(raw: bytes | memoryview) -> int:
    """The stamp of any message that begins with a std_msgs/Header; 0 where the bytes are too few."""
    if len(raw) < 12 or bytes(raw[:2]) not in _PLAIN:
        return 0
    sec, nanosec = struct.unpack_from(_PLAIN[bytes(raw[:2])] + "iI", raw, _HEADER)
    return sec * _NS + nanosec

"""Records of the MCAP container (https://mcap.dev/spec): how each is laid out. All numbers are little-endian."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum

from ..errors import DatasetError

MAGIC = b"\x89MCAP0\r\n"
RECORD_HEAD = struct.Struct("<BQ")
MESSAGE_HEAD = struct.Struct("<HIQQ")
CHUNK_HEAD = struct.Struct("<QQQI")


class Op(IntEnum):
    HEADER = 0x01
    FOOTER = 0x02
    SCHEMA = 0x03
    CHANNEL = 0x04
    MESSAGE = 0x05
    CHUNK = 0x06
    MESSAGE_INDEX = 0x07
    CHUNK_INDEX = 0x08
    ATTACHMENT = 0x09
    ATTACHMENT_INDEX = 0x0A
    STATISTICS = 0x0B
    METADATA = 0x0C
    METADATA_INDEX = 0x0D
    SUMMARY_OFFSET = 0x0E
    DATA_END = 0x0F


@dataclass(frozen=True)
class Schema:
    id: int
    name: str
    encoding: str
    data: bytes


@dataclass(frozen=True)
class Channel:
    """One topic of one publisher's type; metadata: rosbag2 keeps `offered_qos_profiles` there."""

    id: int
    schema_id: int
    topic: str
    message_encoding: str
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Attachment:
    name: str
    media_type: str
    data: bytes
    log_time_ns: int = 0


def record(op: Op, content: bytes) -> bytes:
    return RECORD_HEAD.pack(op, len(content)) + content


def text(value: str) -> bytes:
    data = value.encode("utf-8")
    return struct.pack("<I", len(data)) + data


def text_map(values: Mapping[str, str]) -> bytes:
    data = b"".join(text(k) + text(v) for k, v in values.items())
    return struct.pack("<I", len(data)) + data


def pairs(form: str, values: Mapping[int, int] | list[tuple[int, int]]) -> bytes:
    """An array or map of number pairs."""
    items = values.items() if isinstance(values, Mapping) else values
    data = b"".join(struct.pack(form, a, b) for a, b in items)
    return struct.pack("<I", len(data)) + data


def schema_record(s: Schema) -> bytes:
    content = struct.pack("<H", s.id) + text(s.name) + text(s.encoding) + struct.pack("<I", len(s.data)) + s.data
    return record(Op.SCHEMA, content)


def channel_record(c: Channel) -> bytes:
    content = struct.pack("<HH", c.id, c.schema_id) + text(c.topic) + text(c.message_encoding) + text_map(c.metadata)
    return record(Op.CHANNEL, content)


def attachment_record(a: Attachment) -> bytes:
    content = struct.pack("<QQ", a.log_time_ns, a.log_time_ns) + text(a.name) + text(a.media_type)
    content += struct.pack("<Q", len(a.data)) + a.data
    return record(Op.ATTACHMENT, content + struct.pack("<I", zlib.crc32(content)))


class Fields:
    """Reads the fields of one record. Raises DatasetError past its end."""

    def __init__(self, content: bytes | memoryview) -> None:
        self._content, self._at = memoryview(content), 0

    def numbers(self, form: str) -> tuple[int, ...]:
        size = struct.calcsize(form)
        return struct.unpack(form, self.octets(size))

    def octets(self, size: int) -> memoryview:
        if size < 0 or self._at + size > len(self._content):
            raise DatasetError(f"MCAP record of {len(self._content)} bytes ends inside a field")
        self._at += size
        return self._content[self._at - size : self._at]

    def text(self) -> str:
        (size,) = self.numbers("<I")
        try:
            return bytes(self.octets(size)).decode("utf-8")
        except UnicodeDecodeError as e:
            raise DatasetError(f"MCAP record has text that is not UTF-8 ({e})") from e

    def text_map(self) -> dict[str, str]:
        (size,) = self.numbers("<I")
        inner, out = Fields(self.octets(size)), {}
        while inner._at < size:
            key = inner.text()
            out[key] = inner.text()
        return out

    def rest(self) -> memoryview:
        return self.octets(len(self._content) - self._at)


def read_schema(content: memoryview) -> Schema:
    f = Fields(content)
    (number,) = f.numbers("<H")
    name, encoding = f.text(), f.text()
    return Schema(number, name, encoding, bytes(f.octets(f.numbers("<I")[0])))


def read_channel(content: memoryview) -> Channel:
    f = Fields(content)
    number, schema = f.numbers("<HH")
    return Channel(number, schema, f.text(), f.text(), f.text_map())


def read_attachment(content: memoryview) -> Attachment:
    f = Fields(content)
    log_time, _ = f.numbers("<QQ")
    name, media_type = f.text(), f.text()
    return Attachment(name, media_type, bytes(f.octets(f.numbers("<Q")[0])), log_time)

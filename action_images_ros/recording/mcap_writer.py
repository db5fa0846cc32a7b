"""Writing an MCAP file so that a power cut costs little.

Messages go into chunks of at most `ChunkRules.span_ns`; a chunk reaches the operating system in one write, so a killed
process leaves at most one incomplete chunk at the end, whose complete messages `repair` recovers.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import ConfigError, one_of, pip_install
from .mcap_records import (
    CHUNK_HEAD,
    MAGIC,
    MESSAGE_HEAD,
    RECORD_HEAD,
    Attachment,
    Channel,
    Op,
    Schema,
    attachment_record,
    channel_record,
    pairs,
    record,
    schema_record,
    text,
)

LIBRARY = "action_images_ros"
PROFILE = "ros2"
COMPRESSIONS = ("none", "lz4", "zstd")


@dataclass(frozen=True)
class ChunkRules:
    """A chunk is closed once it holds `size` bytes or spans `span_ns` of log time."""

    size: int = 4 * 2**20
    span_ns: int = 250_000_000
    compression: str = "none"

    def __post_init__(self) -> None:
        one_of("compression", self.compression, COMPRESSIONS)


@dataclass
class ChunkEntry:
    """What the summary says of one chunk."""

    start_ns: int
    end_ns: int
    offset: int
    length: int
    index_offsets: dict[int, int]
    index_length: int
    compression: str
    compressed_size: int
    size: int


@dataclass
class Summary:
    """Everything that goes behind the data, kept while it is written or found again by a repair."""

    schemas: dict[int, Schema] = field(default_factory=dict)
    channels: dict[int, Channel] = field(default_factory=dict)
    chunks: list[ChunkEntry] = field(default_factory=list)
    attachments: list[tuple[int, int, Attachment]] = field(default_factory=list)
    metadata: list[tuple[int, int, str]] = field(default_factory=list)
    counts: dict[int, int] = field(default_factory=dict)
    start_ns: int = 0
    end_ns: int = 0

    def count(self, channel: int, log_time_ns: int) -> None:
        first = not self.counts
        self.counts[channel] = self.counts.get(channel, 0) + 1
        self.start_ns = log_time_ns if first else min(self.start_ns, log_time_ns)
        self.end_ns = max(self.end_ns, log_time_ns)


class McapWriter:
    """Appends to a new file at `path`. One thread. OSError from the file system comes out as it is.

    After an OSError the file ends with its last complete record; `finish` can still be called.
    """

    def __init__(self, path: Path, rules: ChunkRules = ChunkRules()) -> None:
        self._compress = _compressor(rules.compression)
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        self.path, self.rules, self.summary = Path(path), rules, Summary()
        self.size = 0
        self._begin_chunk()
        self._append(MAGIC + record(Op.HEADER, text(PROFILE) + text(LIBRARY)))

    @property
    def fileno(self) -> int:
        return self._fd

    def add_channel(self, topic: str, type_name: str, definition: str, metadata: Mapping[str, str]) -> int:
        """Number of a new channel of ROS 2 messages; type_name like sensor_msgs/msg/Image."""
        found = [s.id for s in self.summary.schemas.values() if s.name == type_name]
        schema = Schema(found[0] if found else 1 + len(self.summary.schemas), type_name, "ros2msg", definition.encode())
        channel = Channel(1 + len(self.summary.channels), schema.id, topic, "cdr", dict(metadata))
        self._append((b"" if found else schema_record(schema)) + channel_record(channel))
        self.summary.schemas[schema.id], self.summary.channels[channel.id] = schema, channel
        return channel.id

    def attach(self, attachment: Attachment) -> None:
        data, at = attachment_record(attachment), self.size
        self._append(data)
        self.summary.attachments.append((at, len(data), attachment))

    def write(self, channel: int, sequence: int, log_time_ns: int, publish_time_ns: int, data: bytes) -> None:
        """Closes the chunk first where this message does not belong into it any more."""
        if self._parts and (
            self._chunk_size + len(data) > self.rules.size or log_time_ns - self._first_ns >= self.rules.span_ns
        ):
            self.flush()
        if not self._parts:
            self._first_ns: int = log_time_ns
        head = MESSAGE_HEAD.pack(channel, sequence & 0xFFFFFFFF, log_time_ns, publish_time_ns)
        self._index.setdefault(channel, []).append((log_time_ns, self._chunk_size))
        self._parts += (RECORD_HEAD.pack(Op.MESSAGE, len(head) + len(data)), head, data)
        self._chunk_size += RECORD_HEAD.size + len(head) + len(data)

    def flush(self) -> None:
        """Close the present chunk and hand it to the operating system."""
        if not self._parts:
            return
        parts, index = self._parts, self._index
        self._begin_chunk()
        self.write_chunk(b"".join(parts), index)

    def write_chunk(self, records: bytes, index: dict[int, list[tuple[int, int]]]) -> None:
        """One chunk of message records; index: channel -> (log time, offset in `records`) of every message."""
        times = [t for entries in index.values() for t, _ in entries]
        stored = self._compress(records)
        name = "" if self.rules.compression == "none" else self.rules.compression
        head = CHUNK_HEAD.pack(min(times), max(times), len(records), zlib.crc32(records))
        head += text(name) + struct.pack("<Q", len(stored))
        length = RECORD_HEAD.size + len(head) + len(stored)
        indices, offsets, at = [], {}, self.size + length
        for channel, entries in index.items():
            offsets[channel] = at
            indices.append(record(Op.MESSAGE_INDEX, struct.pack("<H", channel) + pairs("<QQ", entries)))
            at += len(indices[-1])
        entry = ChunkEntry(min(times), max(times), self.size, length, offsets, at - self.size - length, name,
                           len(stored), len(records))
        self._append(RECORD_HEAD.pack(Op.CHUNK, len(head) + len(stored)) + head, stored, *indices)
        self.summary.chunks.append(entry)
        for channel, entries in index.items():
            for log_time_ns, _ in entries:
                self.summary.count(channel, log_time_ns)

    def drop_unwritten(self) -> None:
        """Forget the present chunk: after a full disk, before `finish`."""
        self._begin_chunk()

    def finish(self) -> None:
        """Write what is left and the summary, make it durable, close the file."""
        try:
            self.flush()
            self._append(record(Op.DATA_END, struct.pack("<I", 0)), summary_bytes(self.summary, self.size + 13))
            os.fsync(self._fd)
        finally:
            self.close()

    def close(self) -> None:
        """Close the file as it is."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _begin_chunk(self) -> None:
        self._parts: list[bytes] = []
        self._index: dict[int, list[tuple[int, int]]] = {}
        self._chunk_size: int = 0
        self._first_ns = 0

    def _append(self, *pieces: bytes) -> None:
        try:
            for piece in pieces:
                view = memoryview(piece)
                while len(view):
                    view = view[os.write(self._fd, view) :]
        except OSError:
            os.ftruncate(self._fd, self.size)
            os.lseek(self._fd, self.size, os.SEEK_SET)
            raise
        self.size += sum(map(len, pieces))


def summary_bytes(s: Summary, start: int) -> bytes:
    """The summary section of a file in which it starts at `start`, footer and closing magic."""
    groups = [
        (Op.SCHEMA, [schema_record(x) for x in s.schemas.values()]),
        (Op.CHANNEL, [channel_record(x) for x in s.channels.values()]),
        (Op.STATISTICS, [_statistics(s)]),
        (Op.CHUNK_INDEX, [_chunk_index(c) for c in s.chunks]),
        (Op.ATTACHMENT_INDEX, [_attachment_index(*a) for a in s.attachments]),
        (Op.METADATA_INDEX, [record(Op.METADATA_INDEX, struct.pack("<QQ", m[0], m[1]) + text(m[2]))
                             for m in s.metadata]),
    ]  # fmt: skip
    body, offsets = b"", b""
    for op, records in groups:
        if records:
            data = b"".join(records)
            offsets += record(Op.SUMMARY_OFFSET, struct.pack("<BQQ", op, start + len(body), len(data)))
            body += data
    head = RECORD_HEAD.pack(Op.FOOTER, 20) + struct.pack("<QQ", start, start + len(body))
    covered = body + offsets + head
    return covered + struct.pack("<I", zlib.crc32(covered)) + MAGIC


def _statistics(s: Summary) -> bytes:
    head = struct.pack("<QHIIII", sum(s.counts.values()), len(s.schemas), len(s.channels), len(s.attachments),
                       len(s.metadata), len(s.chunks))  # fmt: skip
    return record(Op.STATISTICS, head + struct.pack("<QQ", s.start_ns, s.end_ns) + pairs("<HQ", s.counts))


def _chunk_index(c: ChunkEntry) -> bytes:
    content = struct.pack("<QQQQ", c.start_ns, c.end_ns, c.offset, c.length) + pairs("<HQ", c.index_offsets)
    content += struct.pack("<Q", c.index_length) + text(c.compression)
    return record(Op.CHUNK_INDEX, content + struct.pack("<QQ", c.compressed_size, c.size))


def _attachment_index(at: int, length: int, a: Attachment) -> bytes:
    head = struct.pack("<QQQQQ", at, length, a.log_time_ns, a.log_time_ns, len(a.data))
    return record(Op.ATTACHMENT_INDEX, head + text(a.name) + text(a.media_type))


def _compressor(name: str) -> Callable[[bytes], bytes]:
    try:
        if name == "lz4":
            import lz4.frame

            return lz4.frame.compress
        if name == "zstd":
            import zstandard

            return zstandard.ZstdCompressor(level=1).compress
    except ImportError as e:
        raise ConfigError(f"compression {name} needs {e.name}: {pip_install('recording')}") from e
    return lambda data: data

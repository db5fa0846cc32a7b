"""Reading an MCAP file from its beginning, as far as it is whole: what a power cut cut off is told, not guessed.

The file is mapped into memory; messages of uncompressed chunks are views of it.
"""

from __future__ import annotations

import mmap
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from ..errors import ConfigError, DatasetError, pip_install
from .mcap_records import (
    CHUNK_HEAD,
    MAGIC,
    MESSAGE_HEAD,
    RECORD_HEAD,
    Attachment,
    Channel,
    Fields,
    Op,
    Schema,
    read_attachment,
    read_channel,
    read_schema,
)

_LARGEST_CHUNK = 2**31
_CACHED_CHUNKS = 4


class Verify(Enum):
    """Whether the checksums of uncompressed chunks are looked at while scanning."""

    NO = "no"
    CHECKSUMS = "checksums"


@dataclass(frozen=True)
class Entry:
    """Where a message is: chunk -1: in the file itself, else in that chunk's records."""

    log_time_ns: int
    publish_time_ns: int
    channel: int
    sequence: int
    chunk: int
    offset: int
    size: int


@dataclass(frozen=True)
class ChunkPlace:
    """A chunk's record at `offset` of the file; its stored records at `at`, `stored` bytes."""

    offset: int
    length: int
    at: int
    stored: int
    size: int
    crc: int
    compression: str


@dataclass
class Scan:
    """What a file holds. whole: it ends as it should. end: bytes of whole records; broken: chunks with a wrong
    checksum; tail: entries (chunk -1) of complete messages inside a last chunk that is not."""

    path: Path
    schemas: dict[int, Schema] = field(default_factory=dict)
    channels: dict[int, Channel] = field(default_factory=dict)
    attachments: list[tuple[int, int, Attachment]] = field(default_factory=list)
    metadata: list[tuple[int, int, str, dict[str, str]]] = field(default_factory=list)
    chunks: list[ChunkPlace] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    broken: list[int] = field(default_factory=list)
    tail: list[Entry] = field(default_factory=list)
    whole: bool = False
    end: int = 0


class McapFile:
    """An open file and its `scan`; use it as a context manager. Raises DatasetError where it is no MCAP file."""

    def __init__(self, path: Path, verify: Verify = Verify.NO) -> None:
        self.path = Path(path)
        try:
            with open(self.path, "rb") as f:
                if f.read(len(MAGIC)) != MAGIC:
                    raise DatasetError(f"{path} is no MCAP file: it does not begin with the MCAP mark")
                self._map = mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ)
        except OSError as e:
            raise DatasetError(f"{path} cannot be read: {e.strerror}") from e
        self._view = memoryview(self._map)
        self._cache: OrderedDict[int, memoryview] = OrderedDict()
        try:
            self.scan = self._walk(verify)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> McapFile:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Views of messages that are still held keep the mapping; it goes with the last of them."""
        self._cache.clear()
        try:
            self._view.release()
            self._map.close()
        except BufferError:
            pass

    def data(self, entry: Entry) -> memoryview:
        """The serialised message."""
        records = self._view if entry.chunk < 0 else self.records(entry.chunk)
        return records[entry.offset : entry.offset + entry.size]

    @property
    def view(self) -> memoryview:
        """The whole file."""
        return self._view

    def records(self, chunk: int) -> memoryview:
        """A chunk's uncompressed records. Raises DatasetError where they do not uncompress."""
        place = self.scan.chunks[chunk]
        stored = self._view[place.at : place.at + place.stored]
        if not place.compression:
            return stored
        if chunk not in self._cache:
            self._cache[chunk] = memoryview(_uncompress(place, stored, self.path))
            while len(self._cache) > _CACHED_CHUNKS:
                self._cache.popitem(last=False)
        return self._cache[chunk]

    def _walk(self, verify: Verify) -> Scan:
        self.scan = scan = Scan(self.path, end=len(MAGIC))
        at, total, in_summary = len(MAGIC), len(self._view), False
        while at + RECORD_HEAD.size <= total:
            op, length = RECORD_HEAD.unpack_from(self._view, at)
            start, stop = at + RECORD_HEAD.size, at + RECORD_HEAD.size + length
            if op == Op.FOOTER:
                scan.whole = self._view[stop : stop + len(MAGIC)] == MAGIC
                break
            if op not in Op._value2member_map_ and op < 0x80 or stop > total:
                if op == Op.CHUNK and length < _LARGEST_CHUNK:
                    self._walk_torn_chunk(start)
                break
            try:
                self._take(op, at, start, stop, verify)
            except DatasetError:
                break
            in_summary |= op == Op.DATA_END
            if not in_summary:
                scan.end = stop
            at = stop
        return scan

    def _take(self, op: int, at: int, start: int, stop: int, verify: Verify) -> None:
        scan, content = self.scan, self._view[start:stop]
        if op in (Op.SCHEMA, Op.CHANNEL):
            self._note(op, content)
        elif op == Op.ATTACHMENT:
            scan.attachments.append((at, stop - at, read_attachment(content)))
        elif op == Op.METADATA:
            f = Fields(content)
            scan.metadata.append((at, stop - at, f.text(), f.text_map()))
        elif op == Op.MESSAGE:
            scan.entries.append(_entry(content, -1, start))
        elif op == Op.CHUNK:
            self._take_chunk(at, start, stop, verify)

    def _take_chunk(self, at: int, start: int, stop: int, verify: Verify) -> None:
        place = _place(self._view[start:stop], at, start, stop - at)
        if place.at + place.stored > stop:
            raise DatasetError(f"{self.path}: chunk at byte {at} is longer than its record")
        self.scan.chunks.append(place)
        number = len(self.scan.chunks) - 1
        try:
            records = self.records(number)
            if verify is Verify.CHECKSUMS and place.crc and zlib.crc32(records) != place.crc:
                raise DatasetError(f"{self.path}: checksum of the chunk at byte {at} is wrong")
            found = list(self._messages(records, number, 0))
        except DatasetError:
            self.scan.broken.append(number)
            return
        self.scan.entries += found

    def _messages(self, records: memoryview, chunk: int, base: int) -> Iterator[Entry]:
        """Of the records of a chunk; schemas and channels among them are noted."""
        at = 0
        while at + RECORD_HEAD.size <= len(records):
            op, length = RECORD_HEAD.unpack_from(records, at)
            start, stop = at + RECORD_HEAD.size, at + RECORD_HEAD.size + length
            if stop > len(records):
                raise DatasetError(f"{self.path}: a record in a chunk is longer than the chunk")
            if op == Op.MESSAGE:
                yield _entry(records[start:stop], chunk, base + start)
            elif op in (Op.SCHEMA, Op.CHANNEL):
                self._note(op, records[start:stop])
            else:
                raise DatasetError(f"{self.path}: record of kind {op} in a chunk")
            at = stop

    def _note(self, op: int, content: memoryview) -> None:
        if op == Op.SCHEMA:
            schema = read_schema(content)
            self.scan.schemas[schema.id] = schema
        else:
            channel = read_channel(content)
            self.scan.channels[channel.id] = channel

    def _walk_torn_chunk(self, start: int) -> None:
        """The complete messages of a last chunk that was being written."""
        try:
            place = _place(self._view[start:], 0, start, 0)
            if place.compression:
                return
            for entry in self._messages(self._view[place.at :], -1, place.at):
                self.scan.tail.append(entry)
        except DatasetError:
            return


def _place(content: memoryview, offset: int, start: int, length: int) -> ChunkPlace:
    f = Fields(content)
    _, _, size, crc = f.numbers("<QQQI")
    compression = f.text()
    (stored,) = f.numbers("<Q")
    at = start + CHUNK_HEAD.size + 4 + len(compression.encode()) + 8
    if max(size, stored) > _LARGEST_CHUNK:
        raise DatasetError(f"a chunk claims {max(size, stored)} bytes")
    return ChunkPlace(offset, length, at, stored, size, crc, compression)


def _entry(content: memoryview, chunk: int, start: int) -> Entry:
    if len(content) < MESSAGE_HEAD.size:
        raise DatasetError(f"message record of {len(content)} bytes")
    channel, sequence, log_time_ns, publish_time_ns = MESSAGE_HEAD.unpack_from(content)
    head = MESSAGE_HEAD.size
    return Entry(log_time_ns, publish_time_ns, channel, sequence, chunk, start + head, len(content) - head)


def _uncompress(place: ChunkPlace, stored: memoryview, path: Path) -> bytes:
    decoder = _decoder(place.compression, path)
    try:
        data = decoder(bytes(stored), place.size)
    except Exception as e:  # noqa: BLE001 - each library raises its own kind
        raise DatasetError(f"{path}: chunk at byte {place.offset} does not uncompress ({e})") from e
    if len(data) != place.size:
        raise DatasetError(f"{path}: chunk at byte {place.offset} has {len(data)} bytes instead of {place.size}")
    return data


def _decoder(name: str, path: Path) -> Callable[[bytes, int], bytes]:
    try:
        if name == "lz4":
            import lz4.frame

            return lambda data, size: lz4.frame.decompress(data)
        if name == "zstd":
            import zstandard

            return lambda data, size: zstandard.ZstdDecompressor().decompress(data, max_output_size=size)
    except ImportError as e:
        raise ConfigError(
            f"{path} is compressed by {name}, which needs {e.name}: {pip_install('recording')}"
        ) from e
    raise DatasetError(f"{path} is compressed by {name!r}; legal: none, lz4, zstd")

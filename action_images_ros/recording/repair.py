"""Making a recording readable that was cut off: killed recorder, power cut, full disk."""

from __future__ import annotations

import os
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

from ..errors import ActionImagesError, DatasetError
from ..yaml_tree import load_yaml
from .bag_metadata import FILE_NAME, Qos, TopicCount, metadata_text, write_whole
from .mcap_records import CHUNK_HEAD, MESSAGE_HEAD, RECORD_HEAD, Op, pairs, record, text
from .mcap_scan import ChunkPlace, Entry, McapFile, Scan, Verify
from .mcap_writer import ChunkEntry, Summary, summary_bytes

_SAVED = ".torn"


@dataclass(frozen=True)
class Repair:
    """messages: in the bag now; recovered: of these, out of an incomplete last chunk; lost_bytes: behind the last whole
    message; broken_chunks: left out of the index for a wrong checksum; changed: whether there was anything to do."""

    messages: int
    recovered: int
    lost_bytes: int
    broken_chunks: int
    changed: bool


def repair(bag: Path) -> Repair:
    """Repair an MCAP bag (directory or file) in place; a whole one is left alone.

    Everything up to the last whole message is kept. Raises DatasetError where there is nothing to repair.
    """
    bag = Path(bag)
    file = _mcap_of(bag)
    saved = file.with_name(file.name + _SAVED)
    if saved.exists():
        _put_back(file, saved)
    with McapFile(file, Verify.CHECKSUMS) as mcap:
        scan = mcap.scan
        if scan.whole and not scan.broken:
            missing = bag.is_dir() and not _counts_agree(bag / FILE_NAME, len(scan.entries))
            if missing:
                _write_metadata(bag, file, scan)
            return Repair(len(scan.entries), 0, 0, 0, missing)
        tail = [(e, bytes(mcap.data(e))) for e in scan.tail]
        summary, whole_size = _summary(mcap), file.stat().st_size
    ends = [e.offset + e.size for e in scan.tail]
    lost = 0 if scan.whole else whole_size - max([scan.end, *ends])
    _rewrite_end(file, saved, scan.end, summary, tail)
    with McapFile(file, Verify.CHECKSUMS) as mcap:
        _write_metadata(bag, file, mcap.scan)
        return Repair(len(mcap.scan.entries), len(tail), max(lost, 0), len(scan.broken), True)


def _mcap_of(bag: Path) -> Path:
    if bag.is_file():
        return bag
    found = sorted(bag.glob("*.mcap")) if bag.is_dir() else []
    if len(found) != 1:
        raise DatasetError(f"{bag} has {len(found)} .mcap files; give a bag directory with one, or the file itself")
    return found[0]


def _rewrite_end(file: Path, saved: Path, end: int, summary: Summary, tail: list[tuple[Entry, bytes]]) -> None:
    """Replace everything behind byte `end`. What was there is kept aside until the new end is durable."""
    with open(file, "r+b") as f:
        f.seek(end)
        with open(saved, "wb") as aside:
            aside.write(struct.pack("<Q", end) + f.read())
            aside.flush()
            os.fsync(aside.fileno())
        f.truncate(end)
        f.seek(end)
        if tail:
            f.write(_chunk(summary, tail, end))
        f.write(record(Op.DATA_END, struct.pack("<I", 0)))
        f.write(summary_bytes(summary, f.tell()))
        f.flush()
        os.fsync(f.fileno())
    saved.unlink()


def _put_back(file: Path, saved: Path) -> None:
    """A repair was itself cut off: begin again from what it found."""
    data = saved.read_bytes()
    if len(data) >= 8:
        (end,) = struct.unpack_from("<Q", data)
        with open(file, "r+b") as f:
            f.seek(end)
            f.write(data[8:])
            f.truncate()
    saved.unlink()


def _chunk(summary: Summary, tail: list[tuple[Entry, bytes]], at: int) -> bytes:
    """The recovered messages as a chunk of their own, noted in the summary."""
    parts: list[bytes] = []
    index: dict[int, list[tuple[int, int]]] = {}
    size = 0
    for e, data in tail:
        index.setdefault(e.channel, []).append((e.log_time_ns, size))
        head = MESSAGE_HEAD.pack(e.channel, e.sequence, e.log_time_ns, e.publish_time_ns)
        parts.append(record(Op.MESSAGE, head + data))
        size += len(parts[-1])
        summary.count(e.channel, e.log_time_ns)
    records, times = b"".join(parts), [e.log_time_ns for e, _ in tail]
    head = CHUNK_HEAD.pack(min(times), max(times), size, zlib.crc32(records)) + text("") + struct.pack("<Q", size)
    chunk = record(Op.CHUNK, head + records)
    offsets, indices = {}, b""
    for channel, entries in index.items():
        offsets[channel] = at + len(chunk) + len(indices)
        indices += record(Op.MESSAGE_INDEX, struct.pack("<H", channel) + pairs("<QQ", entries))
    summary.chunks.append(
        ChunkEntry(min(times), max(times), at, len(chunk), offsets, len(indices), "", size, size)
    )
    return chunk + indices


def _summary(mcap: McapFile) -> Summary:
    """Of everything whole."""
    scan = mcap.scan
    summary = Summary(scan.schemas, scan.channels, attachments=scan.attachments,
                      metadata=[m[:3] for m in scan.metadata])  # fmt: skip
    by_chunk: dict[int, list[Entry]] = {}
    for e in scan.entries:
        summary.count(e.channel, e.log_time_ns)
        by_chunk.setdefault(e.chunk, []).append(e)
    for number, place in enumerate(scan.chunks):
        if number in by_chunk:
            summary.chunks.append(_entry(mcap, place, by_chunk[number], _next_offset(scan, number)))
    return summary


def _next_offset(scan: Scan, number: int) -> int:
    return scan.chunks[number + 1].offset if number + 1 < len(scan.chunks) else scan.end


def _entry(mcap: McapFile, place: ChunkPlace, entries: list[Entry], limit: int) -> ChunkEntry:
    """With the offsets of the message index records that follow the chunk."""
    offsets, at, view = {}, place.offset + place.length, mcap.view
    index_at = at
    while at + RECORD_HEAD.size + 2 <= limit:
        op, length = RECORD_HEAD.unpack_from(view, at)
        if op != Op.MESSAGE_INDEX:
            break
        offsets[struct.unpack_from("<H", view, at + RECORD_HEAD.size)[0]] = at
        at += RECORD_HEAD.size + length
    times = [e.log_time_ns for e in entries]
    return ChunkEntry(min(times), max(times), place.offset, place.length, offsets, at - index_at, place.compression,
                      place.stored, place.size)  # fmt: skip


def _counts_agree(path: Path, messages: int) -> bool:
    """Whether there is a metadata.yaml, whoever wrote it, that knows of all messages."""
    try:
        info = load_yaml(path).entries()["rosbag2_bagfile_information"].entries()
        return info["message_count"].value == messages
    except (ActionImagesError, KeyError):
        return False


def _write_metadata(bag: Path, file: Path, scan: Scan) -> None:
    if not bag.is_dir():
        return
    counts: dict[int, int] = {}
    for e in scan.entries:
        counts[e.channel] = counts.get(e.channel, 0) + 1
    topics = [
        TopicCount(c.topic, scan.schemas[c.schema_id].name if c.schema_id in scan.schemas else "",
                   c.metadata.get("offered_qos_profiles", Qos().text()), counts.get(c.id, 0))
        for c in scan.channels.values()
    ]  # fmt: skip
    times = [e.log_time_ns for e in scan.entries]
    content = metadata_text(file.name, topics, min(times, default=0), max(times, default=0))
    (bag / ".reserve").unlink(missing_ok=True)
    write_whole(bag / FILE_NAME, content)

"""A rosbag2 directory: one MCAP file, metadata.yaml, and what explains the recording as attachments."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import DatasetError
from .bag_metadata import FILE_NAME, Qos, TopicCount, metadata_text, write_whole
from .mcap_records import Attachment
from .mcap_writer import ChunkRules, McapWriter

_RESERVE = 2 * 2**20
_RESERVE_NAME = ".reserve"


@dataclass(frozen=True)
class TopicSpec:
    """type_name like sensor_msgs/msg/Image; definition: the .msg text with its dependencies, "" where unknown."""

    name: str
    type_name: str
    definition: str = ""
    qos: Qos = Qos()


@dataclass(frozen=True)
class Written:
    """What `finish` leaves."""

    directory: Path
    messages: int
    size: int
    start_ns: int
    end_ns: int

    @property
    def duration_s(self) -> float:
        return 1e-9 * (self.end_ns - self.start_ns)


class BagWriter:
    """Writes a new bag at `directory`, which must not exist. One thread.

    metadata.yaml is there from the beginning: whatever ends the process leaves a directory that can be repaired.
    Raises DatasetError where the directory exists; OSError of the file system comes out as it is.
    """

    def __init__(
        self, directory: Path, attachments: Sequence[Attachment] = (), rules: ChunkRules = ChunkRules()
    ) -> None:
        self.directory = Path(directory)
        try:
            self.directory.mkdir(parents=True)
        except FileExistsError:
            raise DatasetError(f"{directory} exists already; choose another name for the recording") from None
        self._file = f"{self.directory.name}_0.mcap"
        self._topics: dict[str, tuple[int, TopicSpec]] = {}
        self._reserve()
        self._writer = McapWriter(self.directory / self._file, rules)
        for attachment in attachments:
            self._writer.attach(attachment)
        self._write_metadata()

    @property
    def size(self) -> int:
        """Bytes in the file."""
        return self._writer.size

    @property
    def messages(self) -> int:
        """In the file; those of the present chunk come with it."""
        return sum(self._writer.summary.counts.values())

    @property
    def fileno(self) -> int:
        return self._writer.fileno

    def add_topic(self, topic: TopicSpec) -> None:
        """Before its first message. A second time is harmless."""
        if topic.name not in self._topics:
            number = self._writer.add_channel(
                topic.name, topic.type_name, topic.definition, {"offered_qos_profiles": topic.qos.text()}
            )
            self._topics[topic.name] = number, topic

    def write(self, topic: str, sequence: int, log_time_ns: int, publish_time_ns: int, data: bytes) -> None:
        self._writer.write(self._topics[topic][0], sequence, log_time_ns, publish_time_ns, data)

    def flush(self) -> None:
        """Everything written so far survives a killed process."""
        self._writer.flush()

    def drop_unwritten(self) -> None:
        self._writer.drop_unwritten()

    def finish(self) -> Written:
        """Complete the bag; it needs no repair. Raises OSError where even the reserved space is gone."""
        (self.directory / _RESERVE_NAME).unlink(missing_ok=True)
        self._writer.finish()
        self._write_metadata()
        _sync_directory(self.directory)
        summary = self._writer.summary
        return Written(self.directory, self.messages, self.size, summary.start_ns, summary.end_ns)

    def discard(self) -> None:
        """Remove the recording."""
        self._writer.close()
        shutil.rmtree(self.directory)

    def _reserve(self) -> None:
        """Space for the summary of a recording that fills the disk."""
        fd = os.open(self.directory / _RESERVE_NAME, os.O_WRONLY | os.O_CREAT, 0o644)
        try:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(fd, 0, _RESERVE)
        except OSError:
            os.close(fd)
            shutil.rmtree(self.directory)
            raise
        os.close(fd)

    def _write_metadata(self) -> None:
        counts, summary = self._writer.summary.counts, self._writer.summary
        topics = [TopicCount(t.name, t.type_name, t.qos.text(), counts.get(n, 0)) for n, t in self._topics.values()]
        text = metadata_text(self._file, topics, summary.start_ns, summary.end_ns)
        write_whole(self.directory / FILE_NAME, text)


def _sync_directory(directory: Path) -> None:
    fd = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)

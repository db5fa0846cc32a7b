"""The recorder without ROS: takes serialised messages, keeps the last seconds, writes bags, watches every stream.

One thread calls it (the node's executor); the disk has a thread of its own.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from ..errors import DatasetError
from .audit import AuditRules, TopicAudit, TopicReport
from .bag_writer import BagWriter, TopicSpec, Written
from .cdr import header_stamp_ns, text_bytes
from .jpeg import TYPE, JpegRules, JpegTransform
from .mcap_records import Attachment
from .mcap_writer import ChunkRules
from .pre_roll import PreRoll
from .sample import Sample
from .stream_video import StreamRules, StreamTransform
from .writer_thread import Transform, WriterThread

IMAGE_TYPE = "sensor_msgs/msg/Image"
STRING_TYPE = "std_msgs/msg/String"
STRING_DEFINITION = "string data\n"
MARKS_TOPIC = "/recorder/marks"
PROVENANCE_TOPIC = "/recorder/provenance"
_FINISH_S = 30.0
_MB = 2**20


class Mark(str, Enum):
    """What an operator can say of a moment. NOTE carries free text."""

    SUCCESS = "success"
    FAILURE = "failure"
    NOTE = "note"


@dataclass(frozen=True)
class RecorderConfig:
    """images None: as they come. min_free_mb: a recording stops before the disk has less."""

    pre_roll_s: float = 2.0
    pre_roll_mb: int = 512
    queue_mb: int = 512
    min_free_mb: int = 500
    chunks: ChunkRules = ChunkRules()
    images: JpegRules | StreamRules | None = None
    audit: AuditRules = AuditRules()


@dataclass
class Stream:
    """A topic that is recorded. stamped: its messages begin with a header; latched: the newest one stays valid;
    required: to be complained of when silent."""

    spec: TopicSpec
    stamped: bool
    latched: bool
    required: bool
    audit: TopicAudit = field(repr=False)


@dataclass(frozen=True)
class Finished:
    """A recording that ended. why "" unless it ended by itself; lost: messages that did not get into it."""

    written: Written
    lost: int
    why: str = ""


class Recorder:
    """compressed_definition: the .msg text of CompressedImage, for on-the-fly compression."""

    def __init__(self, config: RecorderConfig, compressed_definition: str = "") -> None:
        self.config, self._compressed_definition = config, compressed_definition
        self.streams: dict[str, Stream] = {}
        self._pre_roll = PreRoll(round(1e9 * config.pre_roll_s), config.pre_roll_mb * _MB)
        self._writer: WriterThread | None = None
        self._directory: Path | None = None
        self._counts: dict[str, int] = {}
        self._marks = self._accepted = 0
        self.began_ns = 0

    @property
    def recording(self) -> bool:
        return self._writer is not None

    @property
    def directory(self) -> Path | None:
        return self._directory

    @property
    def size(self) -> int:
        """Bytes on the disk of the present recording."""
        return self._writer.size if self._writer else 0

    @property
    def waiting_bytes(self) -> int:
        return self._writer.waiting_bytes if self._writer else 0

    def add_stream(self, spec: TopicSpec, *, stamped: bool, latched: bool, required: bool) -> None:
        if spec.name in self.streams:
            return
        audit = TopicAudit(spec.name, stamped, self.config.audit)
        self.streams[spec.name] = Stream(spec, stamped, latched, required, audit)
        if self._writer is not None:
            self._writer.do(lambda bag: bag.add_topic(spec))

    def on_message(self, topic: str, data: bytes, receive_ns: int, publish_ns: int, publisher: object = None,
                   sequence: int | None = None) -> None:  # fmt: skip
        """publish_ns 0 where it is not known."""
        stream = self.streams[topic]
        stamp_ns = header_stamp_ns(data) if stream.stamped else 0
        stream.audit.add(receive_ns, stamp_ns, len(data), publisher, sequence)
        number = self._counts[topic] = self._counts.get(topic, 0) + 1
        number = number if sequence is None else sequence
        sample = Sample(topic, number, receive_ns, publish_ns or receive_ns, data)
        if self._writer is None:
            self._pre_roll.add(sample, stream.latched)
            return
        if stream.latched:
            self._pre_roll.add(sample, True)
        self._put(sample)

    def _put(self, sample: Sample) -> None:
        """What does not fit any more is counted."""
        assert self._writer is not None, "only while recording"
        if self._writer.put(sample):
            self._accepted += 1
        elif sample.topic in self.streams:
            self.streams[sample.topic].audit.overflow += 1

    def start(self, directory: Path, now_ns: int, attachments: Sequence[Attachment] = (),
              provenance: Mapping[str, object] | None = None) -> None:  # fmt: skip
        """Begin a bag at `directory` with the pre-roll. Raises DatasetError where one is running, the directory exists
        or the disk is too full."""
        if self._writer is not None:
            raise DatasetError(f"already recording into {self._directory}; stop or discard that first")
        self._require_space(directory)
        bag = BagWriter(directory, attachments, self.config.chunks)
        for stream in self.streams.values():
            if self.config.images is None or stream.spec.type_name != IMAGE_TYPE:
                bag.add_topic(stream.spec)
        for topic in (MARKS_TOPIC, PROVENANCE_TOPIC):
            bag.add_topic(TopicSpec(topic, STRING_TYPE, STRING_DEFINITION))
        for stream in self.streams.values():
            stream.audit.restart()
        self._directory, self.began_ns, self._marks, self._accepted = Path(directory), now_ns, 0, 0
        self._writer = WriterThread(bag, self.config.queue_mb * _MB + self._pre_roll.bytes, self._transform())
        pre_roll = list(self._pre_roll.take(now_ns))
        begin_ns = pre_roll[0].log_time_ns if pre_roll else now_ns
        text = json.dumps(provenance or {}, sort_keys=True)
        self._put(Sample(PROVENANCE_TOPIC, 1, begin_ns, begin_ns, text_bytes(text)))
        for sample in pre_roll:
            self._put(sample)

    def _transform(self) -> Transform | None:
        rules = self.config.images
        if rules is None:
            return None
        images = [s.spec for s in self.streams.values() if s.spec.type_name == IMAGE_TYPE]
        made = {s.name: (s, TopicSpec(s.name + rules.suffix, TYPE, self._compressed_definition, s.qos))
                for s in images}  # fmt: skip
        return JpegTransform(made, rules) if isinstance(rules, JpegRules) else StreamTransform(made, rules)

    def _require_space(self, directory: Path) -> None:
        free_mb = self.free_mb(directory)
        if free_mb < self.config.min_free_mb:
            raise DatasetError(
                f"{directory}: {free_mb} MB are free, {self.config.min_free_mb} MB must stay free; make room or record "
                "elsewhere"
            )

    def free_mb(self, directory: Path) -> int:
        """On the disk that holds (or will hold) a directory."""
        place = Path(directory).absolute()
        while not place.exists():
            place = place.parent
        return shutil.disk_usage(place).free // _MB

    def mark(self, mark: Mark, note: str, source: str, now_ns: int) -> str:
        """Write a mark into the recording; the JSON it consists of. Raises DatasetError where nothing is recorded."""
        if self._writer is None:
            raise DatasetError(f"nothing is being recorded, so nothing can be marked {mark.value}; start first")
        self._marks += 1
        text = json.dumps({"mark": mark.value, "note": note, "source": source, "stamp_ns": now_ns})
        self._put(Sample(MARKS_TOPIC, self._marks, now_ns, now_ns, text_bytes(text)))
        return text

    def check(self, now_ns: int) -> Finished | None:
        """Now and then: ends the recording before the disk is full, or after writing has failed, and says why."""
        if self._writer is None:
            return None
        if self._writer.error is not None:
            return self.stop()
        assert self._directory is not None, "set together with the writer"
        free_mb = self.free_mb(self._directory)
        if free_mb < self.config.min_free_mb:
            finished = self.stop()
            why = f"the disk is nearly full ({free_mb} MB free, {self.config.min_free_mb} MB must stay free)"
            return Finished(finished.written, finished.lost, finished.why or why)
        return None

    def stop(self) -> Finished:
        """Complete the bag. Raises DatasetError where none is being written, or where it could not be completed."""
        writer, directory = self._end()
        if not writer.finish(_FINISH_S):
            raise DatasetError(f"{directory}: the disk still writes after {_FINISH_S:g} s; the bag completes by itself")
        if writer.written is None:
            raise DatasetError(
                f"{directory} could not be completed ({writer.error}); mend it with `action-images record --repair "
                f"{directory}` once there is room"
            )
        lost = sum(s.audit.lost + s.audit.overflow for s in self.streams.values())
        lost += max(0, self._accepted - writer.written.messages)  # what waited when writing failed
        return Finished(writer.written, lost, f"writing failed: {writer.error}" if writer.error else "")

    def discard(self) -> Path:
        """End the recording and remove it."""
        writer, directory = self._end()
        writer.discard(_FINISH_S)
        return directory

    def _end(self) -> tuple[WriterThread, Path]:
        if self._writer is None:
            raise DatasetError("nothing is being recorded; start first")
        writer, directory = self._writer, self._directory
        assert directory is not None, "set together with the writer"
        self._writer = None
        return writer, directory

    def reports(self) -> list[TopicReport]:
        return [s.audit.report() for s in self.streams.values()]

    def warnings(self, now_ns: int) -> list[str]:
        """What an operator should know now."""
        found = []
        for s in self.streams.values():
            complaint = s.audit.complaint(now_ns, s.required)
            found += [text for text in (complaint, s.audit.news()) if text]
        return found

"""Images as H.264 or H.265 while they are recorded, and back: one access unit a message, an ffmpeg a topic.

sensor_msgs/Image -> sensor_msgs/CompressedImage on `<topic>/h264` or `<topic>/h265`, with the image's own header. Every
second begins with a picture of its own (parameter sets included), no picture refers to a later one.
"""

from __future__ import annotations

import os
import queue
import subprocess
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from ..errors import DatasetError, TransportError, one_of
from ..streams import rgb_picture
from .bag_writer import BagWriter, TopicSpec
from .cdr import compressed_image_bytes, read_image
from .sample import Sample
from .video import ffmpeg

CODECS = ("h264", "h265")
_AUD = {"h264": b"\0\0\0\1\x09", "h265": b"\0\0\0\1\x46"}
_FINISH_S = 20.0


@dataclass(frozen=True)
class StreamRules:
    """crf: constant quality, 0 (lossless in YUV) to 51."""

    codec: str = "h264"
    crf: int = 18

    def __post_init__(self) -> None:
        one_of("codec", self.codec, CODECS)

    @property
    def suffix(self) -> str:
        return f"/{self.codec}"


class StreamEncoder:
    """Pictures of one size in, access units out, in the same order and one for each."""

    def __init__(self, rules: StreamRules, size: tuple[int, int]) -> None:
        kind = {
            "h264": ["-c:v", "libx264", "-x264-params", "keyint=30:scenecut=0:repeat-headers=1", "-bsf:v",
                     "h264_metadata=aud=insert", "-f", "h264"],
            "h265": ["-c:v", "libx265", "-x265-params",
                     "keyint=30:scenecut=0:repeat-headers=1:bframes=0:pools=1:frame-threads=1:log-level=none", "-bsf:v",
                     "hevc_metadata=aud=insert", "-f", "hevc"],
        }[rules.codec]  # fmt: skip
        command = [
            ffmpeg(), "-loglevel", "error", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{size[0]}x{size[1]}", "-r",
            "30", "-i", "-", "-fps_mode", "passthrough", "-pix_fmt", "yuv420p", "-preset", "ultrafast", "-tune",
            "zerolatency", "-crf", str(rules.crf), "-bf", "0", "-threads", "1", *kind, "-flush_packets", "1", "-",
        ]  # fmt: skip
        self.size, self._mark = size, _AUD[rules.codec]
        # a session of its own: what interrupts the recorder must not interrupt its encoder first
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                         stderr=subprocess.DEVNULL, start_new_session=True)  # fmt: skip
        self._units: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, name="video reader", daemon=True)
        self._reader.start()

    def write(self, picture: np.ndarray) -> None:
        """Raises OSError where ffmpeg has ended."""
        assert self._process.stdin is not None, "it is a pipe"
        self._process.stdin.write(np.ascontiguousarray(picture).data.cast("B"))
        self._process.stdin.flush()

    def units(self) -> Iterator[bytes]:
        """Those that are ready."""
        while not self._units.empty():
            yield self._units.get()

    def close(self) -> Iterator[bytes]:
        """The rest."""
        assert self._process.stdin is not None, "it is a pipe"
        self._process.stdin.close()
        self._reader.join(_FINISH_S)
        self._process.kill()
        self._process.wait()
        yield from self.units()

    def _read(self) -> None:
        """An access unit is known to be whole when the next one begins."""
        assert self._process.stdout is not None, "it is a pipe"
        waiting = b""
        while data := os.read(self._process.stdout.fileno(), 1 << 16):
            waiting += data
            while (at := waiting.find(self._mark, len(self._mark))) > 0:
                self._units.put(waiting[:at])
                waiting = waiting[at:]
        if waiting:
            self._units.put(waiting)


class StreamTransform:
    """For WriterThread. topics: name of the raw topic -> it and the compressed one. What cannot be compressed is stored
    as it is."""

    def __init__(self, topics: Mapping[str, tuple[TopicSpec, TopicSpec]], rules: StreamRules) -> None:
        self._topics, self._rules = topics, rules
        self._encoders: dict[str, StreamEncoder] = {}
        self._waiting: dict[str, deque[Sample]] = {}

    def __call__(self, bag: BagWriter, sample: Sample) -> Iterator[Sample]:
        if sample.topic not in self._topics:
            yield sample
            return
        raw, stored = self._topics[sample.topic]
        try:
            record = read_image(sample.data)
            picture = rgb_picture(record)
            encoder = self._encoder(sample.topic, (picture.shape[1], picture.shape[0]))
        except (DatasetError, TransportError):
            bag.add_topic(raw)
            yield sample
            return
        encoder.write(picture)
        head = compressed_image_bytes(record, self._rules.codec, b"")
        self._waiting[sample.topic].append(sample._replace(topic=stored.name, data=head))
        bag.add_topic(stored)
        yield from self._paired(sample.topic, encoder.units())

    def _encoder(self, topic: str, size: tuple[int, int]) -> StreamEncoder:
        """Raises DatasetError for a size that it does not take."""
        if topic not in self._encoders:
            if size[0] % 2 or size[1] % 2:
                raise DatasetError(f"{size[0]}x{size[1]} pictures cannot be video")
            self._encoders[topic], self._waiting[topic] = StreamEncoder(self._rules, size), deque()
        if self._encoders[topic].size != size:
            raise DatasetError(f"pictures of {topic} are {size[0]}x{size[1]} all at once")
        return self._encoders[topic]

    def finish(self) -> Iterator[Sample]:
        """What is still in the encoders."""
        for topic, encoder in self._encoders.items():
            yield from self._paired(topic, encoder.close())
            if self._waiting[topic]:
                raise OSError(f"{topic}: the last {len(self._waiting[topic])} pictures did not come out of ffmpeg")

    def _paired(self, topic: str, units: Iterator[bytes]) -> Iterator[Sample]:
        for unit in units:
            sample = self._waiting[topic].popleft()
            head = sample.data[:-4] + len(unit).to_bytes(4, "little")
            yield sample._replace(data=head + unit)


def decoded(units: Iterator[tuple[int, bytes]], codec: str, size: tuple[int, int]) -> Iterator[tuple[int, np.ndarray]]:
    """(stamp, access unit) -> (stamp, picture (H, W, 3) uint8 RGB). Raises DatasetError where not every unit gives a
    picture of that size, as when some are missing."""
    form = {"h264": "h264", "h265": "hevc"}[codec]
    command = [ffmpeg(), "-loglevel", "error", "-f", form, "-i", "-", "-fps_mode", "passthrough", "-f", "rawvideo",
               "-pix_fmt", "rgb24", "-"]  # fmt: skip
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdin is not None and process.stdout is not None, "both are pipes"
    stamps: deque[int] = deque()
    feeder = threading.Thread(target=_feed, args=(process.stdin, units, stamps), name="video feeder", daemon=True)
    feeder.start()
    length, given = 3 * size[0] * size[1], 0
    try:
        while len(data := process.stdout.read(length)) == length:
            if not stamps:
                raise DatasetError("a video stream gives more pictures than it has messages")
            given += 1
            yield stamps.popleft(), np.frombuffer(data, np.uint8).reshape(size[1], size[0], 3)
        feeder.join(_FINISH_S)
        if stamps or data:
            raise DatasetError(f"a video stream gives {given} pictures of {size[0]}x{size[1]} for "
                               f"{given + len(stamps)} messages: some are missing or damaged")  # fmt: skip
    finally:
        process.kill()
        process.wait()


def _feed(pipe, units: Iterator[tuple[int, bytes]], stamps: deque[int]) -> None:
    try:
        for stamp_ns, unit in units:
            stamps.append(stamp_ns)
            pipe.write(unit)
        pipe.close()
    except OSError:
        return

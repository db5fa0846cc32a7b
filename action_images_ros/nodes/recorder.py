"""Everything that the graph says into rosbag2 bags: start, stop, discard and marks by service and by topic.

Callbacks hand serialised messages on; what is written, kept ready and complained of is `recording.Recorder`'s business.
"""

from __future__ import annotations

import json
import re
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from std_msgs.msg import String
from std_srvs.srv import Trigger

from .. import __version__
from ..cell import Cell
from ..errors import ActionImagesError, ConfigError, DatasetError, one_of
from ..recording.audit import AuditRules
from ..recording.bag_metadata import Qos
from ..recording.bag_writer import TopicSpec
from ..recording.jpeg import TYPE, JpegRules
from ..recording.mcap_writer import COMPRESSIONS, ChunkRules
from ..recording.provenance import attachments, provenance
from ..recording.recorded import SOURCES
from ..recording.recorder import MARKS_TOPIC, PROVENANCE_TOPIC, Finished, Mark, Recorder, RecorderConfig
from ..recording.stream_video import CODECS, StreamRules
from ..recording.video import ffmpeg
from ..ros import commands, qos
from ..ros.definitions import definition
from ..ros.main import run_node
from ..ros.managed import ManagedNode, made
from ..ros.monitor import Level, Report, not_active
from ..ros.parameters import parameter
from ..ros.taps import Arrival, Tap, Taps

SERVICES = ("start", "stop", "discard", "success", "failure")
COMMANDS = (*SERVICES, "note", "control")
_TOPICS = (
    "instruction", "action_images", "predicted_video", "targets", "committed", "control_source", "/diagnostics", "/tf",
    "/tf_static", "sim_cell/verdict",
)  # fmt: skip
_DISCOVER_S = 0.5
_CHECK_S = 0.5
_WARN_EVERY_S = 2.0


@dataclass(frozen=True)
class RecorderParameters:
    autostart: bool = parameter(True, "configure and activate at once: from then on the pre-roll fills")
    cell: str = parameter("", "cell file: the cameras and the arm to record; it becomes part of every bag")
    calibration: str = parameter("", "calibration file that becomes part of every bag; empty: none")
    model: str = parameter("", "model directory whose hash is noted in every bag; empty: none")
    out: str = parameter("recordings", "directory in which each recording gets one of its own")
    record_at_start: bool = parameter(False, "begin a recording as soon as every camera and the arm are heard")
    topics: str = parameter("", "more topics, separated by commas")
    pattern: str = parameter("", "regular expression: every topic that matches as a whole is recorded too; .* is all")
    images: str = parameter("raw", "camera images as CompressedImage", choices=("raw", "jpeg", *CODECS))
    jpeg_quality: int = parameter(95, "of images: jpeg", minimum=1, maximum=100)
    video_crf: int = parameter(18, "of images: h264 and h265, smaller is better", minimum=0, maximum=51)
    compression: str = parameter("none", "of the bag's chunks, without loss", choices=COMPRESSIONS)
    pre_roll_s: float = parameter(2.0, "seconds before the start that a recording contains", minimum=0.0, maximum=60.0)
    pre_roll_mb: int = parameter(512, "most memory for those", minimum=0, maximum=65536)
    queue_mb: int = parameter(512, "most memory for messages that wait for the disk", minimum=1, maximum=65536)
    min_free_mb: int = parameter(500, "stop before the disk has less", minimum=1, maximum=10**9)


class RecorderNode(ManagedNode):
    def __init__(self) -> None:
        super().__init__("recorder", RecorderParameters)
        self._recorder: Recorder | None = None
        self._taps: Taps | None = None
        self._rounds: list = []
        self._pending_start = False
        self._last = ""
        self._warned_s: dict[str, float] = {}
        self.diagnostics.add(self._report)

    def setup(self) -> None:
        p = self.parameters
        if not p.cell:
            raise ConfigError("recorder needs the parameter `cell`: the path of a cell file")
        self._cell = cell = Cell.load(p.cell)
        self._attachments = attachments(Path(p.cell), Path(p.calibration) if p.calibration else None)
        self._provenance = provenance(
            Path(p.cell), Path(p.model) if p.model else None, __version__, socket.gethostname(), sys.argv
        )
        try:
            re.compile(p.pattern)
        except re.error as e:
            raise ConfigError(f"parameter pattern is {p.pattern!r}, no regular expression: {e}") from e
        images: JpegRules | StreamRules | None = JpegRules(p.jpeg_quality) if p.images == "jpeg" else None
        if p.images in CODECS:
            ffmpeg()  # missing: told now, not at the first picture
            images = StreamRules(p.images, p.video_crf)
        chunks, rules = ChunkRules(compression=p.compression), AuditRules(age_s=cell.sync.max_age_s)
        config = RecorderConfig(p.pre_roll_s, p.pre_roll_mb, p.queue_mb, p.min_free_mb, chunks, images, rules)
        self._recorder = Recorder(config, definition(TYPE))
        self._required = {"/joint_states"} | {t for v in cell.views for t in (v.image_topic, v.info_topic)}
        interfaces = [i.topic for i in commands.ARM.values()] + [i.topic for i in commands.GRIPPER.values()]
        extra = [t.strip() for t in p.topics.split(",") if t.strip()]
        names = [*self._required, *interfaces, *_TOPICS, *extra]
        self._taps = Taps(self, names, p.pattern, (MARKS_TOPIC, PROVENANCE_TOPIC, "recorder/state"), self._on_message)
        self._marks = self.create_publisher(String, "recorder/marks", qos.EVENTS)
        self._state = self.create_publisher(String, "recorder/state", qos.LATCHED)
        self._source = self.create_publisher(String, "control_source", qos.LATCHED)
        self.create_subscription(String, "recorder/command", self._on_command, qos.STATE)
        for name in SERVICES:
            self.create_service(Trigger, f"recorder/{name}", self._service(name))

    def start(self) -> None:
        self._simulated_time = self.get_parameter("use_sim_time").value
        self._pending_start = self.parameters.record_at_start
        self._discover()
        self._rounds = [self.create_timer(_DISCOVER_S, self._discover), self.create_timer(_CHECK_S, self._check)]

    def halt(self) -> None:
        for timer in self._rounds:
            self.destroy_timer(timer)
        self._rounds = []
        if self._recorder is not None and self._recorder.recording:
            made(self._taps).drain()
            self._tell(made(self._recorder).stop())
        if self._taps is not None:
            made(self._taps).close()

    def _discover(self) -> None:
        for tap in made(self._taps).update():
            made(self._recorder).add_stream(
                TopicSpec(tap.topic, tap.type_name, definition(tap.type_name), _qos(tap)),
                stamped=tap.stamped, latched=tap.latched, required=tap.topic in self._required,
            )  # fmt: skip
        for topic, kind in made(self._taps).untypable.items():
            self.get_logger().warning(f"{topic} is not recorded: {kind} is not installed here", once=True)
        if self._pending_start and self._required <= {
            t for t, s in made(self._recorder).streams.items() if s.audit.messages
        }:
            self._pending_start = False
            self._do("start", "", "record_at_start")

    def _on_message(self, arrival: Arrival) -> None:
        receive_ns = 0 if self._simulated_time else arrival.receive_ns
        made(self._recorder).on_message(
            arrival.topic, arrival.data, receive_ns or self.now_ns(), arrival.publish_ns, arrival.publisher,
            arrival.sequence,
        )  # fmt: skip

    def _check(self) -> None:
        """Warnings in the moment; the end of a recording that cannot go on."""
        try:
            finished = made(self._recorder).check(self.now_ns())
        except DatasetError as error:
            self.get_logger().error(f"recording ended: {error}")
            finished = None
        if finished is not None:
            self._tell(finished)
        for text in made(self._recorder).warnings(self.now_ns()):
            self._warn(text)
        self._publish_state()

    def _warn(self, text: str) -> None:
        """Each kind of trouble of each topic at most every two seconds."""
        kind, now_s = re.sub(r"[0-9.]+", "", text), time.monotonic()
        if now_s - self._warned_s.get(kind, -_WARN_EVERY_S) >= _WARN_EVERY_S:
            self._warned_s[kind] = now_s
            self.get_logger().warning(text)

    def _service(self, name: str) -> Callable[[Trigger.Request, Trigger.Response], Trigger.Response]:
        def answer(request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
            response.success, response.message = self._do(name, "", "service")
            return response

        return answer

    def _on_command(self, msg: String) -> None:
        word, _, rest = msg.data.strip().partition(" ")
        good, text = self._do(word, rest.strip(), "topic")
        if not good:
            self.get_logger().warning(f"recorder/command {msg.data!r}: {text}")

    def _do(self, command: str, rest: str, source: str) -> tuple[bool, str]:
        """rest: a name for `start`, words for a mark. Whether it was done, and what to say of it (JSON where done)."""
        try:
            if self._recorder is None or not self._rounds:
                raise DatasetError("the recorder is not active; activate it first")
            if command == "start":
                return True, self._start(rest)
            if command == "control":
                one_of("who is in control", rest, SOURCES, DatasetError)
                self._source.publish(String(data=rest))
                return True, rest
            made(self._taps).drain()
            if command == "stop":
                return True, self._tell(made(self._recorder).stop())
            if command == "discard":
                directory = made(self._recorder).discard()
                self.get_logger().info(f"discarded {directory}")
                return True, json.dumps({"discarded": str(directory)})
            if command in COMMANDS:
                text = made(self._recorder).mark(Mark(command), rest, source, self.now_ns())
                self._marks.publish(String(data=text))
                return True, text
            raise DatasetError(f"unknown command {command!r}; legal: {', '.join(COMMANDS)}")
        except (ActionImagesError, OSError) as error:
            return False, str(error)
        finally:
            if self._recorder is not None:
                self._publish_state()

    def _start(self, name: str) -> str:
        if name and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,100}", name):
            raise DatasetError(f"name {name!r} of a recording: letters, digits, . _ - only, not beginning with a mark")
        base = Path(self.parameters.out).expanduser().absolute()
        directory = base / (name or _free_name(base))
        made(self._recorder).start(directory, self.now_ns(), self._attachments, self._provenance)
        self.get_logger().info(f"recording {len(made(self._recorder).streams)} topics into {directory}")
        return json.dumps({"directory": str(directory)})

    def _tell(self, finished: Finished) -> str:
        w = finished.written
        summary = {
            "directory": str(w.directory), "messages": w.messages, "bytes": w.size, "seconds": round(w.duration_s, 3),
            "lost": finished.lost, "why": finished.why,
        }  # fmt: skip
        amount = f"{w.messages} messages, {w.duration_s:.1f} s, {w.size / 1e6:.0f} MB"
        text = f"{w.directory}: {amount}, {finished.lost} lost"
        if finished.why:
            self.get_logger().error(f"{text}; recording ended by itself: {finished.why}")
        else:
            self.get_logger().info(text)
        self._last = str(w.directory)
        return json.dumps(summary)

    def _publish_state(self) -> None:
        r = made(self._recorder)
        self._state.publish(
            String(
                data=json.dumps(
                    {
                        "recording": r.recording,
                        "directory": str(r.directory or ""),
                        "seconds": round(1e-9 * (self.now_ns() - r.began_ns), 1) if r.recording else 0.0,
                        "bytes": r.size,
                        "lost": sum(s.audit.lost + s.audit.overflow for s in r.streams.values()),
                        "last": self._last,
                    }
                )
            )
        )

    def _report(self) -> Report:
        r = self._recorder
        if r is None or not self._rounds:
            return not_active("record")
        complaints = [t for s in r.streams.values() if (t := s.audit.complaint(self.now_ns(), s.required))]
        missing = sorted(self._required - set(r.streams))
        complaints += [f"{t}: nobody publishes it" for t in missing]
        values: dict[str, object] = {"recording": r.recording, "directory": r.directory or "", "bytes": r.size,
                                     "waiting_bytes": r.waiting_bytes}  # fmt: skip
        for told in r.reports():
            values[told.topic] = (
                f"{told.messages} messages, {told.rate_hz:.1f} Hz, jitter {told.jitter_ms:.1f} ms, "
                f"age {1e3 * told.age_s:.0f} ms, "
                f"gaps {told.gaps}, lost {told.lost + told.overflow}"
            )
        lost = sum(s.audit.lost + s.audit.overflow for s in r.streams.values())
        level = Level.ERROR if r.recording and lost else Level.WARN if complaints else Level.OK
        state = "recording" if r.recording else "ready"
        remedy = "start what is missing; lost messages: record to a faster disk, fewer topics, or images:=jpeg"
        return Report("record", level, "; ".join([state, *complaints]), values, remedy=remedy)


def _qos(tap: Tap) -> Qos:
    return Qos(1 if tap.latched else 10, 1 if tap.reliable else 2, 1 if tap.latched else 2)


def _free_name(base: Path) -> str:
    """By the clock; a number more where two begin in one second."""
    name = time.strftime("%Y%m%d-%H%M%S")
    return next(n for n in (name, *(f"{name}-{k}" for k in range(2, 1000))) if not (base / n).exists())


def main() -> int:
    return run_node(RecorderNode)


if __name__ == "__main__":
    sys.exit(main())

"""The recorder without ROS: what a bag contains of what was received, and what an operator is told in the moment."""

import json
import subprocess
import sys
import threading

import cv2
import numpy as np
import pytest
from cell_bags import T0, header, message, picture
from recordings import STRING, string

from action_images_ros.errors import DatasetError
from action_images_ros.recording.audit import TopicAudit
from action_images_ros.recording.bag import Bag
from action_images_ros.recording.bag_writer import TopicSpec
from action_images_ros.recording.cdr import read_compressed_image, read_text
from action_images_ros.recording.jpeg import JpegRules, uncompressed
from action_images_ros.recording.pre_roll import PreRoll
from action_images_ros.recording.recorder import MARKS_TOPIC, PROVENANCE_TOPIC, Mark, Recorder, RecorderConfig
from action_images_ros.recording.sample import Sample

MS = 1_000_000
LATCHED = TopicSpec("/instruction", "std_msgs/msg/String", "string data\n")
IMAGE = TopicSpec("/camera/left/color/image_raw", "sensor_msgs/msg/Image")


def recorder(**config) -> Recorder:
    r = Recorder(RecorderConfig(**{"min_free_mb": 1, "pre_roll_s": 1.0, **config}))
    r.add_stream(STRING, stamped=False, latched=False, required=True)
    r.add_stream(LATCHED, stamped=False, latched=True, required=False)
    return r


def say(r: Recorder, numbers, topic: str = STRING.name) -> None:
    """Message k arrives at k * 100 ms."""
    for k in numbers:
        r.on_message(topic, string(f"{topic} {k}"), T0 + 100 * MS * k, 0, b"me", k)


def texts(path, topic: str = STRING.name) -> list[str]:
    with Bag(path) as bag:
        return [read_text(m.data) for m in bag.messages([topic])]


def test_a_recording_begins_with_the_pre_roll_and_what_was_valid_before(tmp_path):
    r = recorder()
    say(r, [0], "/instruction")
    say(r, range(100, 130))
    r.start(tmp_path / "a", T0 + 13000 * MS, provenance={"version": "1"})
    say(r, range(130, 135))
    done = r.stop()
    assert texts(tmp_path / "a") == [f"/text {k}" for k in range(120, 135)]
    assert texts(tmp_path / "a", "/instruction") == ["/instruction 0"]
    assert done.lost == 0 and 1.2 < done.written.duration_s < 1.6
    assert json.loads(texts(tmp_path / "a", PROVENANCE_TOPIC)[0]) == {"version": "1"}
    say(r, range(135, 140))
    r.start(tmp_path / "b", T0 + 14000 * MS)
    r.stop()
    assert texts(tmp_path / "b") == [f"/text {k}" for k in range(135, 140)]
    assert texts(tmp_path / "b", "/instruction") == ["/instruction 0"]


def test_the_pre_roll_is_bounded_in_time_and_bytes():
    ring = PreRoll(1000 * MS, 250)
    for k in range(50):
        ring.add(Sample("/t", k, 100 * MS * k, 0, bytes(20)), False)
    assert ring.bytes == 220 and [s.sequence for s in ring.take(4900 * MS)] == list(range(39, 50))
    small = PreRoll(10**18, 100)
    for k in range(50):
        small.add(Sample("/t", k, k, 0, bytes(20)), False)
    assert [s.sequence for s in small.take(50)] == list(range(45, 50)) and small.bytes == 0


def test_marks_discard_and_order_of_commands(tmp_path):
    r = recorder()
    with pytest.raises(DatasetError, match="start first"):
        r.mark(Mark.SUCCESS, "", "test", T0)
    with pytest.raises(DatasetError, match="start first"):
        r.stop()
    r.start(tmp_path / "a", T0)
    with pytest.raises(DatasetError, match="already recording"):
        r.start(tmp_path / "b", T0)
    r.mark(Mark.NOTE, "a bump", "test", T0 + 1)
    r.mark(Mark.FAILURE, "", "key", T0 + 2)
    r.stop()
    marks = [json.loads(t) for t in texts(tmp_path / "a", MARKS_TOPIC)]
    assert [(m["mark"], m["note"], m["source"]) for m in marks] == [("note", "a bump", "test"), ("failure", "", "key")]
    r.start(tmp_path / "c", T0)
    say(r, range(5))
    assert r.discard() == tmp_path / "c" and not (tmp_path / "c").exists() and not r.recording


def test_what_does_not_fit_into_the_queue_is_counted_never_silently_dropped(tmp_path):
    r = recorder(queue_mb=1)
    r.start(tmp_path / "a", T0)
    gate = threading.Event()
    r._writer.do(lambda bag: gate.wait(20))
    for k in range(30):
        r.on_message(STRING.name, bytes(100_000), T0 + k * MS, 0, b"me", k)
    overflow = r.streams[STRING.name].audit.overflow
    assert overflow == 20 and any("not written, the disk is too slow" in w for w in r.warnings(T0))
    gate.set()
    assert r.stop().lost == overflow
    with Bag(tmp_path / "a") as bag:
        assert sum(m.topic == STRING.name for m in bag.messages()) == 10


def test_a_recording_does_not_begin_on_a_full_disk_and_ends_before_the_disk_is_full(tmp_path):
    r = recorder(min_free_mb=10**9)
    with pytest.raises(DatasetError, match="must stay free"):
        r.start(tmp_path / "a", T0)
    r = recorder()
    r.start(tmp_path / "b", T0)
    say(r, range(5))
    assert r.check(T0) is None
    object.__setattr__(r.config, "min_free_mb", 10**9)
    finished = r.check(T0)
    assert "nearly full" in finished.why and not r.recording
    assert texts(tmp_path / "b") == [f"/text {k}" for k in range(5)]


FULL = """
import resource, signal, sys
from pathlib import Path
from action_images_ros.recording.bag_writer import TopicSpec
from action_images_ros.recording.recorder import Recorder, RecorderConfig
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
r = Recorder(RecorderConfig(min_free_mb=1))
r.add_stream(TopicSpec("/t", "std_msgs/msg/String"), stamped=False, latched=False, required=True)
r.start(Path({bag!r}), 0)
for k in range(400):
    r.on_message("/t", bytes(100_000), k * 10_000_000, 0, b"me", k)
    if k == 399:
        import time
        for _ in range(500):
            if r._writer.error: break
            time.sleep(0.02)
finished = r.check(0)
print(finished.why, finished.written.messages, "lost", finished.lost)
"""


def test_when_writing_fails_the_bag_is_completed_and_the_reason_told(tmp_path):
    """A file that may not grow beyond 9 MB is as good as a full disk: 40 MB are to be written."""
    bag = tmp_path / "bag"
    code = FULL.format(limit=9_000_000, bag=str(bag))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert "writing failed: [Errno 27]" in done.stdout, done.stderr
    with Bag(bag) as read:
        sequences = [m.sequence for m in read.messages(["/t"])]
        assert not read.torn and len(sequences) > 40 and sequences == list(range(len(sequences)))
    assert int(done.stdout.split("lost ")[1]) == 400 - len(sequences)


def test_jpeg_keeps_header_and_picture(tmp_path):
    r = Recorder(RecorderConfig(min_free_mb=1, images=JpegRules(95)), "uint8[] data\n")
    r.add_stream(IMAGE, stamped=True, latched=False, required=True)
    r.start(tmp_path / "a", T0)
    rgb = picture(0, 7)
    raw = message("sensor_msgs/msg/Image", header=header(T0 + 5, "optical"), height=120, width=160, encoding="rgb8",
                  is_bigendian=0, step=480, data=rgb.reshape(-1))  # fmt: skip
    r.on_message(IMAGE.name, raw, T0 + 10, T0 + 7, b"me", 1)
    r.on_message(IMAGE.name, b"\x00\x01\x00\x00 damaged", T0 + 11, T0 + 8, b"me", 2)
    r.stop()
    with Bag(tmp_path / "a") as bag:
        (m,) = bag.messages([IMAGE.name + "/compressed"])
        record = read_compressed_image(m.data)
        assert (record.header.stamp.ns, record.header.frame_id) == (T0 + 5, "optical")
        made = uncompressed(record)
        expected = cv2.imdecode(cv2.imencode(".jpg", rgb[..., ::-1], [1, 95])[1], 1)[..., ::-1]
        np.testing.assert_array_equal(made, expected)
        assert len(list(bag.messages([IMAGE.name]))) == 1  # what cannot be compressed is kept as it is


def audit(periods_ms, stamps=None, sequences=None) -> TopicAudit:
    a, t = TopicAudit("/t", stamps is not None), T0
    for k, period in enumerate(periods_ms):
        t += round(period * MS)
        a.add(t, t - 20 * MS if stamps is None else stamps[k], 10, b"me", None if sequences is None else sequences[k])
    a.last_ns = t
    return a


def test_rate_jitter_and_gaps():
    report = audit([33.0] * 50 + [200.0] + [33.0] * 50).report()
    assert report.rate_hz == pytest.approx(100 / 3.467, rel=1e-3) and report.jitter_ms == pytest.approx(0, abs=1e-6)
    assert report.gaps == 1 and report.largest_gap_s == pytest.approx(0.2)


def test_lost_messages_are_those_that_the_publisher_numbered():
    a = audit([10] * 6, sequences=[4, 5, 8, 9, 10, 12])
    assert a.report().lost == 3 and "3 messages lost" in a.news() and a.news() == ""


def test_a_stuck_camera_silence_and_clock_offsets_are_told():
    stamps = [T0 + k * 33 * MS for k in range(20)] + [T0 + 19 * 33 * MS] * 5
    a = audit([33] * 25, stamps)
    assert a.report().repeated == 5 and "stuck camera" in a.news()
    assert "silent for 3.0 s" in a.complaint(a.last_ns + 3000 * MS, True)
    assert a.complaint(a.last_ns + 3000 * MS, False) == ""
    late = audit([33] * 10, [T0 - 2000 * MS] * 10)
    assert "s old at arrival" in late.complaint(late.last_ns, True)
    early = audit([33] * 10, [T0 + 9000 * MS] * 10)
    assert "in the future" in early.complaint(early.last_ns, True)
    assert "nothing has come yet" in TopicAudit("/t", False).complaint(T0, True)

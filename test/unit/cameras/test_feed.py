"""How a feed deals with a device: a device that plays a script stands for the hardware, and time is what it says."""

import threading

import numpy as np
import pytest

from action_images_ros.cameras import Backoff, CameraDescription, CameraFeed, ClockDomain, FeedState, RawFrame
from action_images_ros.errors import CameraError

MS = 1_000_000
PICTURE = np.zeros((2, 2, 3), np.uint8)


class Bench:
    """Devices, one an opening: each a list of what its reads give. Pauses and silences pass at once, on its clock."""

    def __init__(self, *scripts, silent_s=1.0):
        self.scripts, self.now_ns, self.pauses_s, self.resets, self.frames = list(scripts), 10_000 * MS, [], 0, []
        self.silences_s = []
        self.feed = CameraFeed(
            self.open, self.frames.append, lambda: self.now_ns, 0.5, silent_s, backoff=Backoff(0.5, 4.0)
        )
        self.stop = self

    # a threading.Event as the feed uses it: waiting makes time pass; set when the scripts are at their end
    def is_set(self):
        return False

    def wait(self, pause_s):
        self.pauses_s.append(pause_s)
        self.now_ns += round(1e9 * pause_s)
        return not self.scripts

    def open(self):
        script = self.scripts.pop(0)
        if isinstance(script, str):
            raise CameraError(script)
        return Device(self, iter(script))

    def run(self):
        self.feed.run(self.stop)
        return self.feed.report()


class Device:
    description = CameraDescription("scripted", "1", "", "3.2", (2, 2), np.eye(3))

    def __init__(self, bench, script):
        self.bench, self.script = bench, script

    def read(self, timeout_s):
        number = next(self.script, None)
        if isinstance(number, str):
            raise CameraError(number)
        if number is None:
            self.bench.silences_s.append(timeout_s)
            self.bench.now_ns += round(1e9 * timeout_s)
            return None
        self.bench.now_ns += 33 * MS
        return RawFrame(number, self.bench.now_ns - 5 * MS, ClockDomain.GLOBAL, PICTURE)

    def reset(self):
        self.bench.resets += 1

    def close(self): ...


def test_pauses_grow_until_a_frame_comes_and_begin_anew():
    bench = Bench([1, 2], "gone", "gone", "gone", "gone", "gone", [1, 2, 3], [])
    report = bench.run()
    assert bench.pauses_s[:7] == [0.0, 0.5, 1.0, 2.0, 4.0, 4.0, 4.0] and bench.pauses_s[7] == 0.5
    assert len(bench.frames) == 5 and report.connections == 3 and report.state is FeedState.LOST


def test_opening_without_frames_is_no_success():
    """A device that opens but stays silent is tried ever more rarely, and reset every second time."""
    bench = Bench([], [], [], [], [1])
    report = bench.run()
    assert bench.pauses_s[:5] == [0.0, 1.0, 2.0, 4.0, 4.0] and bench.resets == 2
    assert bench.silences_s[:4] == [5.0] * 4 and bench.silences_s[4] == 1.0
    assert len(bench.frames) == 1 and report.reason == "no frame for 1 s"


def test_a_device_that_only_repeats_itself_is_reopened():
    bench = Bench([1, 2, *[2] * 100], [1])
    assert bench.run().connections == 2 and len(bench.frames) == 3
    # the first of two silences is that of the repeating device: it never gave none at all
    assert bench.silences_s == [1.0]


def test_errors_of_the_device_are_the_reason():
    bench = Bench([1, "USB: no such device"])
    report = bench.run()
    assert report.state is FeedState.LOST and report.reason == "USB: no such device" and bench.resets == 0


def test_open_names_what_is_wrong_in_the_callers_thread():
    with pytest.raises(CameraError, match="not connected"):
        Bench("not connected").feed.open()


def test_it_ends_when_told_in_the_middle_of_a_pause():
    stop = threading.Event()
    feed = CameraFeed(lambda: Bench("gone").open(), lambda f: None, lambda: 0, 0.5, backoff=Backoff(60.0, 60.0))
    thread = threading.Thread(target=feed.run, args=(stop,), daemon=True)
    thread.start()
    stop.set()
    thread.join(10.0)
    assert not thread.is_alive()

"""The periodic thread and the statistics around it."""

import threading
import time

import pytest

from action_images_ros.ros.loop import DeadlineLoop
from action_images_ros.ros.monitor import RateMonitor, Window


def test_it_ticks_on_absolute_deadlines_and_skips_what_it_missed():
    times, done = [], threading.Event()

    def work(now_s):
        times.append(now_s)
        if len(times) == 5:
            time.sleep(0.055)
        if len(times) == 15:
            done.set()

    loop = DeadlineLoop("test", 0.02, work, lambda e: None)
    loop.start()
    assert done.wait(10.0)
    loop.stop()
    count = len(times)
    time.sleep(0.05)
    assert len(times) == count
    assert loop.skipped >= 2
    phases = [(t - times[0]) / 0.02 for t in times]
    assert all(p > -0.01 for p in phases) and phases[-1] >= 16


def test_an_exception_ends_the_loop_and_is_told():
    errors, ended = [], threading.Event()

    def fail(error):
        errors.append(error)
        ended.set()

    loop = DeadlineLoop("test", 0.005, lambda now_s: 1 / 0, fail)
    loop.start()
    assert ended.wait(5.0)
    loop.stop()
    assert isinstance(errors[0], ZeroDivisionError) and len(errors) == 1


def test_rates_and_spreads():
    r = RateMonitor()
    assert r.age_s(1.0) == float("inf") and r.rate_hz == 0.0
    for k in range(11):
        r.tick(0.1 * k)
    assert r.rate_hz == pytest.approx(10.0) and r.age_s(1.5) == pytest.approx(0.5)
    w = Window(100)
    for k in range(1000):
        w.add(k / 1000)
    s = w.spread()
    assert s.count == 1000 and s.max == 0.999 and 0.94 < s.p50 < 0.96 and s.p99 <= s.max

"""Deadlines, clocks and tracking: each threshold just inside and just beyond."""

from dataclasses import fields, replace

import numpy as np
import pytest

from action_images_ros.control import FR3_HOME_Q, FR3_LIMITS, Event, WatchdogConfig
from action_images_ros.control.watchdog import Watchdog
from action_images_ros.errors import ConfigError
from action_images_ros.types import RobotState

NS = 1_000_000_000
CONFIG = WatchdogConfig(frames_s=0.5, states_s=0.2, chunks_s=2.0)


def watching(config=CONFIG):
    return Watchdog(config, FR3_LIMITS, 100.0)


def events(found):
    return {event for event, _ in found}


def state(q=FR3_HOME_Q, dq=None, stamp_ns=0):
    return RobotState(np.array(q), np.zeros(7) if dq is None else dq, 0.08, stamp_ns)


@pytest.mark.parametrize("note, event, deadline", [
    ("frames", Event.FRAMES_STALE, 0.5), ("states", Event.STATES_STALE, 0.2), ("chunk", Event.CHUNKS_STALE, 2.0)])
def test_each_input_has_its_deadline(note, event, deadline):
    dog = watching()
    for other in {"frames", "states", "chunk"} - {note}:
        getattr(dog, other)(100.0 + deadline)
    getattr(dog, note)(100.0)
    assert event not in events(dog.inputs(100.0 + deadline - 0.01))
    assert events(dog.inputs(100.0 + deadline + 0.01)) == {event}


def test_what_never_came_is_said_so():
    texts = [text for _, text in watching().inputs(5.0)]
    assert len(texts) == 3 and all("never received" in text for text in texts)


def test_none_switches_a_deadline_off():
    names = [f.name for f in fields(WatchdogConfig) if f.default is not None and f.name != "tracking_window_s"]
    dog = watching(WatchdogConfig(**{name: None for name in names}))
    assert dog.inputs(1e9) == []
    dog.tick(0, 0.0)
    assert dog.tick(50 * NS, 9.0) == []
    at_end = FR3_LIMITS.q_max
    dog.command(FR3_HOME_Q, 0)
    assert dog.arm(state(at_end)) == []


def test_clock_jumps_either_way_but_not_a_slow_clock():
    for jump_ns in (150_000_000, -150_000_000):
        dog = watching()
        dog.tick(1000 * NS, 5.0)
        assert dog.tick(1000 * NS + NS // 100, 5.01) == []
        assert events(dog.tick(1000 * NS + NS // 50 + jump_ns, 5.02)) == {Event.CLOCK_JUMP}
    dog = watching()
    for i in range(1000):
        assert dog.tick(int(NS * 0.01 * i * 1.001), 0.01 * i) == []


def test_a_late_tick_is_noticed():
    dog = watching()
    dog.tick(0, 0.0)
    assert dog.tick(90_000_000, 0.09) == []
    assert events(dog.tick(200_000_000, 0.20)) == {Event.COMMAND_LATE}


def test_what_could_not_be_received_during_a_gap_is_not_called_stale():
    dog = watching()
    dog.tick(0, 100.0)
    for note in (dog.frames, dog.states, dog.chunk):
        note(100.0)
    assert events(dog.tick(3 * NS, 103.0)) == {Event.COMMAND_LATE}
    assert dog.inputs(103.0) == []
    assert Event.STATES_STALE in events(dog.inputs(103.25))


def moving(dog, n=60, speed=0.5):
    for i in range(n):
        dog.command(FR3_HOME_Q + speed * 0.01 * i, i * NS // 100)
    return FR3_HOME_Q + speed * 0.01 * (n - 1)


def test_an_arm_that_merely_trails_is_no_error_and_its_lag_is_told():
    dog = watching()
    last = moving(dog)
    for _ in range(100):
        assert dog.arm(state(last - 0.5 * 0.12, np.full(7, 0.5), 59 * NS // 100)) == []
    assert dog.tracking_error_rad < 1e-9
    assert dog.lag_s == pytest.approx(0.12, abs=0.01)


def test_an_arm_off_its_path_is_an_error():
    dog = watching()
    last = moving(dog)
    aside = np.zeros(7)
    aside[2] = 0.2
    assert events(dog.arm(state(last + aside, stamp_ns=59 * NS // 100))) == {Event.TRACKING_ERROR}


def test_an_arm_that_stays_behind_is_an_error_once_the_window_has_passed():
    dog = watching()
    moving(dog, n=60)
    assert events(dog.arm(state(FR3_HOME_Q, stamp_ns=59 * NS // 100))) == {Event.TRACKING_ERROR}


def test_a_joint_at_the_end_of_its_range_is_named():
    q = FR3_HOME_Q.copy()
    q[1] = FR3_LIMITS.q_min[1] + 0.005
    found = watching().arm(state(q))
    assert events(found) == {Event.JOINT_NEAR_LIMIT} and "joint 2" in found[0][1]


def test_a_lag_at_rest_is_not_measured():
    dog = watching()
    for i in range(50):
        dog.command(FR3_HOME_Q, i * NS // 100)
    dog.arm(state(stamp_ns=10 * NS))
    assert dog.lag_s == 0.0


def test_malformed_thresholds_are_named():
    with pytest.raises(ConfigError, match="tracking_rad"):
        replace(CONFIG, tracking_rad=0.0)

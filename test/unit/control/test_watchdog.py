"""Deadlines, clocks and tracking: each threshold just inside and just beyond."""

from dataclasses import fields, replace

import numpy as np
import pytest

from action_images_ros.control import FR3_HOME_Q, FR3_LIMITS, Event, Follows, Fr3Kinematics, IkSolver, WatchdogConfig
from action_images_ros.control.watchdog import Watchdog
from action_images_ros.errors import ConfigError
from action_images_ros.geometry.se3 import so3_exp
from action_images_ros.types import RobotState

NS = 1_000_000_000
CONFIG = WatchdogConfig(frames_s=0.5, states_s=0.2, chunks_s=2.0)


def watching(config=CONFIG, follows=Follows.JOINTS):
    return Watchdog(config, Fr3Kinematics(), 100.0, follows)


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
    command(dog, FR3_HOME_Q, 0)
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


def command(dog, q, now_ns):
    dog.command(q, Fr3Kinematics().fk(q), now_ns)


def elbow_swung(q, angle):
    """Joints with the same TCP and another elbow: a step along the null space of the Jacobian, corrected by IK."""
    arm = Fr3Kinematics()
    free = np.linalg.svd(arm.jacobian(q))[2][-1]
    return IkSolver(arm).solve(arm.fk(q)[None], (q + angle * free)[None]).q[0]


def test_an_arm_that_follows_poses_is_judged_by_its_tcp_not_by_its_elbow():
    dog = watching(follows=Follows.TCP)
    for i in range(40):
        command(dog, FR3_HOME_Q, i * NS // 100)
    swung = elbow_swung(FR3_HOME_Q, 0.4)
    assert np.abs(swung - FR3_HOME_Q).max() > 0.2
    assert dog.arm(state(swung)) == [] and dog.tracking_error_m < 1e-3
    shifted = IkSolver(Fr3Kinematics()).solve(_moved(0.07, 0.0)[None], FR3_HOME_Q[None]).q[0]
    found = dog.arm(state(shifted))
    assert events(found) == {Event.TRACKING_ERROR} and "70 mm, 0 deg" in found[0][1]
    turned = IkSolver(Fr3Kinematics()).solve(_moved(0.0, 0.35)[None], FR3_HOME_Q[None]).q[0]
    assert "0 mm, 20 deg" in dog.arm(state(turned))[0][1]
    assert dog.arm(state(FR3_HOME_Q)) == []


def _moved(metres, radians):
    T = Fr3Kinematics().fk(FR3_HOME_Q)
    T[0, 3] += metres
    T[:3, :3] = so3_exp(np.array([0.0, 0.0, radians])) @ T[:3, :3]
    return T


def moving(dog, n=60, speed=0.5):
    for i in range(n):
        command(dog, FR3_HOME_Q + speed * 0.01 * i, i * NS // 100)
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
        command(dog, FR3_HOME_Q, i * NS // 100)
    dog.arm(state(stamp_ns=10 * NS))
    assert dog.lag_s == 0.0


def test_malformed_thresholds_are_named():
    with pytest.raises(ConfigError, match="tracking_rad"):
        replace(CONFIG, tracking_rad=0.0)

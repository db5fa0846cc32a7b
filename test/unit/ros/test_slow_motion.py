import numpy as np
import pytest

from action_images_ros.errors import ConfigError
from action_images_ros.ros.slow_motion import SlowMotion

START, GOAL = np.zeros(7), np.array([0.5, -0.3, 0.2, 0.1, 0.0, -0.4, 0.8])
DT = 0.02


def played(motion, goes):
    """q (N, 7) and dq (N, 7) while `goes(k)` says whether it may go."""
    rows = []
    for k in range(5000):
        rows.append(motion.advance(DT, goes(k)))
        if motion.done:
            break
    return (np.array(v) for v in zip(*rows))


def test_it_arrives_straight_and_no_faster_than_told():
    motion = SlowMotion(START, GOAL, 0.2)
    q, dq = played(motion, lambda k: True)
    np.testing.assert_allclose(q[-1], GOAL, atol=1e-12)
    assert np.abs(dq).max() <= 0.2 + 1e-9
    assert np.linalg.matrix_rank(q - START, tol=1e-9) == 1
    np.testing.assert_allclose(np.diff(q, axis=0) / DT, dq[1:], atol=0.01)


def test_it_brakes_along_its_way_and_goes_on_when_let():
    motion = SlowMotion(START, GOAL, 0.3)
    q, dq = played(motion, lambda k: not 60 <= k < 120)
    still = np.flatnonzero(np.abs(np.diff(q, axis=0)).max(1) == 0)
    assert 60 < still[0] <= 82 and still[-1] == 118
    assert np.abs(np.diff(dq, axis=0)).max() / DT < 1.5
    np.testing.assert_allclose(q[-1], GOAL, atol=1e-12)


def test_the_stop_path_is_what_braking_does():
    motion = SlowMotion(START, GOAL, 0.3)
    for _ in range(80):
        q, _ = motion.advance(DT, True)
    times, path, speeds = motion.stop_path()
    assert np.all(np.diff(times) > 0) and times[-1] <= 0.5
    assert not speeds[-1].any()
    for _ in range(40):
        rest, _ = motion.advance(DT, False)
    assert motion.at_rest and not motion.done
    np.testing.assert_allclose(path[-1], rest, atol=2e-3)
    assert motion.stop_path()[0].size == 0


def test_a_speed_must_be_one():
    with pytest.raises(ConfigError, match="speed is 0.0 rad/s"):
        SlowMotion(START, GOAL, 0.0)

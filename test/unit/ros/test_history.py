"""The arm's state at a moment."""

import numpy as np
import pytest

from action_images_ros.ros.history import StateHistory
from action_images_ros.types import RobotState

MS = 1_000_000


def state(ms: float) -> RobotState:
    return RobotState(np.full(7, ms), np.full(7, 2 * ms), 0.001 * ms, round(ms * MS))


def test_between_two_states_it_is_linear():
    h = StateHistory()
    for ms in (10, 20, 30):
        h.add(state(ms))
    got = h.at(24 * MS)
    np.testing.assert_allclose(got.q, np.full(7, 24.0))
    assert got.gripper_width_m == pytest.approx(0.024) and got.stamp_ns == 24 * MS
    np.testing.assert_array_equal(h.at(20 * MS).q, np.full(7, 20.0))


def test_outside_it_tells_only_what_is_near():
    h = StateHistory(max_gap_s=0.05)
    assert h.at(0) is None
    h.add(state(100))
    assert h.at(140 * MS).stamp_ns == 100 * MS and h.at(60 * MS).stamp_ns == 100 * MS
    assert h.at(151 * MS) is None
    h.add(state(400))
    assert h.at(250 * MS) is None


def test_a_state_that_is_not_newer_is_ignored():
    h = StateHistory()
    h.add(state(20))
    h.add(state(10))
    assert h.newest.stamp_ns == 20 * MS and h.at(10 * MS).stamp_ns == 20 * MS

"""Paths: interpolation exactness, smoothness, and durations that cover rotation as well as translation."""

import numpy as np
import pytest

from action_images_ros.control import FR3_HOME_Q, JointPath, PosePath
from action_images_ros.control.trajectory import Interpolation
from action_images_ros.errors import ControlError
from action_images_ros.geometry.se3 import angle_between, make, so3_exp


def path(positions, rotvecs=None, dt=0.4, openness=None, interpolation=Interpolation.SPLINE):
    p = np.asarray(positions, float)
    w = np.zeros_like(p) if rotvecs is None else np.asarray(rotvecs, float)
    o = np.ones(len(p)) if openness is None else np.asarray(openness, float)
    return PosePath(dt * np.arange(len(p)), make(so3_exp(w), p), o, np.zeros(len(p)), interpolation=interpolation)


@pytest.mark.parametrize("interpolation", list(Interpolation))
def test_passes_through_its_knots_and_holds_outside(interpolation):
    line = path([[0, 0, 0], [0.1, 0, 0], [0.1, 0.2, 0]], [[0, 0, 0], [0, 0, 1], [1, 0, 1]], interpolation=interpolation)
    np.testing.assert_allclose(line.sample(line.times_s), line.base_T_tcps, atol=1e-12)
    np.testing.assert_allclose(line.sample(np.array([-1.0, 9.0])), line.base_T_tcps[[0, -1]], atol=1e-12)


@pytest.mark.parametrize("interpolation", list(Interpolation))
def test_a_straight_line_at_constant_speed_stays_one(interpolation):
    line = path(np.outer(np.arange(6), [0.06, 0.0, -0.03]), np.outer(np.arange(6), [0, 0.1, 0]),
                interpolation=interpolation)
    t = np.linspace(0.0, 2.0, 41)
    got = line.sample(t)
    np.testing.assert_allclose(got[:, :3, 3], np.outer(t / 0.4, [0.06, 0.0, -0.03]), atol=1e-12)
    np.testing.assert_allclose(got[:, :3, :3], so3_exp(np.outer(t / 0.4, [0, 0.1, 0])), atol=1e-12)


def test_the_spline_never_overshoots_where_motion_stops_and_has_no_corner():
    line = path([[0, 0, 0], [0.06, 0, 0], [0.12, 0, 0], [0.12, 0, 0], [0.12, 0, 0]])
    t = np.linspace(0.0, 1.6, 801)
    x = line.sample(t)[:, 0, 3]
    assert x.max() <= 0.12 + 1e-12
    speed = np.diff(x) / np.diff(t)
    assert np.abs(np.diff(speed)).max() < 0.01


def test_the_gripper_is_a_step():
    line = path(np.zeros((3, 3)), openness=[1.0, 0.0, 1.0])
    np.testing.assert_array_equal(line.openness_at(np.array([-1.0, 0.0, 0.39, 0.4, 0.79, 0.8, 5.0])),
                                  [1, 1, 1, 0, 0, 1, 1])


def test_retiming_stretches_for_translation_and_for_rotation_and_tells_the_time_used():
    line = path([[0, 0, 0], [0.2, 0, 0], [0.2, 0, 0], [0.21, 0, 0]], [[0, 0, 0], [0, 0, 0], [0, 0, 1.0], [0, 0, 1.0]])
    slower, used = line.retimed(max_linear_mps=0.1, max_angular_radps=0.5)
    np.testing.assert_allclose(np.diff(slower.times_s), [2.0, 2.0, 0.4])
    assert used == pytest.approx(4.4)
    np.testing.assert_array_equal(slower.base_T_tcps, line.base_T_tcps)
    assert line.end_s == pytest.approx(1.2)


def test_retiming_never_hurries():
    line = path(np.zeros((4, 3)))
    same, used = line.retimed(0.1, 0.1)
    np.testing.assert_allclose(same.times_s, line.times_s)
    assert used == pytest.approx(1.2)


def test_half_a_turn_is_taken_once_around():
    line = path(np.zeros((2, 3)), [[0, 0, 0], [0, 0, np.pi - 1e-9]])
    middle = line.sample(np.array([0.2]))[0]
    assert angle_between(middle[:3, :3], np.eye(3)) == pytest.approx(np.pi / 2, abs=1e-6)


@pytest.mark.parametrize("times", [[0.0, 0.0], [0.4, 0.0]])
def test_times_must_increase(times):
    with pytest.raises(ControlError, match="increase"):
        PosePath(np.array(times), np.stack([np.eye(4)] * 2), np.ones(2), np.zeros(2))


def joint_path(dq=None, ddq=None):
    rng = np.random.default_rng(3)
    q = FR3_HOME_Q + np.cumsum(rng.normal(scale=0.05, size=(8, 7)), axis=0)
    times = np.concatenate([[0.0], np.cumsum(rng.uniform(0.1, 0.3, 7))])
    return q, times, JointPath.through(times, q, dq, ddq)


def test_joint_path_meets_its_knots_its_start_and_rests_at_the_end():
    dq, ddq = np.linspace(-0.3, 0.3, 7), np.linspace(1.0, -1.0, 7)
    q, times, found = joint_path(dq, ddq)
    np.testing.assert_allclose(found.positions(times), q, atol=1e-12)
    start = found.sample(0.0)
    np.testing.assert_allclose(start[1], dq, atol=1e-12)
    np.testing.assert_allclose(start[2], ddq, atol=1e-12)
    np.testing.assert_allclose(found.sample(times[-1] - 1e-9)[1], 0.0, atol=1e-6)
    np.testing.assert_array_equal(found.sample(times[-1] + 1.0)[1], 0.0)


def test_joint_path_is_twice_continuously_differentiable():
    _, times, found = joint_path(np.zeros(7), np.zeros(7))
    for t in times[1:-1]:
        before, after = found.sample(t - 1e-7), found.sample(t + 1e-7)
        for a, b, tolerance in zip(before, after, (1e-6, 1e-5, 1e-3), strict=True):
            np.testing.assert_allclose(a, b, atol=tolerance)


def test_joint_path_derivatives_are_those_of_its_positions():
    _, times, found = joint_path()
    t, h = 0.5 * times[-1], 1e-4
    numeric = (found.positions(np.array([t + h])) - found.positions(np.array([t - h])))[0] / (2 * h)
    np.testing.assert_allclose(found.sample(t)[1], numeric, atol=1e-5)
    inside = found.inside(4)
    np.testing.assert_allclose(inside[0][:, 0], found.q[:-1], atol=1e-12)
    np.testing.assert_allclose(inside[1][2, 0], found.sample(times[2])[1], atol=1e-9)

"""The follower alone: an ideal arm integrates what it is told, one call every 8 ms."""

import numpy as np
import pytest

from action_images_ros.arm.follower import Follower, FollowerConfig
from action_images_ros.control import FR3_HOME_Q, FR3_LIMITS, LimitScales
from action_images_ros.errors import ConfigError

DT_S = 0.008
LIMITS = FR3_LIMITS.scaled(LimitScales(0.3, 0.5, 0.6))


def drive(follower: Follower, targets, dt_s=DT_S) -> tuple[np.ndarray, np.ndarray]:
    """Reference q and its velocity at every call."""
    q, dq = [], []
    for target in targets:
        follower.follow(target, dt_s)
        q.append(follower.q)
        dq.append(follower._limiter.last.dq)
    return np.array(q), np.array(dq)


def started() -> Follower:
    follower = Follower(LIMITS)
    follower.reset(FR3_HOME_Q)
    return follower


def test_a_step_is_reached_inside_the_limits_and_without_overshoot():
    goal = FR3_HOME_Q + 0.4
    q, dq = drive(started(), [goal] * 400)
    np.testing.assert_allclose(q[-1], goal, atol=1e-3)
    assert np.all(np.abs(dq) <= 0.3 * FR3_LIMITS.dq_max + 1e-9)
    assert np.abs(np.diff(dq, axis=0)).max() / DT_S <= LIMITS.ddq_max.max() + 1e-6
    assert np.all(q <= goal + 2e-3)


def test_a_moving_target_is_trailed_by_the_smoothing_time():
    t = DT_S * np.arange(1, 300)
    targets = FR3_HOME_Q + 0.1 * t[:, None]
    q, dq = drive(started(), targets)
    np.testing.assert_allclose(dq[-1], 0.1, atol=1e-3)
    lag_s = (targets[-1] - q[-1]) / 0.1
    np.testing.assert_allclose(lag_s, FollowerConfig().smoothing_s, atol=0.012)


def test_jitter_of_arrival_does_not_reach_the_arm():
    """The target advances in steps at random instants; the velocity hardly knows."""
    rng, t = np.random.default_rng(0), DT_S * np.arange(1, 400)
    late = np.maximum.accumulate(t - rng.uniform(0.0, 0.006, len(t)))
    _, dq = drive(started(), FR3_HOME_Q + 0.2 * late[:, None])
    settled = dq[100:]
    assert np.abs(settled - 0.2).max() < 0.03
    assert np.abs(np.diff(0.2 * late)).max() / DT_S > 0.3  # what went in was not smooth


def test_brake_comes_to_rest_as_quickly_as_the_limits_let():
    follower = started()
    drive(follower, FR3_HOME_Q + 0.5 * DT_S * np.arange(1, 200)[:, None])
    assert not follower.at_rest
    calls = 0
    while not follower.at_rest:
        follower.brake(DT_S)
        calls += 1
    assert DT_S * calls < 0.25
    np.testing.assert_allclose(follower.velocity(follower.q, follower.q), 0.0, atol=1e-3)


def test_periods_may_vary():
    """The same motion in even and uneven steps of time."""
    rng = np.random.default_rng(1)
    steps = rng.uniform(0.002, 0.014, 250)
    uneven, even = started(), started()
    for dt_s in steps:
        uneven.follow(FR3_HOME_Q + 0.2, dt_s)
    for _ in range(250):
        even.follow(FR3_HOME_Q + 0.2, steps.mean())
    np.testing.assert_allclose(uneven.q, even.q, atol=2e-3)


def test_velocity_corrects_the_set_point_and_the_measurement():
    follower, c = started(), FollowerConfig()
    behind = FR3_HOME_Q - 0.01
    np.testing.assert_allclose(follower.velocity(behind, behind), c.gain_hz * 0.01, rtol=1e-9)
    inside = follower.velocity(FR3_HOME_Q + 0.5 * c.slack_rad, FR3_HOME_Q)
    np.testing.assert_allclose(inside, 0.0, atol=1e-12)


def test_an_arm_that_is_held_back_leans_only_so_far():
    """However far the measurement stays behind, the set point stops lean_rad beyond the target."""
    follower, c = started(), FollowerConfig()
    stuck, q_d = FR3_HOME_Q - 0.3, FR3_HOME_Q.copy()
    for _ in range(2000):
        follower.follow(FR3_HOME_Q, DT_S)
        q_d = q_d + DT_S * follower.velocity(stuck, q_d)
    np.testing.assert_allclose(q_d - FR3_HOME_Q, c.lean_rad, atol=1e-3)


def test_velocities_keep_the_bounds_of_the_position():
    follower = started()
    far = follower.velocity(FR3_HOME_Q - 2.0, FR3_HOME_Q - 2.0)
    low, high = LIMITS.velocity_bounds(FR3_HOME_Q - 2.0)
    assert np.all(far <= high + 1e-12) and np.all(far >= low - 1e-12)


@pytest.mark.parametrize("given", [{"smoothing_s": 0.0}, {"lead_s": 1.0}, {"gain_hz": 100.0}, {"lean_rad": -0.1}])
def test_illegal_values_are_named(given):
    with pytest.raises(ConfigError, match=f"{next(iter(given))} is .*legal"):
        FollowerConfig(**given)

"""Joint limits against the values of Franka's published table and libfranka's bounds at known joints."""

import numpy as np
import pytest

from action_images_ros.control import FR3_HOME_Q, FR3_LIMITS, LimitScales
from action_images_ros.errors import ConfigError


def test_velocity_bound_in_the_middle_of_the_range_is_the_datasheets():
    low, high = FR3_LIMITS.velocity_bounds(np.array([0.0, 0.0, 0.0, -1.5, 0.0, 2.5, 0.0]))
    np.testing.assert_allclose(high, [2.62, 2.62, 2.62, 2.62, 5.26, 4.18, 5.26])
    np.testing.assert_allclose(low, -high)


def test_velocity_bound_near_the_upper_end_follows_the_published_formula():
    q = np.array([2.7, 1.7, 2.85, -0.2, 2.75, 4.45, 2.95])
    _, high = FR3_LIMITS.velocity_bounds(q)
    want = [-0.30 + np.sqrt(12.0 * (2.7501 - 2.7)), -0.20 + np.sqrt(5.17 * (1.7918 - 1.7)),
            -0.20 + np.sqrt(7.0 * (2.9065 - 2.85)), -0.30 + np.sqrt(8.0 * (-0.1458 + 0.2)),
            -0.35 + np.sqrt(34.0 * (2.8101 - 2.75)), -0.35 + np.sqrt(11.0 * (4.5205 - 4.45)),
            -0.35 + np.sqrt(34.0 * (3.0196 - 2.95))]
    np.testing.assert_allclose(high, want, rtol=1e-9)


def test_no_velocity_out_of_the_range_but_full_velocity_back_into_it():
    low, high = FR3_LIMITS.velocity_bounds(FR3_LIMITS.q_max)
    assert np.all(high < 0.05)
    np.testing.assert_allclose(low, -FR3_LIMITS.dq_max)


def test_the_bound_falls_monotonically_towards_the_end():
    q = np.linspace(FR3_HOME_Q, FR3_LIMITS.q_max, 50)
    _, high = FR3_LIMITS.velocity_bounds(q)
    assert np.all(np.diff(high, axis=0) <= 0.0)


def test_scaling_scales_rates_and_leaves_positions():
    scaled = FR3_LIMITS.scaled(LimitScales(0.5, 0.25, 0.1))
    np.testing.assert_allclose(scaled.velocity_bounds(FR3_HOME_Q)[1], 0.5 * FR3_LIMITS.velocity_bounds(FR3_HOME_Q)[1])
    np.testing.assert_allclose(scaled.ddq_max, 2.5)
    np.testing.assert_allclose(scaled.dddq_max, 500.0)
    np.testing.assert_array_equal(scaled.q_max, FR3_LIMITS.q_max)


@pytest.mark.parametrize("scale", [0.0, -0.1, 1.01, float("nan")])
def test_illegal_scale_is_named(scale):
    with pytest.raises(ConfigError, match="velocity"):
        LimitScales(velocity=scale)


def test_margin_is_negative_beyond_an_end():
    q = FR3_HOME_Q.copy()
    q[3] = -0.1
    assert FR3_LIMITS.margin(q)[3] < 0.0
    assert np.all(np.delete(FR3_LIMITS.margin(q), 3) > 0.0)

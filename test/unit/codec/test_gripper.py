import numpy as np

from action_images_ros.codec import DecodeConfig
from action_images_ros.codec.gripper import pedestal_share, with_hysteresis

X, Y = np.arange(30.0), np.arange(20.0)


def planes(level: float, views: int = 2) -> np.ndarray:
    """(1, V, 20, 30): a pedestal of `level` under a blob at (12, 8)."""
    g = np.exp(-0.5 * ((X - 12) ** 2 + (Y[:, None] - 8) ** 2) / 9)
    return np.tile(np.where(g <= 0.25, level, g), (1, views, 1, 1))


def share(blue: np.ndarray) -> np.ndarray:
    views = blue.shape[1]
    centres, widths = np.tile([12.0, 8.0], (1, views, 1, 1)), np.full((1, views, 1), 3.0)
    return pedestal_share(blue, X, Y, centres, widths, 0.25)


def test_the_share_is_the_height_of_the_pedestal():
    for level in (0.0, 0.1, 0.25):
        np.testing.assert_allclose(share(planes(level)), level / 0.25, atol=1e-6)


def test_views_are_averaged():
    np.testing.assert_allclose(share(np.concatenate([planes(0.25, 1), planes(0.15, 1)], 1)), [0.8], atol=1e-6)


def test_a_minority_of_wrong_cells_does_not_count():
    blue = planes(0.25)
    blue[..., :, 22:] = 0.0
    np.testing.assert_allclose(share(blue), [1.0])


def test_a_view_without_low_cells_does_not_count():
    blue = np.concatenate([planes(0.25, 1), np.ones((1, 1, 20, 30))], 1)
    np.testing.assert_allclose(share(blue), [1.0])
    assert np.isnan(share(np.ones((1, 2, 20, 30)))).all()


def test_a_state_is_kept_inside_the_band():
    shares = np.array([0.9, 0.55, 0.45, 0.39, 0.45, 0.59, 0.61, 0.5])
    np.testing.assert_array_equal(with_hysteresis(shares, DecodeConfig()), [1, 1, 1, 0, 0, 0, 1, 1])


def test_the_first_step_is_read_by_the_middle_and_unknown_steps_keep_the_state():
    assert with_hysteresis(np.array([0.51]), DecodeConfig()) == [1]
    assert with_hysteresis(np.array([0.49]), DecodeConfig()) == [0]
    np.testing.assert_array_equal(with_hysteresis(np.array([np.nan, 0.9, np.nan, 0.1]), DecodeConfig()), [1, 1, 1, 0])


def test_the_band_is_configured():
    config = DecodeConfig(gripper_open=0.95, gripper_closed=0.05)
    np.testing.assert_array_equal(with_hysteresis(np.array([0.0, 0.9, 1.0, 0.1]), config), [0, 0, 1, 1])

"""Gripper: hysteresis, dwell, commands only on change."""

import pytest

from action_images_ros.control import GripperConfig, GripperLogic
from action_images_ros.errors import ConfigError


def commands(openness, width=0.08, period_s=0.1, **config):
    logic = GripperLogic(GripperConfig(**config))
    logic.follow(width)
    return [logic.update(o, i * period_s) for i, o in enumerate(openness)]


def test_closes_once_and_only_once():
    assert commands([1.0, 0.0, 0.0, 0.0, 0.0]) == [None, 0.0, None, None, None]


def test_starts_as_the_hand_is():
    assert commands([0.0, 0.0], width=0.01) == [None, None]
    assert commands([1.0], width=0.01) == [0.08]


def test_noise_between_the_thresholds_changes_nothing():
    assert commands([0.55, 0.45, 0.59, 0.41] * 5) == [None] * 20


def test_two_commands_are_at_least_the_dwell_apart():
    found = commands([0.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0], min_dwell_s=0.55)
    assert [i for i, width in enumerate(found) if width is not None] == [0, 6]


def test_a_hand_of_unknown_width_is_told_the_first_clear_wish_and_no_doubtful_one():
    assert commands([0.5, 0.5, 1.0, 1.0, 1.0], width=float("nan")) == [None, None, 0.08, None, None]


@pytest.mark.parametrize("bad", [dict(open_above=0.3), dict(closed_width_m=0.09), dict(min_dwell_s=-1.0)])
def test_malformed_configuration_is_refused(bad):
    with pytest.raises(ConfigError):
        GripperConfig(**bad)

import numpy as np
import pytest

from action_images_ros.calibration.stillness import StillWatcher
from action_images_ros.errors import CalibrationError

S = 10**9


def fed(rows, **config):
    watcher = StillWatcher(**{"settle_s": 0.5, "moved_rad": 0.01} | config)
    for t, angle in rows:
        watcher.add(np.full(7, angle), round(t * S))
    return watcher


def test_an_arm_rests_once_it_has_not_moved_for_the_settling_time():
    assert fed([(0.0, 0.0), (0.4, 0.0)]).rest_ns is None
    assert fed([(0.0, 0.0), (0.5, 0.005)]).rest_ns == 0
    assert fed([(0.0, 0.0), (0.5, 0.005), (0.6, 0.02)]).rest_ns is None


def test_slow_creeping_is_no_rest():
    creeping = [(0.1 * k, 0.004 * k) for k in range(30)]
    assert fed(creeping).rest_ns is None


def test_only_pictures_from_within_the_settled_rest_show_it():
    watcher = fed([(0.0, 1.0), (1.0, 0.0), (1.3, 0.0), (2.0, 0.0)])
    shown = [watcher.shows_rest(round(t * S)) for t in (0.5, 1.2, 1.6, 2.0, 2.1)]
    assert shown == [False, False, True, True, False]


def test_the_reading_is_the_mean_of_the_settled_rest():
    watcher = fed([(0.0, 0.0), (0.1, 0.009), (0.6, 0.002), (0.7, 0.004)])
    np.testing.assert_allclose(watcher.reading, 0.003)
    watcher.add(np.full(7, 0.5), S)
    assert watcher.reading is None


def test_old_readings_are_ignored():
    watcher = fed([(0.0, 0.0), (0.6, 0.0)])
    watcher.add(np.full(7, 0.5), round(0.3 * S))
    assert watcher.rest_ns == 0


def test_settings_are_checked():
    with pytest.raises(CalibrationError, match="settle_s is 0"):
        StillWatcher(settle_s=0.0)

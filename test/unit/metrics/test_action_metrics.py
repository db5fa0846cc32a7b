from dataclasses import replace

import numpy as np
import pytest

from action_images_ros.codec import encode
from action_images_ros.errors import EncodingError
from action_images_ros.geometry import PinholeCamera, so3_exp
from action_images_ros.geometry.se3 import make
from action_images_ros.metrics.actions import (
    angle_error_rad,
    bridged,
    mask_jaccard,
    pixel_error,
    point_jaccard,
    position_error_m,
)
from action_images_ros.metrics.intervals import bootstrap_interval
from action_images_ros.types import ActionChunk

DOWN = np.diag([1.0, -1.0, -1.0])
K = np.array([[100.0, 0, 47.5], [0, 100.0, 47.5], [0, 0, 1]])
CAMERA = PinholeCamera(K, (96, 96), make(DOWN, np.array([0.5, 0, 1.2])))


def poses(n, step=(0.01, 0.0, 0.0)):
    return make(np.repeat(DOWN[None], n, 0), np.array([0.5, 0.0, 0.2]) + np.arange(n)[:, None] * np.array(step))


def test_steps_that_are_not_credible_are_bridged_and_after_the_last_it_stays():
    truth = poses(6)
    wrong = truth.copy()
    wrong[[2, 3, 5], :3, 3] += 0.5
    credible = np.array([False, True, False, False, True, False])
    chunk = replace(ActionChunk.from_poses(wrong, np.ones(6)), credible=credible)
    assert np.abs(bridged(chunk)[:5] - truth[:5]).max() < 1e-12
    assert np.array_equal(bridged(chunk)[5], truth[4])
    assert np.array_equal(bridged(replace(chunk, credible=np.ones(6, bool))), wrong)


def test_known_errors():
    truth = poses(3)
    made = truth.copy()
    made[1, :3, 3] += (0.003, 0.004, 0.0)
    made[2, :3, :3] = so3_exp(np.array([0.0, 0.2, 0.0])) @ made[2, :3, :3]
    assert position_error_m(truth, made) == pytest.approx([0, 0.005, 0])
    assert angle_error_rad(truth, made) == pytest.approx([0, 0, 0.2], abs=1e-9)


def test_pixel_error_is_the_shift_on_the_image():
    points = poses(2)[:, None, :3, 3]
    error = pixel_error(points, points + (0.05, 0.0, 0.0), [CAMERA])
    assert error.shape == (2, 1, 1)
    assert error == pytest.approx(100.0 * 0.05 / 1.0)


def test_mask_overlap_of_shifted_squares():
    truth, made = np.zeros((2, 1, 20, 20, 3), np.uint8)[:1], np.zeros((1, 1, 20, 20, 3), np.uint8)
    truth[0, 0, 4:12, 4:12, 0] = 255
    made[0, 0, 4:12, 6:14, 0] = 150
    low, high = mask_jaccard(truth, made, (0.5, 0.7))
    assert low == pytest.approx(48 / 80), "6 of 8 columns shared, 10 covered"
    assert high == 0.0
    assert np.isnan(mask_jaccard(np.zeros_like(truth), np.zeros_like(made), (0.5,))).all()


def test_mask_overlap_is_of_blobs_not_of_the_gripper_pedestal():
    opened, closed = (encode(poses(3), np.full(3, g), [CAMERA]) for g in (1.0, 0.0))
    assert mask_jaccard(opened, closed).min() > 0.99
    assert mask_jaccard(opened, encode(poses(3) + _shift(0.02), np.ones(3), [CAMERA])).max() < 0.9


def _shift(x):
    out = np.zeros((4, 4))
    out[0, 3] = x
    return out


def test_point_jaccard_counts_a_wrong_point_twice_and_a_hidden_one_once():
    error = np.array([0.5, 0.5, 3.0, 0.5])
    shown = np.array([True, True, True, False])
    # within 2: two hits, one shown miss, two points not hit; within 4: three hits, one not hit
    assert point_jaccard(error, shown, 256, (2.0, 4.0)) == pytest.approx([2 / 5, 3 / 4])
    assert point_jaccard(error, shown, 128, (2.0,)) == pytest.approx([2 / 5]), "half the image, double the distance"
    assert point_jaccard(error, shown, 64, (2.0,)) == pytest.approx([0.0])
    assert point_jaccard(np.array([np.nan]), np.array([True]), 256, (2.0,)) == pytest.approx([0.0])


def test_images_that_do_not_fit_are_refused():
    with pytest.raises(EncodingError, match="one shape"):
        mask_jaccard(np.zeros((1, 1, 4, 4, 3), np.uint8), np.zeros((1, 1, 4, 5, 3), np.uint8))


def test_bootstrap_interval_covers_the_mean_as_often_as_it_says():
    rng = np.random.default_rng(0)
    inside = 0
    for _ in range(200):
        low, high = bootstrap_interval(rng.normal(1.0, 2.0, 40), rng)
        inside += low <= 1.0 <= high
    assert 178 <= inside <= 200
    assert np.isnan(bootstrap_interval(np.array([1.0, np.nan]), rng)).all()

import numpy as np
import pytest
from cell import errors, looking_at_work, motion, two_views

from action_images_ros.codec import ActionEncoding, DecodeConfig, decode, encode
from action_images_ros.codec.encoding import encode_float
from action_images_ros.errors import ConfigError, EncodingError
from action_images_ros.geometry.se3 import so3_log

LENS = [-0.12, 0.03, 0.001, -0.0008, 0.0]


def as_bytes(images: np.ndarray) -> np.ndarray:
    return np.rint(np.clip(images, 0, 1) * 255).astype(np.uint8)


def blob(centre, sigma: float, size: int) -> np.ndarray:
    x, y = (np.exp(-0.5 * ((np.arange(size) - c) / sigma) ** 2) for c in centre)
    return y[:, None] * x


@pytest.mark.parametrize("size, mm, deg", [(512, 0.01, 0.01), (256, 0.02, 0.02), (128, 0.05, 0.05), (96, 0.1, 0.1),
                                           (24, 0.4, 0.4)])
def test_exact_images_give_the_poses_back(size, mm, deg):
    cameras, (poses, openness) = two_views((size, size)), motion(7)
    chunk = decode(encode(poses, openness, cameras), cameras)
    position, rotation = errors(chunk, poses)
    assert chunk.credible.all() and position.max() < mm and rotation.max() < deg
    np.testing.assert_array_equal(chunk.openness, openness)
    assert chunk.reproj_rms_px.max() < 0.01


def test_distorted_lenses_and_wide_images():
    cameras, (poses, openness) = two_views((320, 240), LENS), motion(5, seed=2)
    chunk = decode(encode(poses, openness, cameras), cameras)
    position, rotation = errors(chunk, poses)
    assert chunk.credible.all() and position.max() < 0.05 and rotation.max() < 0.05


def test_images_of_floats_are_bytes_over_255():
    cameras, (poses, openness) = two_views(), motion(4)
    images = encode(poses, openness, cameras)
    one, other = decode(images, cameras), decode(images.astype(np.float32) / 255, cameras)
    np.testing.assert_allclose(other.base_T_tcps, one.base_T_tcps, atol=1e-6)


def test_more_views_are_better_than_two():
    cameras = [looking_at_work(a) for a in (32, -33, 90, 150)]
    poses, openness = motion(20, seed=4)
    noisy = as_bytes(encode_float(poses, openness, cameras)
                     + np.random.default_rng(0).normal(0, 0.05, (20, 4, 128, 128, 3)))
    two, four = decode(noisy[:, :2], cameras[:2]), decode(noisy, cameras)
    assert four.credible.all()
    assert errors(four, poses)[0].mean() < 0.8 * errors(two, poses)[0].mean()


def test_another_encoding_is_decoded_by_its_own_rules():
    encoding = ActionEncoding(axis_length_m=0.07, green_axis="-z", blue_axis="+y", sigma_fraction=0.04, pedestal=0.3)
    cameras, (poses, openness) = two_views(), motion(5, seed=1)
    chunk = decode(encode(poses, openness, cameras, encoding), cameras, encoding)
    assert chunk.credible.all() and errors(chunk, poses)[0].max() < 0.1
    np.testing.assert_array_equal(chunk.openness, openness)


def test_covariance_is_that_of_the_errors():
    """Normalised squared errors of many noisy steps average to their 6 degrees of freedom."""
    cameras, (poses, openness) = two_views((96, 96)), motion(120, seed=3)
    noise = np.random.default_rng(1).normal(0, 0.03, (120, 2, 96, 96, 3))
    chunk = decode(encode_float(poses, openness, cameras) + noise, cameras)
    delta = np.concatenate([poses[:, :3, 3] - chunk.base_T_tcps[:, :3, 3], _turn(poses, chunk)], -1)
    squared = np.einsum("ti,tij,tj->t", delta, np.linalg.inv(chunk.covariance), delta)
    assert chunk.credible.all() and 4.5 < squared.mean() < 7.5


def _turn(poses: np.ndarray, chunk) -> np.ndarray:
    return so3_log(poses[:, :3, :3] @ np.swapaxes(chunk.base_T_tcps[:, :3, :3], -1, -2))


def test_noise_costs_no_more_than_it_must():
    """At 128 px and noise 0.03 a perfect decoder has 0.25 mm and 0.2 degrees in this cell."""
    cameras, (poses, openness) = two_views(), motion(41, seed=5)
    noise = np.random.default_rng(2).normal(0, 0.03, (41, 2, 128, 128, 3))
    chunk = decode(as_bytes(encode_float(poses, openness, cameras) + noise), cameras)
    position, rotation = errors(chunk, poses)
    assert chunk.credible.all() and np.median(position) < 0.4 and np.median(rotation) < 0.35
    np.testing.assert_array_equal(chunk.openness, openness)


def test_a_ghost_is_not_taken_for_the_blob():
    cameras, (poses, openness) = two_views(), motion(9, seed=6)
    images = encode_float(poses, openness, cameras)
    for t in range(9):
        view, colour = t % 2, t % 3
        ghost = 0.6 * blob((20 + 10 * t, 110 - 9 * t), 6.4, 128)
        images[t, view, :, :, colour] = np.maximum(images[t, view, :, :, colour], ghost)
    chunk = decode(as_bytes(images), cameras)
    position, rotation = errors(chunk, poses)
    assert chunk.credible.all() and position.max() < 2 and rotation.max() < 2


def test_a_ghost_stronger_than_the_blob_is_seen_through():
    cameras, (poses, openness) = two_views(), motion(5, seed=7)
    images = encode_float(poses, openness, cameras)
    images[2, 0, :, :, 1] = np.maximum(0.7 * images[2, 0, :, :, 1], blob((15, 110), 6.4, 128))
    chunk = decode(as_bytes(images), cameras)
    position, rotation = errors(chunk, poses)
    assert chunk.credible.all() and position.max() < 0.5 and rotation.max() < 0.5


@pytest.mark.parametrize("colour", [0, 1, 2])
def test_one_missing_blob_is_borne_or_flagged(colour):
    cameras, (poses, openness) = two_views(), motion(9, seed=8)
    images = encode_float(poses, openness, cameras)
    images[4, 1, :, :, colour] = 0.0 if colour < 2 else 0.25 * openness[4]
    chunk = decode(as_bytes(images), cameras)
    position, rotation = errors(chunk, poses)
    assert chunk.credible.sum() >= 8
    assert position[chunk.credible].max() < 1 and rotation[chunk.credible].max() < 1


def test_a_view_without_blobs_is_never_guessed():
    cameras, (poses, openness) = two_views(), motion(4)
    images = encode(poses, openness, cameras)
    images[1:3, 1, :, :, :2] = 0
    images[1:3, 1, :, :, 2] = 64
    chunk = decode(images, cameras)
    np.testing.assert_array_equal(chunk.credible, [True, False, False, True])
    assert "too few blobs" in chunk.why[1] and chunk.why[0] == ""


def test_a_third_view_makes_up_for_a_lost_one():
    cameras, (poses, openness) = [looking_at_work(a) for a in (32, -33, 85)], motion(4)
    images = encode(poses, openness, cameras)
    images[:, 1] = 0
    chunk = decode(images, cameras)
    assert chunk.credible.all() and errors(chunk, poses)[0].max() < 0.1


def test_a_blob_cut_by_the_border_still_counts():
    poses, openness = motion(9, seed=9)
    cameras = two_views()
    middle = np.median(cameras[0].project(poses[:, :3, 3])[:, 0])
    K = cameras[0].K.copy()
    K[0, 2] -= middle - 1.0
    cameras[0] = type(cameras[0])(K, (128, 128), cameras[0].base_T_camera)
    chunk = decode(encode(poses, openness, cameras), cameras)
    position, rotation = errors(chunk, poses)
    assert chunk.credible.sum() >= 3
    assert position[chunk.credible].max() < 1 and rotation[chunk.credible].max() < 1


def test_a_hazy_background_does_not_pull_the_pose():
    cameras, (poses, openness) = two_views(), motion(6, seed=10)
    y, x = np.mgrid[:128, :128][:, :, :, None] / 128
    haze = 0.05 * (1 + np.cos(2 * np.pi * (np.array([0.9, -0.6, 1.2]) * x + np.array([0.4, 1.0, -0.3]) * y)))
    chunk = decode(as_bytes(encode_float(poses, openness, cameras) + haze), cameras)
    position, rotation = errors(chunk, poses)
    assert chunk.credible.all() and position.max() < 1.5 and rotation.max() < 1.5
    np.testing.assert_array_equal(chunk.openness, openness)


def test_one_blob_in_the_wrong_place_is_left_out_or_flagged():
    cameras, (poses, openness) = two_views(), motion(9, seed=11)
    images = encode(poses, openness, cameras)
    images[3, 0, :, :, 1] = np.roll(images[3, 0, :, :, 1], 12, axis=1)
    images[6, 1, :, :, 0] = np.roll(images[6, 1, :, :, 0], -5, axis=0)
    chunk = decode(images, cameras)
    position, rotation = errors(chunk, poses)
    assert position[chunk.credible].max() < 5 and rotation[chunk.credible].max() < 3
    assert chunk.credible.sum() >= 7


@pytest.mark.parametrize("size", [24, 128])
def test_pictures_without_an_action_are_not_credible(size):
    rng, cameras = np.random.default_rng(0), two_views((size, size))
    shape = (6, 2, size, size, 3)
    pictures = [np.zeros(shape, np.uint8), np.full(shape, 255, np.uint8), np.full(shape, 90, np.uint8),
                rng.integers(0, 256, shape, dtype=np.uint8), (rng.random(shape) < 0.01).astype(np.uint8) * 255]
    for images in pictures:
        chunk = decode(images, cameras)
        assert not chunk.credible.any() and all(chunk.why)
        assert np.isfinite(chunk.base_T_tcps).all()


def test_images_of_another_calibration_are_not_credible():
    poses, openness = motion(6, seed=12)
    chunk = decode(encode(poses, openness, two_views()), [looking_at_work(32), looking_at_work(-10, elevation_deg=55)])
    assert not chunk.credible.any()


def test_swapped_views_are_not_credible():
    cameras, (poses, openness) = two_views(), motion(6, seed=13)
    assert not decode(encode(poses, openness, cameras)[:, ::-1], cameras).credible.any()


def test_steps_are_decoded_each_by_itself():
    cameras, (poses, openness) = two_views(), motion(8, seed=14)
    noise = np.random.default_rng(5).normal(0, 0.05, (8, 2, 128, 128, 3))
    images = as_bytes(encode_float(poses, openness, cameras) + noise)
    whole, part = decode(images, cameras), decode(images[3:5], cameras)
    np.testing.assert_allclose(part.base_T_tcps, whole.base_T_tcps[3:5], atol=1e-9)


def test_a_step_that_leaves_its_path_is_flagged():
    cameras, (poses, openness) = two_views(), motion(41, seed=15)
    poses[20, :3, 3] += [0.0, 0.08, 0.0]
    chunk = decode(encode(poses, openness, cameras), cameras)
    np.testing.assert_array_equal(np.flatnonzero(~chunk.credible), [20])
    assert "path" in chunk.why[20]


def test_weak_blobs_pass_down_to_the_configured_height():
    cameras, (poses, openness) = two_views(), motion(5, seed=16)
    images = encode_float(poses, openness, cameras)
    images[..., :2] *= 0.4
    weak = as_bytes(images)
    assert decode(weak, cameras).credible.all()
    assert not decode(weak, cameras, config=DecodeConfig(min_amplitude=0.5)).credible.any()


def test_images_and_cameras_that_do_not_fit_are_refused():
    cameras, (poses, openness) = two_views(), motion(2)
    images = encode(poses, openness, cameras)
    for bad, cams, words in ((images[:, :1], cameras[:1], "at least 2"), (images, cameras * 2, "2 views"),
                             (images[..., :2], cameras, r"\(T, V, H, W, 3\)"), (images.astype(int), cameras, "int64"),
                             (images.astype(np.float32), cameras, "divide bytes by 255"),
                             (np.full(images.shape, np.nan), cameras, "without NaN"),
                             (images[:, :, :100], cameras, "128x100")):
        with pytest.raises(EncodingError, match=words):
            decode(bad, cams)


@pytest.mark.parametrize("change, words", [
    (dict(min_amplitude=2.0), "min_amplitude"), (dict(gripper_closed=0.7), "gripper_closed"),
    (dict(min_blobs=3), "min_blobs"),
    (dict(max_error_px=0.0), "max_error_px"), (dict(max_candidates=0), "max_candidates"),
])
def test_configurations_out_of_range_are_refused(change, words):
    with pytest.raises(ConfigError, match=words):
        DecodeConfig(**change)

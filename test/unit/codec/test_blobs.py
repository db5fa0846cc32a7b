import numpy as np
import pytest

from action_images_ros.codec import background
from action_images_ros.codec.blobs import fit
from action_images_ros.codec.grid import Grid, add_up, sample

RED, BLUE = np.array([False]), np.array([True])


def plane(x: float, y: float, sigma: float, height: float = 1.0, size: tuple[int, int] = (40, 36)) -> np.ndarray:
    gy, gx = (np.exp(-0.5 * ((np.arange(n) - at) / sigma) ** 2) for n, at in zip(size, (y, x)))
    return (height * gy[:, None] * gx).astype(np.float32)


def fit_one(values: np.ndarray, start: tuple[float, float], blue: bool = False, sigma: float = 3.2):
    grid = Grid(values[None, None, None], 8, sigma)
    return fit(grid, values[None], np.array([start]), np.array([0.7]), BLUE if blue else RED, 0.25)


@pytest.mark.parametrize("height, width", [(1.0, 1.0), (0.5, 0.7), (0.9, 1.4)])
def test_place_height_and_width_are_recovered_from_two_cells_off(height, width):
    blob = fit_one(plane(17.3, 20.8, 3.2 * width, height) + np.float32(0.03), (16.0, 19.5))
    np.testing.assert_allclose(blob.xy[0], [17.3, 20.8], atol=2e-3)
    np.testing.assert_allclose([blob.amplitude[0], np.exp(blob.log_width[0]), blob.offset[0]], [height, width, 0.03],
                               atol=0.01)


@pytest.mark.parametrize("openness", [0.0, 1.0])
def test_the_pedestal_does_not_move_a_blue_blob(openness):
    values = plane(17.3, 20.8, 3.2)
    values = np.where(values <= 0.25, np.float32(0.25 * openness), values)
    np.testing.assert_allclose(fit_one(values, (16.5, 20.0), blue=True).xy[0], [17.3, 20.8], atol=2e-3)


def test_a_blob_cut_at_its_middle_is_found_and_known_less_well():
    whole, cut = fit_one(plane(17.0, 20.0, 3.2), (17.0, 20.0)), fit_one(plane(-0.4, 20.0, 3.2), (1.0, 20.0))
    np.testing.assert_allclose(cut.xy[0], [-0.4, 20.0], atol=0.02)
    assert cut.cov[0, 0, 0] > 2 * whole.cov[0, 0, 0]


def test_a_blob_drawn_too_high_and_clipped_is_still_in_place():
    blob = fit_one(np.minimum(plane(17.3, 20.8, 3.2, 1.3), 1.0), (16.8, 20.0))
    np.testing.assert_allclose(blob.xy[0], [17.3, 20.8], atol=5e-3)
    np.testing.assert_allclose(blob.amplitude[0], 1.3, atol=0.02)


def test_the_covariance_is_that_of_noise():
    rng, truth = np.random.default_rng(0), np.array([17.3, 20.8])
    noisy = plane(*truth, 3.2) + rng.normal(0, 0.02, (300, 40, 36)).astype(np.float32)
    grid = Grid(noisy[:, None, None], 8, 3.2)
    blobs = fit(grid, noisy, np.tile(truth, (300, 1)), np.ones(300), np.zeros(300, bool), 0.25)
    delta = blobs.xy - truth
    squared = np.einsum("ni,nij,nj->n", delta, np.linalg.inv(blobs.cov), delta)
    assert 1.7 < squared.mean() < 2.3
    assert np.sqrt((delta**2).mean()) < 1.1 * 0.798 * 0.02


def test_cells_hold_the_means_of_their_pixels():
    images = np.random.default_rng(0).integers(0, 256, (2, 2, 96, 120, 3), dtype=np.uint8)
    grid = sample(images, 19.0)
    assert grid.cell == 6 and grid.values.shape == (2, 2, 3, 16, 20)
    add_up(grid, images, np.arange(4), np.full((4, 1, 2), 8.0), 30.0)
    means = images.reshape(2, 2, 16, 6, 20, 6, 3).mean((3, 5)) / 255
    np.testing.assert_allclose(grid.values, np.moveaxis(means, -1, 2), atol=1e-5)


def test_only_cells_near_blobs_are_added_up():
    images = np.random.default_rng(0).integers(0, 256, (1, 1, 160, 160, 3), dtype=np.uint8)
    grid, sampled = sample(images, 25.6), sample(images, 25.6)
    add_up(grid, images, np.array([0]), np.array([[[4.0, 4.0]]]), 2.0)
    changed = np.argwhere((grid.values != sampled.values).any((0, 1, 2)))
    assert changed.min() >= 2 and changed.max() <= 6


def test_small_images_are_taken_pixel_by_pixel():
    images = np.random.default_rng(0).random((1, 2, 24, 24, 3)).astype(np.float32)
    grid = sample(images, 1.2)
    assert grid.cell == 1
    np.testing.assert_array_equal(np.moveaxis(grid.values, 2, -1), images)


def test_cells_are_centred_where_their_pixels_are():
    assert Grid(np.zeros((1, 1, 3, 4, 4), np.float32), 8, 3.2).to_px(np.array([0.0, 1.0])).tolist() == [3.5, 11.5]


def test_a_slow_wave_is_told_from_a_blob_and_from_noise():
    y, x = np.mgrid[:64, :64] / 64
    wave = (0.05 * np.cos(2 * np.pi * (0.8 * x + 0.5 * y) + 0.3) + 0.05).astype(np.float32)
    blob = plane(30.0, 33.0, 3.2, size=(64, 64))
    noise = np.random.default_rng(0).normal(0, 0.01, (2, 64, 64)).astype(np.float32)
    planes = np.stack([blob + wave, blob]) + noise
    grid = Grid(planes[:, None, None], 8, 3.2)
    blobs = fit(grid, planes, np.tile([30.0, 33.0], (2, 1)), np.ones(2), np.zeros(2, bool), 0.25)
    coefficients, which = background.estimate(planes, [blobs], grid, np.zeros(2, bool))
    assert which.tolist() == [0]
    np.testing.assert_allclose(background.draw(coefficients, 64, 64)[0], wave, atol=0.012)

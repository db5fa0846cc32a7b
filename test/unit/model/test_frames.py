"""Pixels <-> latents, and the map of pixels that the model's crop and resize carry along."""

import numpy as np
import pytest

from action_images_ros.errors import CameraError
from action_images_ros.model.frames import PixelCodec, model_camera, model_image


@pytest.mark.parametrize("factor", [1, 2, 4])
def test_pixel_codec_gives_every_image_back(factor):
    images = np.random.default_rng(0).integers(0, 256, (2, 3, 8, 12, 3), np.uint8)
    codec = PixelCodec(factor)
    latents = codec.encode(images)
    assert latents.shape == (2, 3, 3 * factor**2, 8 // factor, 12 // factor) and latents.dtype == np.float32
    assert np.array_equal(codec.decode(latents), images)


def test_latents_keep_neighbourhoods():
    """A channel is a colour at one place of its block: (row, column, colour)."""
    images = np.random.default_rng(1).integers(0, 256, (8, 8, 3), np.uint8)
    latents = PixelCodec(4).encode(images)
    assert latents[(2 * 4 + 3) * 3 + 1, 1, 0] == pytest.approx(images[4 + 2, 3, 1] / 127.5 - 1)


def test_decoding_rounds_and_clips():
    latents = np.array([-1.5, -1.0, 0.004, 1.0, 1.5], np.float32).reshape(5, 1, 1, 1).repeat(3, 1)
    assert PixelCodec(1).decode(latents)[:, 0, 0, 0].tolist() == [0, 0, 128, 255, 255]


def test_model_camera_says_where_things_are_in_the_model_image(cameras):
    rng = np.random.default_rng(2)
    for camera in cameras:
        for point in np.array([0.5, 0.0, 0.2]) + rng.uniform(-0.12, 0.12, (8, 3)):
            u, v = camera.project(point)
            x, y = camera.pixel_grid()[..., 0], camera.pixel_grid()[..., 1]
            blob = 255 * np.exp(-((x - u) ** 2 + (y - v) ** 2) / (2 * 9.0**2))
            picture = np.repeat(np.rint(blob)[..., None], 3, -1).astype(np.uint8)
            small = model_image(picture, (96, 96))[..., 0].astype(float)
            seen = model_camera(camera, (96, 96))
            grid = seen.pixel_grid()
            centroid = (small[..., None] * grid).sum((0, 1)) / small.sum()
            assert small.shape == (96, 96) and seen.image_size == (96, 96)
            assert np.abs(centroid - seen.project(point)).max() < 0.03


def test_the_crop_is_the_centre_square():
    image = np.zeros((480, 640, 3), np.uint8)
    image[:, 80:560] = 200
    assert np.all(model_image(image, (96, 96)) == 200)
    assert np.any(model_image(np.roll(image, 8, 1), (96, 96)) != 200)


def test_too_small_a_camera_is_refused(cameras):
    with pytest.raises(CameraError, match="80x60 is smaller than the model's 96x96; set the camera"):
        model_image(np.zeros((60, 80, 3), np.uint8), (96, 96))
    with pytest.raises(CameraError, match="smaller than the model's"):
        model_camera(cameras[0].resized((80, 60)), (96, 96))


def test_a_model_image_must_be_square(cameras):
    with pytest.raises(CameraError, match="must be square"):
        model_camera(cameras[0], (96, 72))

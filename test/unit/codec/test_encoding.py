import numpy as np
import pytest
from cell import looking_at_work, motion, two_views

from action_images_ros.codec import ActionEncoding, encode
from action_images_ros.codec.encoding import draw
from action_images_ros.errors import ActionImagesError, EncodingError


def test_each_colour_peaks_at_its_point_in_each_view():
    cameras, (poses, openness) = two_views(), motion(5)
    images = encode(poses, openness, cameras)
    for v, camera in enumerate(cameras):
        R, p = poses[:, :3, :3], poses[:, :3, 3]
        for c, point in enumerate((p, p + 0.1 * R[:, :, 0], p - 0.1 * R[:, :, 2])):
            flat = images[:, v, :, :, c].reshape(5, -1).argmax(-1)
            np.testing.assert_allclose(np.stack([flat % 128, flat // 128], -1), camera.project(point), atol=0.71)


def test_a_blob_has_the_width_of_the_encoding():
    image = draw(np.array([[[[30.0, 20.0]] * 3]]), np.zeros(1), (80, 60), ActionEncoding(sigma_fraction=0.1))[0, 0]
    assert image.shape == (60, 80, 3)
    assert image[20, 30, 0] == 1.0
    np.testing.assert_allclose(image[20, 36, 0], np.exp(-0.5), rtol=1e-6)
    np.testing.assert_allclose(image[26, 30, 1], np.exp(-0.5), rtol=1e-6)


@pytest.mark.parametrize("openness, level", [(0.0, 0), (1.0, 64), (0.5, 32)])
def test_openness_is_the_pedestal_of_blue(openness, level):
    poses, _ = motion(1)
    blue = encode(poses, np.array([openness]), two_views())[..., 2]
    assert (blue == level).mean() > 0.5 and blue.max() > 250
    assert set(blue[blue < 64].tolist()) <= {level}


def test_green_and_blue_follow_the_axes_of_the_encoding():
    poses, openness = motion(1)
    camera = looking_at_work(0)
    default, swapped = ActionEncoding(), ActionEncoding(axis_length_m=0.05, green_axis="-z", blue_axis="+x")
    R, p = poses[0, :3, :3], poses[0, :3, 3]
    np.testing.assert_allclose(default.base_points(poses[0]), [p, p + 0.1 * R[:, 0], p - 0.1 * R[:, 2]])
    np.testing.assert_allclose(swapped.base_points(poses[0]), [p, p - 0.05 * R[:, 2], p + 0.05 * R[:, 0]])
    assert np.any(encode(poses, openness, [camera], default) != encode(poses, openness, [camera], swapped))


def test_a_point_behind_a_camera_draws_nothing():
    poses, openness = motion(1)
    poses[0, :3, 3] = [5.0, 0, 3.0]
    assert encode(poses, openness, [looking_at_work(0)])[..., :2].max() == 0


@pytest.mark.parametrize("change, words", [
    (dict(green_axis="z"), "green_axis"), (dict(green_axis="+z"), "perpendicular"), (dict(pedestal=0.0), "pedestal"),
    (dict(sigma_fraction=0.6), "sigma_fraction"), (dict(axis_length_m=-0.1), "axis_length_m"),
])
def test_encodings_out_of_range_are_refused(change, words):
    with pytest.raises(EncodingError, match=words):
        ActionEncoding(**change)


def test_actions_that_do_not_fit_are_refused():
    poses, openness = motion(3)
    with pytest.raises(EncodingError, match="openness must lie"):
        encode(poses, openness + 0.5, two_views())
    with pytest.raises(EncodingError, match=r"\(T,\)"):
        encode(poses, openness[:2], two_views())
    with pytest.raises(EncodingError, match="one image size"):
        encode(poses, openness, [looking_at_work(0), looking_at_work(60, (96, 96))])
    with pytest.raises(ActionImagesError, match="base_T_tcps"):
        encode(2 * poses, openness, two_views())

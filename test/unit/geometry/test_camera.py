import cv2
import numpy as np
import pytest

from action_images_ros.errors import ActionImagesError, CameraError
from action_images_ros.geometry import PinholeCamera, se3

K = np.array([[520.0, 0, 321.5], [0, 515.0, 238.0], [0, 0, 1]])
POSE = se3.make(se3.so3_exp(np.array([2.0, -0.4, 0.3])), np.array([0.3, -0.2, 1.1]))
PLUMB_BOB = [0.12, -0.25, 0.001, -0.0008, 0.07]
RATIONAL = [0.3, 0.1, 0.0006, -0.0004, 0.02, 0.5, 0.12, 0.03]


def camera(distortion=None) -> PinholeCamera:
    return PinholeCamera(K, (640, 480), POSE, distortion)


def points_in_view(n: int = 200) -> np.ndarray:
    rng = np.random.default_rng(0)
    in_camera = np.stack([rng.uniform(-0.55, 0.55, n), rng.uniform(-0.4, 0.4, n), np.ones(n)], -1)
    return se3.transform(POSE, in_camera * rng.uniform(0.4, 3.0, n)[:, None])


@pytest.mark.parametrize("distortion", [None, PLUMB_BOB[:4], PLUMB_BOB, RATIONAL])
def test_projection_is_opencvs(distortion):
    points = points_in_view()
    world = se3.inverse(POSE)
    coefficients = None if distortion is None else np.array(distortion)
    expected = cv2.projectPoints(points, cv2.Rodrigues(world[:3, :3])[0], world[:3, 3], K, coefficients)[0][:, 0]
    np.testing.assert_allclose(camera(distortion).project(points), expected, atol=1e-8)


@pytest.mark.parametrize("distortion", [None, PLUMB_BOB, RATIONAL, [-0.35, 0.12, 0.001, 0.0, -0.02]])
def test_rays_through_pixels_meet_the_points(distortion):
    cam, points = camera(distortion), points_in_view()
    rays = cam.unproject(cam.project(points))
    away = points - cam.centre
    np.testing.assert_allclose(rays, away / np.linalg.norm(away, axis=-1, keepdims=True), atol=1e-9)


def test_the_jacobian_of_distortion_is_its_derivative():
    cam, xy, h = camera(RATIONAL), np.random.default_rng(1).uniform(-0.5, 0.5, (20, 2)), 1e-6
    numeric = np.stack([(cam.distort(xy + e) - cam.distort(xy - e)) / (2 * h) for e in np.eye(2) * h], -1)
    np.testing.assert_allclose(cam.distort_jacobian(xy), numeric, atol=1e-8)


def test_points_behind_the_camera_have_no_pixel():
    assert np.isnan(camera().project(se3.transform(POSE, np.array([0.1, 0.1, -1.0])))).all()


def test_a_lens_does_not_fold_far_points_into_the_image():
    cam = camera([-0.3, 0.0, 0.0, 0.0])
    assert cam.max_ideal_radius == pytest.approx(1 / np.sqrt(0.9), rel=1e-3)
    far = se3.transform(POSE, np.array([[1.8, 0.0, 1.0], [0.9, 0.0, 1.0]]))
    uv = cam.project(far)
    assert np.isnan(uv[0]).all() and np.isfinite(uv[1]).all()


def test_a_pixel_that_no_ray_reaches_has_none():
    assert np.isnan(camera([-0.3, 0.0, 0.0, 0.0]).unproject(np.array([K[0, 2] + 0.9 * K[0, 0], K[1, 2]]))).all()


def test_resizing_carries_the_pixel_map():
    """The mean of the pixels that area resizing merges is where the resized camera says."""
    cam, points = camera(PLUMB_BOB), points_in_view()
    uv = cam.project(points)
    small = cam.resized((160, 240))
    np.testing.assert_allclose(small.project(points), (uv + 0.5) * [0.25, 0.5] - 0.5, atol=1e-9)
    ramp = np.tile(np.arange(640, dtype=np.float32), (480, 1))
    shrunk = cv2.resize(ramp, (160, 240), interpolation=cv2.INTER_AREA)
    np.testing.assert_allclose((shrunk[0, 7] + 0.5) * 0.25 - 0.5, 7, atol=1e-4)


def test_cropping_shifts_pixels_and_nothing_else():
    cam, points = camera(PLUMB_BOB), points_in_view()
    cut = cam.cropped(100, 40, 300, 200)
    assert cut.image_size == (300, 200)
    np.testing.assert_allclose(cut.project(points), cam.project(points) - [100, 40], atol=1e-9)


def test_moving_the_cell_changes_no_pixel():
    move = se3.make(se3.so3_exp(np.array([0.1, 0.7, -2.0])), np.array([3.0, -1, 0.5]))
    points = points_in_view()
    np.testing.assert_allclose(camera().moved(move).project(se3.transform(move, points)), camera().project(points),
                               atol=1e-8)


@pytest.mark.parametrize("change, words", [
    (dict(K=-K), "positive focal"), (dict(image_size=(640, 0)), "image_size"),
    (dict(distortion=[0.1, 0.2]), "4, 5 or 8"), (dict(distortion=[np.nan] * 5), "4, 5 or 8"),
])
def test_malformed_cameras_are_refused(change, words):
    with pytest.raises(CameraError, match=words):
        PinholeCamera(**({"K": K, "image_size": (640, 480), "base_T_camera": POSE} | change))


def test_a_pose_that_is_not_rigid_is_refused():
    with pytest.raises(ActionImagesError, match="base_T_camera"):
        PinholeCamera(K, (640, 480), 2 * POSE)


def test_a_crop_outside_the_image_is_refused():
    with pytest.raises(CameraError, match="outside"):
        camera().cropped(600, 0, 100, 100)

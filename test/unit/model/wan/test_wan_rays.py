"""Camera rays against the published formula and against projection."""

import numpy as np
import pytest
from instances import random_camera

from action_images_ros.errors import ModelError
from action_images_ros.geometry import PinholeCamera, inverse, se3_exp
from action_images_ros.geometry.se3 import transform
from action_images_ros.model.wan.rays import MOMENT_SCALE_M, RayConvention, camera_rays, encode_rays


def published(K_corner, poses, image_size):
    """d = normalise(R K^-1 [u + .5, v + .5, 1]), m = o x d, relative to the first pose; pixel by pixel."""
    w, h = image_size
    out = np.empty((len(poses), 6, h, w))
    for view, (K, pose) in enumerate(zip(K_corner, poses)):
        relative = np.linalg.inv(poses[0]) @ pose
        for v in range(h):
            for u in range(w):
                d = relative[:3, :3] @ np.linalg.inv(K) @ [u + 0.5, v + 0.5, 1.0]
                d /= np.linalg.norm(d)
                out[view, :, v, u] = [*d, *np.cross(relative[:3, 3], d)]
    return out


@pytest.fixture
def cameras():
    rng = np.random.default_rng(3)
    return [random_camera(rng) for _ in range(3)]


def corner(camera):
    K = camera.K.copy()
    K[:2, 2] += 0.5
    return K


def test_project_convention_is_the_published_formula(cameras):
    want = published([corner(c) for c in cameras], [c.base_T_camera for c in cameras], (8, 6))
    np.testing.assert_allclose(camera_rays(cameras, RayConvention.PROJECT), want, atol=1e-6)


def test_release_convention_is_the_formula_with_focal_lengths_and_axes_flipped(cameras):
    flipped = np.diag([-1.0, -1, 1, 1])
    Ks = [corner(c) * [[-1, 1, 1], [1, -1, 1], [1, 1, 1]] for c in cameras]
    want = published(Ks, [c.base_T_camera @ flipped for c in cameras], (8, 6))
    got = camera_rays(cameras, RayConvention.RELEASE)
    np.testing.assert_allclose(got, want, atol=1e-6)
    assert np.abs(got - camera_rays(cameras, RayConvention.PROJECT)).max() > 0.5


def test_the_ray_of_a_pixel_passes_through_what_projects_there(cameras):
    first = cameras[0].base_T_camera
    lens = np.array([-0.1, 0.02, 1e-3, -1e-3])
    for camera in cameras:
        camera = PinholeCamera(camera.K, camera.image_size, camera.base_T_camera, lens)
        rays = camera_rays([cameras[0], camera], RayConvention.PROJECT)[1].transpose(1, 2, 0).astype(float)
        centre = transform(inverse(first), camera.centre)
        np.testing.assert_allclose(rays[..., 3:], np.cross(centre, rays[..., :3]), atol=1e-6)
        points = transform(first, centre + 1.7 * rays[..., :3])
        np.testing.assert_allclose(camera.project(points), camera.pixel_grid(), atol=1e-4)


def test_moving_the_whole_cell_changes_nothing(cameras):
    move = se3_exp(np.array([0.3, -1.2, 0.5, 0.4, 2.0, -0.7]))
    np.testing.assert_allclose(camera_rays([c.moved(move) for c in cameras], RayConvention.PROJECT),
                               camera_rays(cameras, RayConvention.PROJECT), atol=1e-6)


def test_no_camera_or_mixed_sizes_are_refused(cameras):
    with pytest.raises(ModelError, match="got 0 views"):
        camera_rays([], RayConvention.PROJECT)
    with pytest.raises(ModelError, match=r"\(4, 3\), \(8, 6\)"):
        camera_rays([cameras[0], cameras[1].resized((4, 3))], RayConvention.PROJECT)
    with pytest.raises(ModelError, match="legal: project, release"):
        RayConvention.parse("opencv")


def test_encoding_joins_directions_and_scaled_moments_frame_by_frame(cameras):
    rays = camera_rays(cameras, RayConvention.PROJECT)

    def every_fourth_frame_at_half_size(videos):
        assert videos.dtype == np.float32 and videos.shape == (6, 3, 5, 6, 8)
        return videos[:, :, ::4, ::2, ::2]

    latents = encode_rays(rays, 5, every_fourth_frame_at_half_size)
    assert latents.shape == (3, 2, 6, 3, 4)
    for frame in range(2):
        np.testing.assert_array_equal(latents[:, frame, :3], rays[:, :3, ::2, ::2])
        np.testing.assert_allclose(latents[:, frame, 3:] * MOMENT_SCALE_M, rays[:, 3:, ::2, ::2], rtol=1e-6)

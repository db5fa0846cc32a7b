"""Camera rays against the cameras they come from."""

import numpy as np
import pytest

from action_images_ros.geometry.se3 import make, so3_exp
from action_images_ros.model.rays import plucker_rays

GRID = (24, 24)
MOVED = make(so3_exp(np.array([0.3, -0.2, 1.1])), np.array([0.4, -0.7, 0.2]))


def test_every_point_of_a_ray_projects_to_its_grid_point(cameras):
    """p x d = m holds exactly for the points p of the ray (d, m)."""
    rays = plucker_rays(cameras, GRID, "base").astype(float)
    for camera, ray in zip(cameras, rays):
        d, m = ray[:3].transpose(1, 2, 0), ray[3:].transpose(1, 2, 0)
        assert np.linalg.norm(d, axis=-1) == pytest.approx(1.0, abs=1e-6)
        for distance in (0.3, 1.7):
            points = camera.centre + distance * d
            assert np.abs(np.cross(points, d) - m).max() < 1e-6
            coarse = camera.resized(GRID)
            assert np.abs(coarse.project(points) - coarse.pixel_grid()).max() < 1e-4


def test_a_ray_is_the_same_wherever_on_it_the_camera_sits(cameras):
    """Rays say which line a pixel sees, not where the lens is: of a camera moved along its axis, that ray stays."""
    camera = cameras[0]
    along = camera.moved(make(np.eye(3), 0.4 * camera.base_T_camera[:3, 2]))
    axis = [plucker_rays([c], (1, 1), "base")[0, :, 0, 0] for c in (camera, along)]
    assert np.abs(axis[0] - axis[1]).max() < 1e-6


def test_first_view_rays_do_not_know_where_the_cell_stands(cameras):
    moved = [c.moved(MOVED) for c in cameras]
    assert np.abs(plucker_rays(moved, GRID, "first_view") - plucker_rays(cameras, GRID, "first_view")).max() < 1e-5
    assert np.abs(plucker_rays(moved, GRID, "base") - plucker_rays(cameras, GRID, "base")).max() > 0.1


def test_base_rays_move_with_the_cell(cameras):
    """Moved by (R, t): d becomes R d, and m becomes R m + t x R d."""
    rays = plucker_rays(cameras, GRID, "base").astype(float).transpose(0, 2, 3, 1)
    R, t = MOVED[:3, :3], MOVED[:3, 3]
    d, m = rays[..., :3] @ R.T, rays[..., 3:] @ R.T
    expected = np.concatenate([d, m + np.cross(t, d)], -1).transpose(0, 3, 1, 2)
    assert np.abs(plucker_rays([c.moved(MOVED) for c in cameras], GRID, "base") - expected).max() < 1e-5

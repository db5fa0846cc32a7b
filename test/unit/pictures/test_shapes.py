"""The scene's shapes against what they must enclose."""

import numpy as np
from scipy.spatial.transform import Rotation

from action_images_ros.pictures.shapes import box_edges, ellipsoid, gripper_lines, time_colours, tube


def test_every_vertex_of_a_tube_is_one_radius_from_its_path():
    points = np.array([[0, 0, 0], [0.1, 0, 0], [0.1, 0.1, 0.05], [0.1, 0.1, 0.2]], float)
    vertices, faces, u = tube(points, 0.004, sides=12, per_step=16)
    rings = vertices.reshape(-1, 12, 3)
    assert np.allclose(np.linalg.norm(rings - rings.mean(axis=1, keepdims=True), axis=2), 0.004)
    assert np.allclose(rings[[0, -1]].mean(axis=1), points[[0, -1]]) and (u[0], u[-1]) == (0.0, 1.0)
    assert faces.min() == 0 and faces.max() == len(vertices) - 1
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    outward = np.einsum("ij,ij->i", np.cross(b - a, c - a), (a + b + c) / 3 - rings.mean(axis=1)[faces[:, 0] // 12])
    assert (outward > 0).mean() > 0.95


def test_a_tube_through_equal_points_is_finite():
    vertices, _, _ = tube(np.zeros((5, 3)), 0.004)
    assert np.all(np.isfinite(vertices))


def test_an_ellipsoid_holds_what_its_covariance_says():
    R = Rotation.from_euler("xyz", [0.3, -0.8, 1.1]).as_matrix()
    sd = np.array([0.002, 0.005, 0.02])
    radii, axes = ellipsoid(R @ np.diag(sd**2) @ R.T, sigmas=2.0)
    assert np.allclose(radii, 2 * sd) and np.isclose(np.linalg.det(axes), 1.0)
    assert np.allclose(axes @ np.diag((radii / 2) ** 2) @ axes.T, R @ np.diag(sd**2) @ R.T)


def test_an_ellipsoid_of_unknown_size_stays_in_the_picture():
    radii, _ = ellipsoid(np.diag([1e6, np.nan, 0.0]))
    assert np.all(np.isfinite(radii)) and radii.max() <= 0.5 and radii.min() > 0


def test_a_box_has_twelve_edges_along_the_axes():
    edges = box_edges((0.2, -0.4, 0.0), (0.7, 0.4, 0.6))
    assert edges.shape == (12, 2, 3)
    assert np.allclose(np.abs(edges[:, 1] - edges[:, 0]).sum(0), 4 * np.array([0.5, 0.8, 0.6]))


def test_the_gripper_opens_across_and_points_out_of_the_hand():
    T = np.eye(4)
    T[:3, :3] = np.diag([1.0, -1.0, -1.0])  # pointing down
    tips = [gripper_lines(T, openness)[:2, 0] for openness in (1.0, 0.0)]
    apart = [np.linalg.norm(t[0] - t[1]) for t in tips]
    assert np.isclose(apart[0], 0.08) and apart[1] < 0.02
    assert gripper_lines(T, 1.0)[:, :, 2].max() > 0.05


def test_colours_go_from_the_present_to_the_future():
    first, last = time_colours(np.array([0.0, 1.0]))
    assert tuple(first) == (255, 196, 64) and tuple(last) == (255, 64, 112)

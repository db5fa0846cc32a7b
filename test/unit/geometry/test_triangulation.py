import numpy as np

from action_images_ros.geometry import se3
from action_images_ros.geometry.triangulation import closest_points, fit_rigid

MODEL = np.array([[0.0, 0, 0], [0.1, 0, 0], [0, 0, -0.1]])


def rays_to(points: np.ndarray, origins: np.ndarray) -> np.ndarray:
    away = points[..., None, :] - origins
    return away / np.linalg.norm(away, axis=-1, keepdims=True)


def test_rays_that_meet_give_their_point():
    rng = np.random.default_rng(0)
    points, origins = rng.normal(size=(7, 3)), rng.normal(size=(3, 3)) * 3
    rays = rays_to(points, origins)
    found, fixed = closest_points(np.broadcast_to(origins, rays.shape), rays, np.ones((7, 3)))
    assert fixed.all()
    np.testing.assert_allclose(found, points, atol=1e-10)


def test_a_ray_of_no_weight_does_not_count():
    origins = np.array([[1.0, 0, 0], [0, 1, 0], [0, 0, 1]])
    rays = rays_to(np.array([0.2, 0.3, 0.4]), origins)
    rays[2] = [1, 0, 0]
    found, fixed = closest_points(origins, rays, np.array([1.0, 1, 0]))
    assert fixed
    np.testing.assert_allclose(found, [0.2, 0.3, 0.4], atol=1e-12)


def test_skew_rays_give_the_middle_of_their_shortest_link():
    origins, rays = np.array([[0.0, -1, 0], [-1, 0, 2]]), np.array([[0.0, 1, 0], [1, 0, 0]])
    found, fixed = closest_points(origins, rays, np.ones(2))
    assert fixed
    np.testing.assert_allclose(found, [0, 0, 1], atol=1e-12)


def test_one_ray_or_parallel_rays_fix_nothing():
    rays = np.array([[0.0, 0, 1], [0, 0, 1]])
    for weights in (np.array([1.0, 0]), np.ones(2), np.zeros(2)):
        found, fixed = closest_points(np.array([[0.0, 0, 0], [1, 0, 0]]), rays, weights)
        assert not fixed and np.isnan(found).all()


def test_a_rigid_fit_recovers_the_motion():
    rng = np.random.default_rng(1)
    T = se3.make(se3.so3_exp(rng.normal(size=(5, 3))), rng.normal(size=(5, 3)))
    np.testing.assert_allclose(fit_rigid(MODEL, se3.transform(T[:, None], MODEL), np.ones((5, 3))), T, atol=1e-12)


def test_a_rigid_fit_never_mirrors():
    mirrored = MODEL * [1, 1, -1] + [0, 0.01, 0.0]
    T = fit_rigid(MODEL, mirrored, np.ones(3))
    assert np.linalg.det(T[:3, :3]) > 0


def test_a_point_of_no_weight_may_be_unknown():
    T = se3.make(se3.so3_exp(np.array([0.5, 0.2, -1.0])), np.array([1.0, 0, 0]))
    model = np.vstack([MODEL, [[0.05, 0.02, 0.0]]])
    points = se3.transform(T, model)
    points[1] = np.nan
    np.testing.assert_allclose(fit_rigid(model, points, np.array([1.0, 0, 1, 1])), T, atol=1e-12)

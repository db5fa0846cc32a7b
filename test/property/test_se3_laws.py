import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from action_images_ros.geometry import PinholeCamera, se3

small = st.floats(-1, 1, allow_nan=False)
vectors = st.tuples(small, small, small).map(np.array)
units = vectors.filter(lambda v: np.linalg.norm(v) > 1e-3).map(lambda v: v / np.linalg.norm(v))
angles = st.one_of(st.floats(0, np.pi), st.floats(0, 1e-6), st.floats(0, 1e-6).map(lambda a: np.pi - a))
rotations = st.builds(lambda axis, angle: axis * angle, units, angles)
poses = st.builds(lambda w, t: se3.make(se3.so3_exp(w), 3 * t), rotations, vectors)


@settings(deadline=None, max_examples=60)
@given(rotations)
def test_exp_of_log_is_the_rotation(w):
    R = se3.so3_exp(w)
    np.testing.assert_allclose(R @ R.T, np.eye(3), atol=1e-12)
    back = se3.so3_log(R)
    assert np.linalg.norm(back) <= np.pi + 1e-9
    np.testing.assert_allclose(se3.so3_exp(back), R, atol=1e-9)


@settings(deadline=None, max_examples=60)
@given(units, st.floats(0, 1e-6))
def test_log_is_the_identity_near_nothing(axis, angle):
    np.testing.assert_allclose(se3.so3_log(se3.so3_exp(axis * angle)), axis * angle, atol=1e-15, rtol=1e-6)


@settings(deadline=None, max_examples=60)
@given(rotations)
def test_both_signs_of_a_quaternion_are_one_rotation(w):
    R = se3.so3_exp(w)
    q = se3.quat_from_matrix(R)
    np.testing.assert_allclose(se3.matrix_from_quat(q), R, atol=1e-9)
    np.testing.assert_allclose(se3.matrix_from_quat(-q), R, atol=1e-9)


@settings(deadline=None, max_examples=60)
@given(poses, poses, poses)
def test_motions_are_a_group(a, b, c):
    np.testing.assert_allclose(a @ se3.inverse(a), np.eye(4), atol=1e-12)
    np.testing.assert_allclose((a @ b) @ c, a @ (b @ c), atol=1e-11)
    se3.require_rigid(a @ b @ c, "product")


@settings(deadline=None, max_examples=60)
@given(poses, poses, st.floats(0, 1))
def test_interpolation_starts_and_ends_where_it_should(a, b, s):
    np.testing.assert_allclose(se3.interpolate(a, b, np.array(0.0)), a, atol=1e-9)
    np.testing.assert_allclose(se3.interpolate(a, b, np.array(1.0)), b, atol=1e-6)
    part = se3.angle_between(a[:3, :3], se3.interpolate(a, b, np.array(s))[:3, :3])
    np.testing.assert_allclose(part, s * se3.angle_between(a[:3, :3], b[:3, :3]), atol=1e-6)


lenses = st.one_of(st.none(), st.tuples(st.floats(-0.3, 0.3), st.floats(-0.1, 0.1), st.floats(-2e-3, 2e-3),
                                        st.floats(-2e-3, 2e-3), st.floats(-0.05, 0.05)).map(list))


@settings(deadline=None, max_examples=60)
@given(lenses, poses, st.floats(0.3, 3.0), st.tuples(st.floats(0, 639), st.floats(0, 479)).map(np.array))
def test_a_pixel_its_ray_and_back(lens, base_T_camera, depth, uv):
    K = np.array([[600.0, 0, 319.5], [0, 600.0, 239.5], [0, 0, 1]])
    camera = PinholeCamera(K, (640, 480), base_T_camera, lens)
    ray = camera.unproject(uv)
    if np.isfinite(ray).all():
        np.testing.assert_allclose(camera.project(camera.centre + depth * ray), uv, atol=1e-6)
    else:
        assert camera.max_ideal_radius < 1.0


@settings(deadline=None, max_examples=60)
@given(lenses, st.tuples(st.floats(-0.5, 0.5), st.floats(-0.5, 0.5)).map(np.array))
def test_undistortion_undoes_distortion(lens, ideal):
    camera = PinholeCamera(np.diag([500.0, 500, 1]), (640, 480), np.eye(4), lens)
    if np.linalg.norm(ideal) < camera.max_ideal_radius:
        np.testing.assert_allclose(camera.undistort(camera.distort(ideal)), ideal, atol=1e-8)

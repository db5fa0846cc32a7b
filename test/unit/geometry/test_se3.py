import numpy as np
import pytest

from action_images_ros.errors import ActionImagesError
from action_images_ros.geometry import se3


def test_exp_of_a_quarter_turn_about_z():
    R = se3.so3_exp(np.array([0, 0, np.pi / 2]))
    np.testing.assert_allclose(R @ [1, 0, 0], [0, 1, 0], atol=1e-15)


def test_hat_is_the_cross_product():
    a, b = np.array([1.0, 2, 3]), np.array([-4.0, 5, 6])
    np.testing.assert_allclose(se3.hat(a) @ b, np.cross(a, b))


@pytest.mark.parametrize("angle", [0.0, 1e-12, 1e-7, 1e-3, 1.0, np.pi - 1e-3, np.pi - 1e-7, np.pi])
def test_log_undoes_exp_from_nothing_to_half_a_turn(angle):
    axis = np.array([0.48, -0.6, 0.64])
    back = se3.so3_log(se3.so3_exp(angle * axis))
    np.testing.assert_allclose(se3.so3_exp(back), se3.so3_exp(angle * axis), atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(back), angle, atol=2e-8)


def test_half_turns_about_each_axis_have_a_log():
    for R in (np.diag([1.0, -1, -1]), np.diag([-1.0, 1, -1]), np.diag([-1.0, -1, 1])):
        w = se3.so3_log(R)
        assert np.linalg.norm(w) == pytest.approx(np.pi)
        np.testing.assert_allclose(se3.so3_exp(w), R, atol=1e-12)


def test_quaternions_of_either_sign_and_any_length_are_one_rotation():
    q = np.array([0.1, -0.7, 0.3, 0.4])
    R = se3.matrix_from_quat(q)
    np.testing.assert_allclose(se3.matrix_from_quat(-3 * q), R, atol=1e-15)
    np.testing.assert_allclose(np.linalg.det(R), 1.0)


def test_a_quaternion_without_direction_is_refused():
    with pytest.raises(ActionImagesError, match="no direction"):
        se3.matrix_from_quat(np.zeros(4))


def test_inverse_and_transform():
    T = se3.make(se3.so3_exp(np.array([0.3, -1.0, 0.5])), np.array([1.0, 2, 3]))
    p = np.array([[0.1, 0.2, 0.3], [4, 5, 6]])
    np.testing.assert_allclose(se3.transform(se3.inverse(T), se3.transform(T, p)), p, atol=1e-14)


def test_interpolation_is_a_line_and_a_geodesic():
    a = se3.make(np.eye(3), np.zeros(3))
    b = se3.make(se3.so3_exp(np.array([0, 0, 1.2])), np.array([2.0, 0, 0]))
    middle = se3.interpolate(a, b, np.array(0.25))
    np.testing.assert_allclose(middle[:3, 3], [0.5, 0, 0])
    np.testing.assert_allclose(se3.so3_log(middle[:3, :3]), [0, 0, 0.3], atol=1e-12)


@pytest.mark.parametrize("broken", [np.eye(3), np.diag([1.0, 1, -1, 1]), np.full((4, 4), np.nan), 2 * np.eye(4)])
def test_what_is_not_a_rigid_motion_is_refused_by_name(broken):
    with pytest.raises(ActionImagesError, match="base_T_lamp"):
        se3.require_rigid(broken, "base_T_lamp")

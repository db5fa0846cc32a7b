"""Both kinematics against each other, against known poses and against numerical differentiation."""

import importlib.util
from pathlib import Path

import mujoco
import numpy as np
import pytest

from action_images_ros.control import FR3_HOME_Q, FR3_LIMITS, Fr3Kinematics
from action_images_ros.control.kinematics import franka_hand_flange_T_tcp
from action_images_ros.control.kinematics_mujoco import MujocoKinematics
from action_images_ros.errors import ConfigError
from action_images_ros.geometry.se3 import so3_log

FR3_JOINTS = tuple(f"fr3_joint{i}" for i in range(1, 8))


def mjcf_without_meshes(folder: Path) -> Path:
    """The FR3's MJCF as published (its hand is turned by a rounded quaternion), kinematics only."""
    # found, not imported: only its files are needed, and importing it needs what its server needs
    package = importlib.util.find_spec("franky_sim")
    spec = mujoco.MjSpec.from_file(str(Path(package.origin).parent / "assets" / "fr3.xml"))
    for element in [*spec.geoms, *spec.meshes, *spec.keys]:
        spec.delete(element)
    path = folder / "fr3.xml"
    path.write_text(spec.to_xml())
    return path


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    tool = np.eye(4)
    tool[2, 3] = 0.1034
    return MujocoKinematics(mjcf_without_meshes(tmp_path_factory.mktemp("fr3")), FR3_JOINTS, "hand", tool)


@pytest.fixture(scope="module")
def joints():
    return np.random.default_rng(1).uniform(FR3_LIMITS.q_min, FR3_LIMITS.q_max, size=(60, 7))


def test_poses_are_those_of_the_published_model(published, joints):
    ours, theirs = Fr3Kinematics().fk(joints), published.fk(joints)
    assert np.linalg.norm(ours[:, :3, 3] - theirs[:, :3, 3], axis=1).max() < 1e-6
    assert np.abs(so3_log(np.swapaxes(ours[:, :3, :3], 1, 2) @ theirs[:, :3, :3])).max() < 2e-6


def test_jacobians_are_those_of_the_published_model(published, joints):
    np.testing.assert_allclose(Fr3Kinematics().jacobian(joints), published.jacobian(joints), atol=1e-6)


def test_joints_are_where_the_published_model_has_them(published, joints):
    ours, theirs = Fr3Kinematics().joint_origins(joints), published.joint_origins(joints)
    np.testing.assert_allclose(ours[:, 2:], theirs[:, 2:], atol=1e-6)


def test_hand_points_down_in_front_of_the_base_when_ready():
    pose = Fr3Kinematics().fk(FR3_HOME_Q)
    np.testing.assert_allclose(pose[:3, :3], np.diag([1.0, -1.0, -1.0]), atol=1e-12)
    np.testing.assert_allclose(pose[:3, 3], [0.3069, 0.0, 0.4869], atol=1e-4)


def test_jacobian_is_the_derivative_of_the_pose(joints):
    arm, h = Fr3Kinematics(), 1e-6
    q = joints[0]
    pose, jacobian = arm.fk_jacobian(q)
    for j in range(7):
        ahead = arm.fk(q + h * np.eye(7)[j])
        linear = (ahead[:3, 3] - pose[:3, 3]) / h
        angular = so3_log(ahead[:3, :3] @ pose[:3, :3].T) / h
        np.testing.assert_allclose(jacobian[:, j], np.concatenate([linear, angular]), atol=1e-5)


def test_batches_equal_single_configurations(joints):
    arm = Fr3Kinematics()
    np.testing.assert_allclose(arm.fk(joints[:6].reshape(2, 3, 7))[1, 2], arm.fk(joints[5]))


def test_another_tool_moves_the_tcp():
    longer = franka_hand_flange_T_tcp()
    longer[2, 3] += 0.05
    np.testing.assert_allclose(Fr3Kinematics(longer).fk(FR3_HOME_Q)[2, 3], Fr3Kinematics().fk(FR3_HOME_Q)[2, 3] - 0.05)


def test_unknown_joint_is_named_with_what_the_model_has(tmp_path):
    path = mjcf_without_meshes(tmp_path)
    with pytest.raises(ConfigError, match="panda_joint1.*fr3_joint1"):
        MujocoKinematics(path, ("panda_joint1", *FR3_JOINTS[1:]), "hand", np.eye(4))


def test_missing_model_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match="nowhere.xml"):
        MujocoKinematics(tmp_path / "nowhere.xml", FR3_JOINTS, "hand", np.eye(4))

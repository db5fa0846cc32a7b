"""Command messages: what the controller makes, the cell reads back; and what a trajectory asks for at each instant."""

from dataclasses import replace

import numpy as np
import pytest
from rclpy.serialization import deserialize_message, serialize_message
from std_msgs.msg import Float64MultiArray

from action_images_ros.control import FR3_HOME_Q, Fr3Kinematics, StopPath
from action_images_ros.errors import TransportError
from action_images_ros.geometry.se3 import so3_exp
from action_images_ros.ros import commands
from action_images_ros.ros.messages import pose_from_message
from action_images_ros.ros.setpoint import JointSetpoint, nearest_joints, require_reachable

JOINTS = tuple(f"fr3_joint{i}" for i in range(1, 8))
NAMES = commands.Names(JOINTS, ("f1", "f2"), "fr3_link0")
KINEMATICS = Fr3Kinematics()
COMMAND = commands.ArmCommand(FR3_HOME_Q, np.full(7, 0.1), KINEMATICS.fk(FR3_HOME_Q), 123, 0.02)


def sent(interface: str):
    kind = commands.ARM[interface]
    msg = kind.make(COMMAND, NAMES)
    assert type(msg) is kind.message
    return deserialize_message(serialize_message(msg), kind.message)


def test_every_joint_interface_carries_the_joints():
    times, q = commands.read_joint_trajectory(sent("joint_trajectory"), JOINTS)
    np.testing.assert_allclose(times, [0.02])
    np.testing.assert_array_equal(q[0], FR3_HOME_Q)
    np.testing.assert_array_equal(commands.read_joint_target(sent("joint_target"), JOINTS), FR3_HOME_Q)
    np.testing.assert_array_equal(commands.read_values(sent("joint_positions"), 7, "x"), FR3_HOME_Q)


def test_the_cartesian_interface_carries_the_pose():
    np.testing.assert_allclose(pose_from_message(sent("cartesian_pose"), "fr3_link0"), COMMAND.base_T_tcp, atol=1e-9)


def test_joints_are_read_by_name():
    msg = sent("joint_trajectory")
    msg.joint_names = msg.joint_names[::-1]
    msg.points[0].positions = msg.points[0].positions[::-1]
    np.testing.assert_array_equal(commands.read_joint_trajectory(msg, JOINTS)[1][0], FR3_HOME_Q)
    msg.joint_names = ["other", *msg.joint_names[1:]]
    with pytest.raises(TransportError, match="lacks fr3_joint7"):
        commands.read_joint_trajectory(msg, JOINTS)


def test_gripper_messages():
    open_, shut = (commands.GRIPPER["position"].make(w, NAMES).data[0] for w in (0.08, 0.0))
    assert (open_, shut) == (1.0, 0.0)
    assert list(commands.GRIPPER["finger_positions"].make(0.06, NAMES).data) == [0.03, 0.03]
    _, q = commands.read_joint_trajectory(commands.GRIPPER["position_trajectory"].make(0.06, NAMES), ("f1", "f2"))
    assert q[-1].sum() == pytest.approx(0.06)


def test_values_that_are_not_finite_or_too_few_are_refused():
    with pytest.raises(TransportError, match="not finite"):
        commands.read_values(Float64MultiArray(data=[float("inf")] * 7), 7, "joint positions")
    with pytest.raises(TransportError, match="expected 7"):
        commands.read_values(Float64MultiArray(data=[0.0]), 7, "joint positions")


def test_a_trajectory_is_followed_from_where_the_set_point_is():
    s = JointSetpoint(np.zeros(7))
    s.follow(np.array([1.0]), np.ones((1, 7)), 10.0)
    np.testing.assert_allclose(s.at(10.25), np.full(7, 0.25))
    s.follow(np.array([0.5, 1.0]), np.stack([np.zeros(7), np.full(7, 2.0)]), 10.5)
    np.testing.assert_allclose(s.at(10.75), np.full(7, 0.25))
    np.testing.assert_allclose(s.at(11.25), np.full(7, 1.0))
    np.testing.assert_allclose(s.at(99.0), np.full(7, 2.0))
    s.jump(np.full(7, -1.0), 12.0)
    np.testing.assert_allclose(s.at(12.0), np.full(7, -1.0))
    with pytest.raises(TransportError, match="increase"):
        s.follow(np.array([0.2, 0.1]), np.zeros((2, 7)), 13.0)


def test_a_trajectory_with_velocities_is_a_cubic_that_keeps_its_speed_across_a_change():
    """Ground truth: q = t^3 - t^2 has value and slope known everywhere, and a cubic reproduces it."""

    def q(t):
        return np.outer(t**3 - t**2, np.ones(7))

    def dq(t):
        return np.outer(3 * t**2 - 2 * t, np.ones(7))

    s, knots = JointSetpoint(np.zeros(7)), np.array([0.2, 0.7, 1.0])
    s.follow(knots, q(knots), 5.0, dq(knots))
    for t in (0.1, 0.35, 0.6, 0.9):
        np.testing.assert_allclose(s.at(5.0 + t), q(np.array([t]))[0], atol=1e-12)
        np.testing.assert_allclose(s.velocity_at(5.0 + t), dq(np.array([t]))[0], atol=1e-12)
    before = s.at(5.5), s.velocity_at(5.5)
    s.follow(np.array([0.3]), np.ones((1, 7)), 5.5, np.zeros((1, 7)))
    np.testing.assert_allclose(s.at(5.5), before[0])
    np.testing.assert_allclose(s.velocity_at(5.5), before[1])
    np.testing.assert_allclose(s.at(6.0), 1.0)
    np.testing.assert_array_equal(s.velocity_at(6.0), 0.0)


def test_a_trajectory_command_ends_at_rest_with_the_stop_it_was_given():
    stop = StopPath(np.array([0.03, 0.1]), np.stack([FR3_HOME_Q + 0.01, FR3_HOME_Q + 0.02]), np.zeros((2, 7)))
    kind = commands.ARM["joint_trajectory"]
    msg = kind.make(replace(COMMAND, stop=stop), NAMES)
    times, q = commands.read_joint_trajectory(msg, JOINTS)
    np.testing.assert_allclose(times, [0.02, 0.05, 0.12])
    np.testing.assert_array_equal(q, np.vstack([FR3_HOME_Q, stop.q]))
    np.testing.assert_array_equal(commands.read_joint_velocities(msg, JOINTS), np.vstack([COMMAND.dq, stop.dq]))
    at_rest = commands.read_joint_velocities(sent("joint_trajectory"), JOINTS)
    np.testing.assert_array_equal(at_rest, np.zeros((1, 7)))
    msg.points[1].velocities = []
    with pytest.raises(TransportError, match="or none at all"):
        commands.read_joint_velocities(msg, JOINTS)


def test_a_pose_is_reached_by_a_small_motion_of_the_joints():
    T = KINEMATICS.fk(FR3_HOME_Q)
    T[:3, 3] += (0.02, -0.01, 0.015)
    T[:3, :3] = so3_exp(np.array([0.05, 0.0, -0.05])) @ T[:3, :3]
    q = nearest_joints(KINEMATICS, T, FR3_HOME_Q)
    np.testing.assert_allclose(KINEMATICS.fk(q), T, atol=2e-4)
    assert np.abs(q - FR3_HOME_Q).max() < 0.2
    T[:3, 3] = (2.0, 0.0, 0.5)
    with pytest.raises(TransportError, match="out of reach"):
        nearest_joints(KINEMATICS, T, FR3_HOME_Q)


def test_a_target_outside_a_joints_range_is_named():
    q = np.stack([FR3_HOME_Q] * 3)
    assert require_reachable(KINEMATICS.limits, q) is q
    q[1, 3] = 0.5
    with pytest.raises(TransportError, match=r"joint 4 is told 0.500 rad; legal: -3.0421 to -0.1518"):
        require_reachable(KINEMATICS.limits, q)
    with pytest.raises(TransportError, match="joint 4 is told 0.500"):
        require_reachable(KINEMATICS.limits, q[1])

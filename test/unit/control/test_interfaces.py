"""Payloads against the real message classes where they are installed, and against the stacks' conventions."""

import importlib

import numpy as np
import pytest

from action_images_ros.bench.synthetic_arm import ClosedLoop, StraightLinePolicy, TrailingArm
from action_images_ros.control import FR3_HOME_Q, Controller, ControllerConfig, Fr3Kinematics, Workspace
from action_images_ros.control.interfaces import (
    COMMAND_MESSAGES,
    GRIPPER_MESSAGES,
    CommandInterface,
    GripperInterface,
    command_payload,
    gripper_payload,
)
from action_images_ros.errors import ControlError
from action_images_ros.geometry.se3 import matrix_from_quat

ARM = Fr3Kinematics()


@pytest.fixture(scope="module")
def output():
    workspace = Workspace((0.2, -0.5, 0.0), (0.8, 0.5, 0.8))
    loop = ClosedLoop(Controller(ControllerConfig(speed_factor=1.0), ARM, workspace), ARM, TrailingArm())
    loop.run(0.05)
    loop.controller.enable(True, loop.now_s)
    goal = ARM.fk(FR3_HOME_Q)
    goal[:3, 3] += [0.2, 0.1, -0.1]
    loop.run(0.02)
    chunk = StraightLinePolicy(goal).chunk(loop.base_T_tcp, 1.0, loop.now_ns)
    assert loop.controller.on_chunk(chunk, loop.now_ns, loop.now_s).accepted
    return loop.run(0.5)


def test_every_interface_has_an_endpoint():
    assert set(COMMAND_MESSAGES) == set(CommandInterface)
    assert set(GRIPPER_MESSAGES) == set(GripperInterface)


@pytest.mark.parametrize("interface", list(CommandInterface), ids=lambda i: i.value)
def test_every_interface_carries_the_same_command(interface, output):
    payload = command_payload(interface, output, 0.01)
    if interface is CommandInterface.CARTESIAN_POSE:
        assert payload["frame_id"] == "fr3_link0"
        np.testing.assert_allclose(payload["position"], ARM.fk(output.q_command)[:3, 3], atol=1e-12)
        R = matrix_from_quat(np.array(payload["orientation"]))
        np.testing.assert_allclose(R, ARM.fk(output.q_command)[:3, :3], atol=1e-9)
        return
    joints = payload["points"][0]["positions"] if "points" in payload else payload.get("position", payload.get("data"))
    np.testing.assert_array_equal(joints, output.q_command)


def test_a_trajectory_point_lies_ahead_by_more_than_one_period(output):
    assert command_payload(CommandInterface.JOINT_TRAJECTORY, output, 0.01)["points"][0]["time_from_start_s"] > 0.01


@pytest.mark.parametrize("interface", list(CommandInterface), ids=lambda i: i.value)
def test_payload_keys_are_fields_of_the_real_message(interface, output):
    package, name = COMMAND_MESSAGES[interface].message.split("/")
    message = getattr(pytest.importorskip(f"{package}.msg"), name)()
    payload = command_payload(interface, output, 0.01)
    if interface is CommandInterface.CARTESIAN_POSE:
        assert hasattr(message.header, "frame_id") and hasattr(message.pose, "position")
        assert hasattr(message.pose, "orientation")
        return
    for key in payload:
        assert hasattr(message, key)
    if interface is CommandInterface.JOINT_TRAJECTORY:
        point = importlib.import_module("trajectory_msgs.msg").JointTrajectoryPoint()
        assert all(hasattr(point, key.removesuffix("_s")) for key in payload["points"][0])


def test_nothing_is_sent_where_nothing_is_commanded():
    controller = Controller(ControllerConfig(), ARM, Workspace((0.2, -0.5, 0.0), (0.8, 0.5, 0.8)))
    with pytest.raises(ControlError, match="disabled"):
        command_payload(CommandInterface.JOINT_TARGET, controller.tick(10**18, 1.0), 0.01)


def test_gripper_conventions():
    assert gripper_payload(GripperInterface.POSITION, 0.08) == {"data": [0.04, 0.04]}
    assert gripper_payload(GripperInterface.NORMALISED, 0.02) == {"data": [0.25]}
    assert gripper_payload(GripperInterface.GRIPPER_COMMAND, 0.08)["command"]["position"] == 0.04
    assert gripper_payload(GripperInterface.POSITION_TRAJECTORY, 0.0)["points"][0]["positions"] == [0.0, 0.0]
    assert gripper_payload(GripperInterface.FRANKA_GRIPPER, 0.08)["action"] == "move"
    grasp = gripper_payload(GripperInterface.FRANKA_GRIPPER, 0.0)
    assert grasp["action"] == "grasp" and grasp["epsilon"]["outer"] >= 0.08


@pytest.mark.parametrize("width", [-0.01, 0.09, float("nan")])
def test_an_impossible_width_is_refused(width):
    with pytest.raises(ControlError, match="width"):
        gripper_payload(GripperInterface.POSITION, width)

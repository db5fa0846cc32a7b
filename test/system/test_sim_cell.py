"""The simulated cell from outside: cameras, joint states, and motion by command topics only."""

import json
import time

import numpy as np
import pytest
from graph_support import START_S, Watch, sim_node
from sensor_msgs.msg import Image

from action_images_ros.cell import Cell
from action_images_ros.control import Fr3Kinematics
from action_images_ros.ros import commands, qos
from action_images_ros.ros.messages import check_camera_info, image_from_message, stamp_to_ns
from action_images_ros.ros.operator import Operator
from action_images_ros.ros.runner import GraphRunner

KINEMATICS = Fr3Kinematics()


@pytest.fixture(scope="module")
def cell(cell_file, tmp_path_factory):
    """(operator, watch, cell, newest image by view)"""
    cell = Cell.load(cell_file)
    with (
        GraphRunner([sim_node(cell_file)], tmp_path_factory.mktemp("log")) as runner,
        Operator(on_wait=runner.require_running) as operator,
    ):
        watch, images = Watch(operator, cell), {v.name: [] for v in cell.views}
        for view in cell.views:
            operator.node.create_subscription(Image, view.image_topic, images[view.name].append, qos.IMAGE_IN)
        operator.until(lambda: watch.camera_stamp_ns > 0 and watch.states, "cameras and joint states", START_S)
        yield operator, watch, cell, images


def test_cameras_are_those_of_the_cell_file(cell):
    operator, watch, spec, images = cell
    operator.until(lambda: all(len(i) >= 3 for i in images.values()), "images", 20.0)
    for view in spec.views:
        check_camera_info(watch.infos[view.name][-1], view.name, view.camera)
        msg = images[view.name][-1]
        assert msg.header.frame_id == view.frame_id == watch.infos[view.name][-1].header.frame_id
        picture = image_from_message(msg)
        assert (picture.shape[1], picture.shape[0]) == view.camera.image_size and picture.std() > 10
    stamps = [{stamp_to_ns(m.header.stamp) for m in images[v.name]} for v in spec.views]
    assert len(stamps[0] & stamps[1]) >= 2


def test_the_arm_is_seen_where_its_joints_say(cell):
    """The TCP is between the dark fingertips: the picture around its projection is darker than the table."""
    operator, watch, spec, images = cell
    operator.until(lambda: all(images.values()), "images", 20.0)
    dark = []
    for view in spec.views:
        msg = images[view.name][-1]
        tcp = KINEMATICS.fk(watch.at(stamp_to_ns(msg.header.stamp)).q)
        x, y = np.rint(view.camera.project((tcp @ np.array([0, 0, -0.03, 1]))[:3])).astype(int)
        dark.append(image_from_message(msg)[y - 4 : y + 5, x - 4 : x + 5].min())
    assert max(dark) < 60


def test_episodes_follow_each_other_and_are_judged(cell):
    operator = cell[0]
    first, second = (json.loads(operator.trigger("sim_cell/reset_scene").message) for _ in range(2))
    assert second["episode"] == first["episode"] + 1
    assert second["instruction"].startswith("reach the ") and second["instruction"] not in second["wrong_instructions"]
    operator.until(lambda: operator.verdict and operator.verdict.episode == second["episode"], "the verdict", 5.0)
    assert operator.verdict.outcome == "pending"


def test_joint_states_come_at_their_rate_in_ros_time(cell):
    operator, watch, _, _ = cell
    before = len(watch.states)
    operator.until(lambda: len(watch.states) >= before + 100, "100 joint states", 20.0)
    stamps = np.array([s.stamp_ns for _, s in watch.states[-100:]])
    assert np.all(np.diff(stamps) > 0)
    assert 40 < 1e9 * 99 / (stamps[-1] - stamps[0]) < 110


def arm_command(watch, offset: np.ndarray) -> commands.ArmCommand:
    q = watch.state.q + offset
    return commands.ArmCommand(q, np.zeros(7), KINEMATICS.fk(q), time.time_ns(), 0.3)


@pytest.mark.parametrize("interface", commands.ARM)
def test_the_arm_goes_where_each_command_topic_says(cell, interface):
    operator, watch, spec, _ = cell
    operator.trigger("sim_cell/reset_scene")
    rest_s = time.monotonic()
    operator.spin_for(0.3)
    assert watch.travel_rad(rest_s) < 1e-3
    kind = commands.ARM[interface]
    names = commands.Names(spec.arm.joints, spec.arm.fingers, spec.arm.base_frame)
    publisher = operator.node.create_publisher(kind.message, kind.topic, qos.COMMAND)
    operator.until(lambda: publisher.get_subscription_count() == 1, f"the cell on {kind.topic}", 10.0)
    command = arm_command(watch, np.array([0.05, -0.04, 0.03, 0.05, -0.05, 0.04, 0.1]))
    publisher.publish(kind.make(command, names))

    def there() -> bool:
        pose = KINEMATICS.fk(watch.state.q)
        return np.abs(pose - command.base_T_tcp).max() < 2e-3

    operator.until(there, f"the commanded pose by {interface}", 10.0)
    if interface != "cartesian_pose":
        np.testing.assert_allclose(watch.state.q, command.q, atol=3e-3)
    operator.node.destroy_publisher(publisher)


def test_a_bad_command_moves_nothing(cell):
    operator, watch, spec, _ = cell
    names = commands.Names(spec.arm.joints, spec.arm.fingers, spec.arm.base_frame)
    for interface, kind in commands.ARM.items():
        publisher = operator.node.create_publisher(kind.message, kind.topic, qos.COMMAND)
        operator.until(lambda p=publisher: p.get_subscription_count() == 1, kind.topic, 10.0)
        operator.until(watch.resting, "rest", 10.0)
        began_s = time.monotonic()
        far = commands.ArmCommand(np.full(7, 9.0), np.zeros(7), np.diag([1.0, -1, -1, 1]), 1, 0.1)
        far.base_T_tcp[:3, 3] = (3.0, 0.0, 0.5)
        publisher.publish(kind.make(far, names))
        operator.spin_for(0.4)
        assert watch.travel_rad(began_s) < 1e-3, interface
        operator.node.destroy_publisher(publisher)


@pytest.mark.parametrize(("interface", "width_m"), zip(commands.GRIPPER, [0.0, 0.08, 0.03], strict=True))
def test_the_gripper_follows_each_of_its_topics(cell, interface, width_m):
    operator, watch, spec, _ = cell
    kind = commands.GRIPPER[interface]
    publisher = operator.node.create_publisher(kind.message, kind.topic, qos.COMMAND)
    operator.until(lambda: publisher.get_subscription_count() == 1, "the cell's gripper", 10.0)
    publisher.publish(kind.make(width_m, commands.Names(spec.arm.joints, spec.arm.fingers, "")))
    operator.until(lambda: abs(watch.state.gripper_width_m - width_m) < 2e-3, f"{width_m} m", 10.0)
    operator.node.destroy_publisher(publisher)

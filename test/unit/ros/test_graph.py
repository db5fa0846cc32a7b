"""The graph as data: arguments, command lines, parameters as rcl reads them."""

from pathlib import Path

import numpy as np
import pytest
import rclpy
from rclpy.context import Context
from rclpy.node import Node

from action_images_ros.cell import Cell
from action_images_ros.errors import ConfigError
from action_images_ros.geometry.se3 import make, matrix_from_quat
from action_images_ros.model.config import ModelConfig
from action_images_ros.ros.graph import GRAPHS, NodeSpec, policy_graph, read_arguments, sim_graph, with_parameters
from action_images_ros.ros.graph import POLICY_ARGUMENTS as ARGUMENTS
from action_images_ros.ros.paths import config_file

VALUES = {
    "a": True,
    "b": False,
    "i": 3,
    "f": 1.0,
    "g": 1e-9,
    "s": "text",
    "t": "true",
    "n": "1.5",
    "e": "",
    "q": "it's: # odd",
    "p": "/some/path with space",
    "y": "yes",
    "w": " x ",
}


def test_parameters_reach_a_node_with_their_values_and_types():
    spec = NodeSpec("x", "spec_test", namespace="/ns", parameters=VALUES, remappings={"a_topic": "b_topic"})
    context = Context()
    rclpy.init(context=context)
    try:
        node = Node(
            "other",
            context=context,
            cli_args=list(spec.command_arguments()),
            automatically_declare_parameters_from_overrides=True,
        )
        got = {name: node.get_parameter(name).value for name in VALUES}
        assert got == VALUES and [type(v) for v in got.values()] == [type(v) for v in VALUES.values()]
        assert node.get_fully_qualified_name() == "/ns/spec_test"
        assert node.resolve_topic_name("a_topic") == "/ns/b_topic"
        node.destroy_node()
    finally:
        rclpy.try_shutdown(context=context)


def test_the_policy_graph_is_denoiser_decoder_controller_and_one_transform_a_view():
    names = [n.name for n in policy_graph({})]
    assert names == ["denoiser", "decoder", "controller", "left_camera_tf", "right_camera_tf", "drift_monitor"]
    assert "drift_monitor" not in [n.name for n in policy_graph({"drift_monitor": "false"})]
    simulated = [n.name for n in policy_graph({"sim": "true"})]
    assert simulated[0] == "sim_cell" and "drift_monitor" not in simulated
    assert [n.name for n in sim_graph({})] == ["sim_cell"]


def test_the_controller_tells_as_much_of_its_plan_as_the_model_continues(tmp_path):
    ModelConfig(continued_steps=4).save(tmp_path)

    def told(**given: str) -> object:
        (controller,) = (n for n in policy_graph(given) if n.name == "controller")
        return controller.parameters["continued_steps"]

    assert told() == 0 and told(model=str(tmp_path)) == 4


DRIVEN = """    driver: {exposure_us: 8000, gain: 32, white_balance_k: 4600, depth: aligned, sync: master}
    serial: "012345678901"
"""


@pytest.fixture
def real_cell(tmp_path):
    text = config_file("config/cell.yaml").read_text(encoding="utf-8")
    path = tmp_path / "cell.yaml"
    path.write_text(text.replace("    serial: sim-left\n", DRIVEN), encoding="utf-8")
    return str(path)


def test_the_chosen_driver_is_started_for_every_camera_of_the_cell(real_cell):
    def names(**given):
        return [n.name for n in policy_graph({"cell": real_cell, **given})]

    assert names()[0] == names(camera_driver="none")[0] == "denoiser"
    assert names(camera_driver="pyrealsense2")[:2] == ["camera_driver", "denoiser"]
    assert names(camera_driver="realsense_ros")[:3] == ["left", "right", "denoiser"]
    assert names(camera_driver="pyrealsense2", sim="true")[:2] == ["sim_cell", "denoiser"]
    graph = policy_graph({"cell": real_cell, "camera_driver": "pyrealsense2"})
    told = {n.parameters["cell"] for n in graph if n.package == "action_images_ros"}
    started = GRAPHS["calibrate_cameras"][1]({"cell": real_cell, "camera_driver": "pyrealsense2"})
    assert [n.name for n in started] == ["camera_driver", "calibrator"]
    assert told == {real_cell}  # the driver knows the cameras from the same file as everybody else
    with pytest.raises(ConfigError, match="legal: none, pyrealsense2, realsense_ros"):
        names(camera_driver="v4l")


def test_realsense_ros_is_told_what_the_cell_file_says(real_cell):
    left, right = policy_graph({"cell": real_cell, "camera_driver": "realsense_ros"})[:2]
    assert (left.package, left.executable, left.namespace) == ("realsense2_camera", "realsense2_camera_node", "/camera")
    p = left.parameters
    assert (p["camera_name"], p["serial_no"]) == ("left", "_012345678901")
    assert p["rgb_camera.color_profile"] == "320x240x30" and p["publish_tf"] is False
    assert (p["rgb_camera.exposure"], p["rgb_camera.gain"], p["rgb_camera.white_balance"]) == (80, 32, 4600)
    assert p["rgb_camera.enable_auto_exposure"] is p["rgb_camera.enable_auto_white_balance"] is False
    assert p["align_depth.enable"] is p["enable_depth"] is True and p["depth_module.inter_cam_sync_mode"] == 1
    q = right.parameters
    assert q["rgb_camera.enable_auto_exposure"] is True and "rgb_camera.exposure" not in q
    assert q["enable_depth"] is False and q["depth_module.inter_cam_sync_mode"] == 0
    context = Context()
    rclpy.init(context=context)
    try:
        node = Node(
            "other",
            context=context,
            cli_args=list(left.command_arguments()),
            automatically_declare_parameters_from_overrides=True,
        )
        assert node.resolve_topic_name("~/color/image_raw") == "/camera/left/color/image_raw"
        assert node.get_parameter("serial_no").value == "_012345678901"
        node.destroy_node()
    finally:
        rclpy.try_shutdown(context=context)


def test_transforms_are_those_of_the_cell_file(real_cell):
    """What the publishers of /tf_static are told, read back, is base_T_camera of every view."""
    cell = Cell.load(real_cell)
    graph = {n.name: n for n in policy_graph({"cell": real_cell})}
    for view in cell.views:
        words = graph[f"{view.name}_camera_tf"].arguments
        said = dict(zip(words[::2], words[1::2]))
        assert said["--frame-id"] == "fr3_link0" and said["--child-frame-id"] == view.frame_id
        xyzw = np.array([float(said[f"--{k}"]) for k in ("qx", "qy", "qz", "qw")])
        pose = make(matrix_from_quat(xyzw), np.array([float(said[f"--{k}"]) for k in "xyz"]))
        assert np.abs(pose - view.camera.base_T_camera).max() < 1e-8


def test_arguments_reach_the_nodes(tmp_path):
    ModelConfig().save(tmp_path)
    given = {"sim": "true", "model": str(tmp_path), "engine": "torch", "instruction": "reach the red ball"}
    given |= {"autostart": "false", "command_interface": "cartesian_pose", "gripper_interface": "none"}
    given |= {"speed_factor": "0.5"}
    graph = {n.name: n for n in policy_graph(given)}
    assert graph["denoiser"].parameters["engine"] == "torch"
    assert graph["denoiser"].parameters["model"] == graph["decoder"].parameters["model"] == str(tmp_path)
    assert graph["denoiser"].parameters["instruction"] == "reach the red ball"
    assert graph["controller"].parameters["command_interface"] == "cartesian_pose"
    assert graph["controller"].parameters["gripper_interface"] == "none"
    assert graph["controller"].parameters["speed_factor"] == 0.5
    assert all(graph[n].parameters["autostart"] is False for n in ("denoiser", "decoder", "controller"))
    cells = {graph[n].parameters["cell"] for n in ("sim_cell", "denoiser", "decoder", "controller")}
    assert len(cells) == 1 and Path(cells.pop()).is_absolute()


def test_a_simulated_arm_is_served_where_its_driver_looks():
    graph = {n.name: n for n in policy_graph({"sim": "true", "arm": "libfranka", "command_interface": "joint_target"})}
    cell, arm = graph["sim_cell"].parameters, graph["franka_arm"].parameters
    assert cell["arm_address"] == arm["address"] and arm["address"].startswith("127.")
    assert arm["command_interface"] == graph["controller"].parameters["command_interface"] == "joint_target"
    assert arm["realtime"] == "ignore"


def test_a_real_arm_insists_on_real_time():
    graph = {n.name: n for n in policy_graph({"arm": "libfranka", "arm_address": "172.16.0.2"})}
    assert graph["franka_arm"].parameters["address"] == "172.16.0.2"
    assert "realtime" not in graph["franka_arm"].parameters and "sim_cell" not in graph


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"sim": "yes"}, "sim is 'yes'; legal: false, true"),
        ({"command_interface": "joints"}, "legal: cartesian_pose, joint_positions"),
        ({"spede_factor": "1"}, "legal: .*speed_factor"),
        ({"speed_factor": "fast"}, "expected a number"),
        ({"cell": "/nope/cell.yaml"}, "does not exist"),
        ({"arm": "moveit"}, "legal: libfranka, topics"),
        ({"arm": "libfranka"}, "needs arm_address:="),
        ({"arm": "libfranka", "sim": "true", "arm_address": "172.16.0.2"}, "takes no arm_address"),
        ({"arm": "libfranka", "arm_address": "x", "gripper_interface": "franka_gripper"},
         "legal: finger_positions, none, position, position_trajectory"),
    ],
)
def test_wrong_arguments_are_named(given, says):
    with pytest.raises(ConfigError, match=says):
        policy_graph(given)


def test_the_live_page_comes_with_a_stop_button_without_which_the_graph_ends():
    graph = {n.name: n for n in policy_graph({"console": "web", "console_port": "9000", "console_host": "0.0.0.0"})}
    page, button = graph["console"], graph["stop_button"]
    assert page.parameters["stop_port"] == button.parameters["port"] == 9001 and page.parameters["port"] == 9000
    assert page.parameters["host"] == button.parameters["host"] == "0.0.0.0"
    assert button.required and not page.required
    assert not {"console", "stop_button"} & {n.name for n in policy_graph({"console": "log"})}


def test_a_log_level_reaches_our_nodes_and_no_others():
    graph = policy_graph({"log_level": "debug"})
    told = {n.name for n in graph if "--log-level" in n.command_arguments()}
    assert told == {n.name for n in graph if n.package == "action_images_ros"} >= {"denoiser", "decoder", "controller"}
    assert not any("--log-level" in n.command_arguments() for n in policy_graph({}))


def test_defaults_are_legal():
    assert read_arguments(ARGUMENTS, {})["speed_factor"] == "0.2"


def test_parameters_of_one_node_can_be_replaced():
    graph = with_parameters(sim_graph({}), {"sim_cell": {"seed": 7}})
    assert graph[0].parameters["seed"] == 7 and graph[0].parameters["task"] == "reach_target"
    with pytest.raises(ConfigError, match="legal: sim_cell"):
        with_parameters(sim_graph({}), {"sim": {}})

"""The graph as data: arguments, command lines, parameters as rcl reads them."""

from pathlib import Path

import pytest
import rclpy
from rclpy.context import Context
from rclpy.node import Node

from action_images_ros.errors import ConfigError
from action_images_ros.ros.graph import POLICY_ARGUMENTS as ARGUMENTS
from action_images_ros.ros.graph import NodeSpec, policy_graph, read_arguments, sim_graph, with_parameters

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
    assert names == ["denoiser", "decoder", "controller", "left_camera_tf", "right_camera_tf"]
    assert [n.name for n in policy_graph({"sim": "true"})][0] == "sim_cell"
    assert [n.name for n in sim_graph({})] == ["sim_cell"]


def test_arguments_reach_the_nodes():
    given = {"sim": "true", "model": "/m", "engine": "torch", "instruction": "reach the red ball", "autostart": "false"}
    given |= {"command_interface": "cartesian_pose", "gripper_interface": "none", "speed_factor": "0.5"}
    graph = {n.name: n for n in policy_graph(given)}
    assert graph["denoiser"].parameters["engine"] == "torch"
    assert graph["denoiser"].parameters["model"] == graph["decoder"].parameters["model"] == "/m"
    assert graph["denoiser"].parameters["instruction"] == "reach the red ball"
    assert graph["controller"].parameters["command_interface"] == "cartesian_pose"
    assert graph["controller"].parameters["gripper_interface"] == "none"
    assert graph["controller"].parameters["speed_factor"] == 0.5
    assert all(graph[n].parameters["autostart"] is False for n in ("denoiser", "decoder", "controller"))
    cells = {graph[n].parameters["cell"] for n in ("sim_cell", "denoiser", "decoder", "controller")}
    assert len(cells) == 1 and Path(cells.pop()).is_absolute()


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"sim": "yes"}, "sim is 'yes'; legal: false, true"),
        ({"command_interface": "joints"}, "legal: cartesian_pose, joint_positions"),
        ({"spede_factor": "1"}, "legal: .*speed_factor"),
        ({"speed_factor": "fast"}, "expected a number"),
        ({"cell": "/nope/cell.yaml"}, "does not exist"),
    ],
)
def test_wrong_arguments_are_named(given, says):
    with pytest.raises(ConfigError, match=says):
        policy_graph(given)


def test_defaults_are_legal():
    assert read_arguments(ARGUMENTS, {})["speed_factor"] == "0.2"


def test_parameters_of_one_node_can_be_replaced():
    graph = with_parameters(sim_graph({}), {"sim_cell": {"seed": 7}})
    assert graph[0].parameters["seed"] == 7 and graph[0].parameters["task"] == "reach_target"
    with pytest.raises(ConfigError, match="legal: sim_cell"):
        with_parameters(sim_graph({}), {"sim": {}})

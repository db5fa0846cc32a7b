"""The denoiser as a process on the simulated cell, with an untrained model: what it must do whatever it has learned."""

import numpy as np
import pytest
from graph_support import START_S, Watch, node, sim_node
from sensor_msgs.msg import Image
from std_msgs.msg import Bool

from action_images_ros.cell import Cell
from action_images_ros.codec import encode
from action_images_ros.control import Fr3Kinematics
from action_images_ros.model.config import ModelConfig
from action_images_ros.model.frames import model_camera
from action_images_ros.ros import qos
from action_images_ros.ros.messages import image_from_message, stamp_to_ns, untile_actions
from action_images_ros.ros.operator import Operator
from action_images_ros.ros.runner import GraphRunner


@pytest.fixture(scope="module")
def graph(cell_file, model_directory, tmp_path_factory):
    """(operator, watch, action images received, predicted videos received)"""
    nodes = [sim_node(cell_file), node("denoiser", cell_file, model=str(model_directory), engine="torch", mode="joint")]
    with (
        GraphRunner(nodes, tmp_path_factory.mktemp("log")) as runner,
        Operator(on_wait=runner.require_running) as operator,
    ):
        made, videos = [], []
        operator.node.create_subscription(Image, "action_images", made.append, qos.TARGETS)
        operator.node.create_subscription(Image, "predicted_video", videos.append, qos.TARGETS)
        watch = Watch(operator, Cell.load(cell_file))
        operator.until(lambda: operator.active("denoiser: generate"), "the denoiser", 2 * START_S)
        operator.until(lambda: watch.camera_stamp_ns > 0, "cameras", START_S)
        yield operator, watch, made, videos


def test_it_waits_for_an_instruction_and_says_so(graph):
    operator, _, made, _ = graph
    operator.until(lambda: "instruction" in operator.diagnostics["denoiser: generate"]["message"], "the reason", 10.0)
    operator.spin_for(1.0)
    assert made == []


def test_images_carry_the_observation_and_begin_with_the_present_pose(graph, cell_file, model_directory):
    """Index 0 is given, not predicted: it must show the pose that the arm had when the pictures were taken."""
    operator, watch, made, _ = graph
    cell, config = Cell.load(cell_file), ModelConfig.load(model_directory)
    operator.instruct("reach the red ball")
    operator.until(lambda: len(made) >= 3, "action images", 30.0)
    stamps = [stamp_to_ns(m.header.stamp) for m in made]
    assert all(b > a for a, b in zip(stamps, stamps[1:]))
    exposures = {stamp_to_ns(i.header.stamp) for i in watch.infos["left"]}
    assert set(stamps) <= exposures
    state = watch.at(stamps[-1])
    cameras = [model_camera(c, config.image_size).resized(config.action_size) for c in cell.cameras]
    openness = np.array([np.clip(state.gripper_width_m / 0.08, 0.0, 1.0)])
    expected = encode(Fr3Kinematics().fk(state.q)[None], openness, cameras, config.encoding)[0]
    images = untile_actions(image_from_message(made[-1]), config.chunk_size, config.views, config.action_size)
    assert np.abs(images[0].astype(int) - expected).max() <= 3


def test_the_imagined_video_begins_with_what_the_cameras_saw(graph, model_directory):
    operator, _, _, videos = graph
    config = ModelConfig.load(model_directory)
    operator.until(lambda: videos, "a predicted video", 30.0)
    video = untile_actions(image_from_message(videos[-1]), config.chunk_size, config.views, config.image_size)
    assert video[0].std() > 10


def test_no_chunk_is_made_while_a_camera_is_said_to_have_moved(graph):
    operator, _, made, _ = graph
    said = operator.node.create_publisher(Bool, "calibration_ok", qos.LATCHED)
    said.publish(Bool(data=False))

    def reason() -> str:
        return operator.diagnostics["denoiser: generate"]["message"]

    operator.until(lambda: "a camera has moved" in reason(), "the reason", 20.0)
    count = len(made)
    operator.spin_for(2.0)
    assert len(made) - count <= 1
    said.publish(Bool(data=True))
    operator.until(lambda: len(made) >= count + 3, "action images", 30.0)


def test_an_empty_instruction_makes_it_wait_again(graph):
    operator, _, made, _ = graph
    operator.instruct("")
    operator.spin_for(1.0)
    count = len(made)
    operator.spin_for(1.5)
    assert len(made) - count <= 1

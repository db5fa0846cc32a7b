"""What the graph does when a part of it is lost, and by another command interface: each in a graph of its own."""

import os
import signal
import time

import numpy as np
from graph_support import controller_state, play, running_graph, verdict_of
from trajectory_msgs.msg import MultiDOFJointTrajectory

from action_images_ros.ros import qos
from action_images_ros.ros.messages import chunk_message
from action_images_ros.types import ActionChunk


def send_what_is_no_chunk(operator):
    """A pose that is not finite, and a frame that nobody knows."""
    publisher = operator.node.create_publisher(MultiDOFJointTrajectory, "targets", qos.TARGETS)
    operator.until(lambda: publisher.get_subscription_count() >= 1, "the controller", 10.0)
    chunk = ActionChunk.from_poses(np.repeat(np.eye(4)[None], 3, 0), np.ones(3), 1, 0.4)
    nan, elsewhere = chunk_message(chunk, "fr3_link0"), chunk_message(chunk, "elsewhere")
    nan.points[1].transforms[0].translation.x = float("nan")
    for msg in (nan, elsewhere):
        publisher.publish(msg)
        operator.spin_for(0.1)


def test_bad_targets_are_counted_and_a_killed_decoder_makes_the_arm_hold(cell_file, model_directory, tmp_path):
    with running_graph(cell_file, model_directory, tmp_path) as parts:
        runner, operator, watch, _, _ = parts
        send_what_is_no_chunk(operator)
        operator.until(lambda: operator.value("controller: control", "chunks_malformed") == 2, "both counted", 10.0)
        assert "elsewhere" in operator.diagnostics["controller: control"]["last_refusal"]
        play(parts)
        began_s = time.monotonic()
        operator.until(lambda: watch.travel_rad(began_s) > 0.1, "motion", 30.0)
        operator.on_wait = lambda: None
        os.kill(runner.pid("decoder"), signal.SIGKILL)
        operator.until(lambda: watch.resting(0.5), "the arm to hold", 8.0)
        operator.until(lambda: controller_state(operator) == "holding", "state holding", 8.0)
        said = operator.diagnostics["controller: control"]["fault"]
        assert "chunk" in said
        rest_s = time.monotonic()
        operator.spin_for(1.0)
        assert watch.travel_rad(rest_s) < 2e-3
        assert runner.poll().name == "decoder" and runner.poll().status == 128 + signal.SIGKILL


def test_by_cartesian_poses_too(cell_file, model_directory, tmp_path):
    with running_graph(cell_file, model_directory, tmp_path, command_interface="cartesian_pose") as parts:
        verdict = verdict_of(parts[1], play(parts))
        assert verdict.outcome == "success", verdict.reason

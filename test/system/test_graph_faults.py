"""What the graph does when a part of it is lost, and by another command interface: each in a graph of its own."""

import os
import signal
import time

from graph_support import controller_state, play, running_graph, verdict_of


def test_a_killed_decoder_makes_the_arm_hold(cell_file, model_directory, tmp_path):
    with running_graph(cell_file, model_directory, tmp_path) as parts:
        runner, operator, watch, _, _ = parts
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

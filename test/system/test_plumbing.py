"""sim_cell, decoder and controller as processes; the expert's action images in, the cell's verdict out."""

import time

import pytest
from graph_support import controller_state, expert_of, play, running_graph, verdict_of


@pytest.fixture(scope="module")
def graph(cell_file, model_directory, tmp_path_factory):
    with running_graph(cell_file, model_directory, tmp_path_factory.mktemp("log")) as parts:
        yield parts


def test_without_enable_nothing_moves(graph):
    _, operator, watch, player, cell = graph
    player.expert = expert_of(0, cell)
    began_s, played = time.monotonic(), player.played
    operator.until(lambda: player.played >= played + 4, "chunks", 20.0)
    assert watch.travel_rad(began_s) < 1e-3
    assert controller_state(operator) == "disabled"


@pytest.mark.parametrize("attempt", range(2))
def test_the_arm_reaches_what_the_action_images_say(graph, attempt):
    _, operator, watch, _, _ = graph
    episode = play(graph)
    verdict = verdict_of(operator, episode)
    assert verdict.outcome == "success", verdict.reason
    operator.until(lambda: watch.state.gripper_width_m < 0.01, "the gripper to close at the goal", 10.0)


def test_stop_brings_the_arm_to_rest_and_keeps_it_there(graph):
    _, operator, watch, player, _ = graph
    play(graph)
    began_s = time.monotonic()
    operator.until(lambda: watch.travel_rad(began_s) > 0.1, "motion", 30.0)
    assert operator.trigger("stop").ok
    operator.until(lambda: watch.resting(), "rest", 3.0)
    rest_s, played = time.monotonic(), player.played
    operator.until(lambda: player.played >= played + 3, "more chunks", 20.0)
    assert watch.travel_rad(rest_s) < 2e-3
    operator.until(lambda: controller_state(operator) == "disabled", "state disabled", 5.0)

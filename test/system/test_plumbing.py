"""sim_cell, decoder and controller as processes; the expert's action images in, the cell's verdict out."""

import time

import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from graph_support import controller_state, expert_of, play, running_graph, verdict_of
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue, SetParametersResult
from rcl_interfaces.srv import SetParameters
from tool_topics import aggregator_groups, foxglove_services, foxglove_topics, layout_frames, rviz_topics

from action_images_ros.ros import qos


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


def test_the_speed_is_set_while_the_controller_runs_and_a_refusal_says_why(graph):
    operator = graph[1]
    client = operator.node.create_client(SetParameters, "controller/set_parameters")
    operator.until(client.service_is_ready, "the controller's parameters", 30.0)

    def ask(name: str, value: ParameterValue) -> SetParametersResult:
        future = client.call_async(SetParameters.Request(parameters=[Parameter(name=name, value=value)]))
        operator.until(future.done, f"an answer about {name}", 30.0)
        return future.result().results[0]

    def speed(value: float) -> SetParametersResult:
        return ask("speed_factor", ParameterValue(type=ParameterType.PARAMETER_DOUBLE, double_value=value))

    assert speed(0.3).successful
    operator.until(lambda: operator.value("controller: control", "speed_factor") == 0.3, "the new speed", 30.0)
    for value, says in ((2.0, "legal: 0.01 to 1"), (5.0, "speed_factor")):
        refused = speed(value)
        assert not refused.successful and says in refused.reason, refused.reason
    assert not ask("rate_hz", ParameterValue(type=ParameterType.PARAMETER_DOUBLE, double_value=50.0)).successful
    assert speed(1.0).successful
    operator.until(lambda: operator.value("controller: control", "speed_factor") == 1.0, "the old speed", 30.0)


def test_what_the_layouts_for_rviz_and_foxglove_show_is_published(graph):
    operator = graph[1]
    wanted = rviz_topics() | foxglove_topics()
    assert len(rviz_topics()) >= 4 and len(foxglove_topics()) >= 7

    def missing() -> dict[str, str]:
        there = dict(operator.node.get_topic_names_and_types())
        return {t: kind for t, kind in wanted.items() if kind not in there.get(t, [])}

    def services() -> set[str]:
        return {name for name, _ in operator.node.get_service_names_and_types()}

    operator.until(lambda: not missing(), f"everything that the layouts show, {sorted(wanted)}", 30.0)
    operator.until(lambda: foxglove_services() <= services(), f"the services {foxglove_services()}", 30.0)
    assert layout_frames() == {graph[4].arm.base_frame}


def test_every_status_has_a_device_units_and_one_group_in_the_aggregator(graph):
    operator = graph[1]
    heard: dict[str, DiagnosticStatus] = {}
    take = lambda msg: heard.update({s.name: s for s in msg.status})  # noqa: E731
    subscription = operator.node.create_subscription(DiagnosticArray, "/diagnostics", take, qos.DIAGNOSTICS)
    wanted = {"controller: control", "controller: arm", "decoder: decode", "sim_cell: cell"}
    operator.until(lambda: wanted <= set(heard), "a status of every part", 20.0)
    operator.node.destroy_subscription(subscription)
    for status in heard.values():
        assert ": " in status.name and status.hardware_id and status.message and "\n" not in status.message
        assert len(aggregator_groups(status.name)) == 1, f"{status.name} is in {aggregator_groups(status.name)}"
        keys = [v.key for v in status.values]
        assert len(keys) == len(set(keys))
        limits = {k.removesuffix("_limit") for k in keys if k.endswith("_limit")}
        assert limits <= set(keys)
    arm = {v.key: v.value for v in heard["controller: arm"].values}
    assert float(arm["joint_states_hz"]) > 5 and arm["silent_ms_limit"].startswith("<= ")

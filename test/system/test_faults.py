"""Every fault injected into the running graph (the trials of `action-images bench faults`), and every way to end it.

Times are robot time or ROS time; deadlines of the controller are those of a machine that other work may occupy.
"""

import os
import signal
import subprocess
import sys
import time

import pytest

from action_images_ros.bench.faults import LONGEST_REST_S, faults, measure
from action_images_ros.bench.policy_graph import write_cell
from action_images_ros.cell import Cell
from action_images_ros.control import RESUME, Event, Resume
from action_images_ros.model.config import ModelConfig
from action_images_ros.ros.fault_lab import FaultLab
from action_images_ros.ros.graph import policy_graph, with_parameters
from action_images_ros.ros.operator import Operator
from action_images_ros.ros.paths import config_file
from action_images_ros.ros.runner import GraphRunner

STATES = {Resume.BY_ITSELF: "holding", Resume.ENABLE: "disabled", Resume.RESET: "fault"}
WAIT_S = 120.0


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """All faults one after the other in one running graph."""
    return {row.fault: row for row in measure(tmp_path_factory.mktemp("faults"), patient=True)}


@pytest.mark.parametrize("fault", faults(), ids=lambda f: f.name)
def test_the_arm_comes_to_rest_in_time_and_goes_on_only_as_the_table_says(rows, fault):
    row = rows[fault.name]
    assert row.rest_s <= LONGEST_REST_S and row.peak_of_limit < 1.0, row
    if not fault.events:
        assert (row.state, row.goes_on) == ("gone", "enable")
        return
    (resume,) = {RESUME[event] for event in fault.events if event is not Event.FRAMES_STALE or len(fault.events) == 1}
    assert (row.state, row.goes_on) == (STATES[resume], resume.value), row


def test_every_fault_of_the_watchdog_is_injected():
    injected = {event for fault in faults() for event in fault.events}
    assert set(RESUME) - injected == {Event.DISABLE, Event.LIMITER_FAILED}


@pytest.fixture(scope="module")
def arm(tmp_path_factory):
    """(lab, cell file): the simulated cell alone, watched by the lab's onlooker."""
    out, model = tmp_path_factory.mktemp("ends"), config_file("models/reach")
    cell_file = write_cell(out, model, seed=0)
    graph = with_parameters(policy_graph({"sim": "true", "cell": str(cell_file)}), {"sim_cell": {"timeout_s": 600.0}})
    cell = tuple(n for n in graph if n.name == "sim_cell")
    with GraphRunner(cell, out / "log") as runner, Operator() as operator:
        operator.until(lambda: operator.active("sim_cell: cell"), "the cell", WAIT_S)
        yield FaultLab(runner, operator, Cell.load(cell_file), ModelConfig.load(model)), cell_file


@pytest.mark.parametrize("signals", [(signal.SIGINT, signal.SIGINT), (signal.SIGTERM,)], ids=["twice INT", "TERM"])
def test_ending_the_policy_under_way_leaves_a_resting_arm_and_no_orphan(arm, tmp_path, signals):
    """Once more where a busy machine kept the simulation from running in real time, as with the faults."""
    peaks = []
    for attempt in range(3):
        peaks.append(end_policy(*arm, tmp_path / str(attempt), signals))
        if peaks[-1] < 10.0:
            return
    pytest.fail(f"largest accelerations (rad/s^2; legal: below 10): {peaks}")


def end_policy(lab, cell_file, tmp_path, signals) -> float:
    """Largest acceleration from the signals until rest."""
    lab.record.changes.clear()
    lab.operator.diagnostics.clear()
    words = ("up", "policy", f"cell:={cell_file}", "speed_factor:=0.5", "--log-dir", str(tmp_path))
    up = subprocess.Popen([sys.executable, "-m", "action_images_ros.cli", *words], start_new_session=True)
    try:
        for report in ("denoiser: generate", "decoder: decode", "controller: control"):
            lab.until(lambda r=report: lab.operator.active(r), report, WAIT_S)
        lab.set_moving()
        children = [int(p) for p in open(f"/proc/{up.pid}/task/{up.pid}/children").read().split()]
        ended_s = lab.now_s()
        for number in signals:
            up.send_signal(number)
        lab.until(lambda: up.poll() is not None, "up to end", 30.0)
        lab.until(lambda: lab.record.came_to_rest(ended_s) is not None, "rest", 30.0)
        peak = lab.record.peak_acceleration(ended_s, lab.now_s())
        lab.until(lambda: not any(alive(pid) for pid in children), "the nodes to end", 20.0)
        assert len(children) >= 3 and "Traceback" not in "".join(log.read_text() for log in tmp_path.iterdir())
        return peak
    finally:
        if up.poll() is None:
            up.kill()
        up.wait()


def alive(pid: int) -> bool:
    try:
        os.killpg(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("delay_s", [0.3, 0.8, 1.5])
def test_a_node_that_is_interrupted_while_it_starts_ends_without_a_traceback(delay_s, tmp_path):
    graph = tuple(n for n in policy_graph({"sim": "true"}) if n.name == "sim_cell")
    with GraphRunner(graph, tmp_path):
        time.sleep(delay_s)
    assert "Traceback" not in (tmp_path / "sim_cell.log").read_text()

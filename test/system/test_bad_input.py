"""Bad input: the process ends with status 2 and one line that says what is wrong and what to do."""

import dataclasses
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
from graph_support import START_S, Watch, node, sim_node

from action_images_ros.cell import Cell
from action_images_ros.model.config import ModelConfig
from action_images_ros.ros.node_spec import NodeSpec
from action_images_ros.ros.operator import Operator
from action_images_ros.ros.runner import GraphRunner, command_line


def ended(spec: NodeSpec, timeout_s: float = 60.0) -> tuple[int, str]:
    """Exit status and the error line of a node that ends by itself."""
    done = subprocess.run(command_line(spec), capture_output=True, text=True, timeout=timeout_s)
    lines = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert len(lines) == 1 and "Traceback" not in done.stderr, done.stderr
    return done.returncode, lines[0]


def edited(cell_file, tmp_path, old: str, new: str):
    text = cell_file.read_text()
    assert old in text
    path = tmp_path / "edited.yaml"
    path.write_text(text.replace(old, new))
    return path


@pytest.mark.parametrize(
    ("name", "parameters", "says"),
    [
        ("controller", {"cell": "/nope.yaml"}, "/nope.yaml does not exist"),
        ("controller", {"cell": ""}, "needs the parameter `cell`"),
        ("controller", {"command_interface": "joints"}, "legal: joint_trajectory, joint_target"),
        ("controller", {"speed_factor": 9.0}, "speed_factor is 9.0; legal: 0.01 to 3.0"),
        ("controller", {"sped_factor": 1.0}, "has no parameter sped_factor"),
        ("controller", {"gripper_interface": "franka_gripper"}, "not installed"),
        ("controller", {"wait_s": 1.0}, "waited 1 s: no joint states"),
        ("decoder", {"model": "/nope"}, "is not a model directory"),
        ("console", {"urdf": "/nope.urdf"}, "name the URDF of the arm"),
        ("console", {"host": "no.such.host.invalid", "scene": False}, "cannot listen on no.such.host.invalid"),
        ("sim_cell", {"task": "fly"}, "task is 'fly'; legal: close_drawer"),
        ("denoiser", {"model": "/nope"}, "is not a model directory"),
        ("calibrator", {"poses": 12}, "needs a board: gripper_board or table_board"),
        ("drift_monitor", {"robot": "/nope.urdf"}, "is no URDF that can be read"),
    ],
    ids=lambda v: v if isinstance(v, str) else next(iter(v)),
)
def test_a_node_says_what_is_wrong_and_ends_with_2(cell_file, name, parameters, says):
    status, line = ended(node(name, cell_file, **parameters))
    assert status == 2 and says in line


def test_the_denoiser_refuses_a_cell_that_is_not_what_the_model_was_trained_on(cell_file, model_directory, tmp_path):
    shutil.copytree(model_directory, tmp_path / "model")
    config = ModelConfig.load(model_directory)
    data = dataclasses.replace(config.data, views=("left", "wrist"), tcp_frame="fr3_hand")
    dataclasses.replace(config, data=data).save(tmp_path / "model")
    status, line = ended(node("denoiser", cell_file, model=str(tmp_path / "model"), engine="torch"), 120.0)
    assert status == 2 and "tcp_frame was fr3_hand, here it is fr3_hand_tcp" in line
    assert "views was left, wrist, here it is left, right" in line


def test_a_malformed_cell_file_names_key_and_line(cell_file, tmp_path):
    path = edited(cell_file, tmp_path, "  right:", "  middle: 7\n  right:")
    status, line = ended(node("controller", path))
    assert status == 2 and f"{path}:" in line and "views.middle" in line


@pytest.mark.parametrize("name", ["denoiser", "decoder", "controller"])
def test_a_calibration_worse_than_the_limit_is_refused(cell_file, model_directory, tmp_path, name):
    path = edited(cell_file, tmp_path, "reproj_rms_px: 0.0", "reproj_rms_px: 1.7")
    parameters = {} if name == "controller" else {"model": str(model_directory)}
    status, line = ended(node(name, path, **parameters))
    assert status == 2 and "must not start" in line
    assert "view left: reprojection is 1.70 px, this cell's limit is 1 px" in line and "calibrate" in line


def test_a_model_for_another_number_of_views_is_refused(cell_file, model_directory, tmp_path):
    (tmp_path / "config.json").write_text(
        (model_directory / "config.json").read_text().replace('"views": 2', '"views": 3')
    )
    status, line = ended(node("decoder", cell_file, model=str(tmp_path)))
    assert status == 2 and "sees 3 views" in line and "lists 2" in line


def test_missing_views_are_named(cell_file, model_directory):
    status, line = ended(node("denoiser", cell_file, model=str(model_directory), engine="torch", wait_s=1.0))
    assert status == 2 and "view left: no image on /camera/left/color/image_raw" in line


def test_a_camera_of_another_size_stops_everything_that_reads_it(cell_file, model_directory, tmp_path):
    other = edited(cell_file, tmp_path, "image_size: [320, 240]", "image_size: [318, 240]")
    with (
        GraphRunner([sim_node(cell_file)], tmp_path / "log") as runner,
        Operator(on_wait=runner.require_running) as operator,
    ):
        watch = Watch(operator, Cell.load(cell_file))
        operator.until(lambda: watch.camera_stamp_ns > 0, "cameras", START_S)
        for spec in (node("decoder", other, model=str(model_directory)), node("controller", other)):
            status, line = ended(spec)
            assert status == 2 and "camera_info says 320x240, the cell file calibrates 318x240" in line


def alive_in_group(pid: int) -> bool:
    try:
        os.killpg(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_however_up_ends_it_leaves_no_orphan(tmp_path, number):
    """SIGKILL cannot be caught: the nodes notice that their parent is gone."""
    command = [
        sys.executable,
        "-m",
        "action_images_ros.cli",
        "up",
        "sim_cell",
        "console:=log",
        "--log-dir",
        str(tmp_path),
    ]
    command.remove("console:=log")
    up = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True)
    try:
        assert "nodes started" in up.stdout.readline()
        log = tmp_path / "sim_cell.log"
        wait(lambda: log.exists() and "images/s" in log.read_text(), "the cell to start", START_S)
        children = [int(p) for p in open(f"/proc/{up.pid}/task/{up.pid}/children").read().split()]
        assert children
        up.send_signal(number)
        if number == signal.SIGINT:
            up.send_signal(number)
        wait(lambda: up.poll() is not None, "up to end", 15.0)
        wait(lambda: not any(alive_in_group(pid) for pid in children), "its nodes to end", 15.0)
    finally:
        if up.poll() is None:
            up.kill()
        up.stdout.close()
        up.wait()


def wait(condition, what: str, timeout_s: float) -> None:
    end_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end_s, f"waited {timeout_s} s for {what}"
        time.sleep(0.05)

"""doctor on a running cell: it hears what the policy would hear, and names what is wrong."""

import json
import subprocess
import sys

import pytest
from graph_support import START_S, Watch, sim_node

from action_images_ros.cell import Cell
from action_images_ros.ros.operator import Operator
from action_images_ros.ros.runner import GraphRunner


def doctor(cell_file) -> tuple[int, dict[str, dict]]:
    """Exit status and the lines about the cell, by name."""
    done = subprocess.run(
        [sys.executable, "-m", "action_images_ros.cli", "doctor", "--json", "--cell", str(cell_file)],
        capture_output=True,
        text=True,
        timeout=300,
    )
    return done.returncode, {line["name"]: line for line in json.loads(done.stdout)}


@pytest.fixture(scope="module")
def running(cell_file, tmp_path_factory):
    with (
        GraphRunner([sim_node(cell_file)], tmp_path_factory.mktemp("log")) as runner,
        Operator(on_wait=runner.require_running) as operator,
    ):
        watch = Watch(operator, Cell.load(cell_file))
        operator.until(lambda: watch.camera_stamp_ns > 0, "cameras", START_S)
        yield


def test_a_cell_that_runs(running, cell_file):
    _, lines = doctor(cell_file)
    for name in ("camera left", "camera right", "sync", "arm"):
        # a busy machine may be slow, which is worth a warning
        assert lines[name]["level"] in ("ok", "warn"), lines[name]
    assert "images/s" in lines["camera left"]["detail"] and "sets" in lines["sync"]["detail"]
    assert "joint states/s" in lines["arm"]["detail"]


def test_a_cell_file_of_another_cell(running, cell_file, tmp_path):
    """The right camera's topic is wrong, the left one is calibrated at another size, and the arm has other joints."""
    text = cell_file.read_text()
    for old, new in (("/camera/right", "/camera/wrist"), ("[320, 240]", "[318, 240]"), ("fr3_joint1", "panda_joint1")):
        assert old in text
        text = text.replace(old, new)
    path = tmp_path / "cell.yaml"
    path.write_text(text)
    status, lines = doctor(path)
    assert status == 1
    assert "calibrates 318x240" in lines["camera left"]["detail"]
    assert "no image on /camera/wrist/color/image_raw" in lines["camera right"]["detail"]
    assert lines["sync"]["level"] == "fail" and "view right" in lines["sync"]["detail"]
    assert lines["arm"]["level"] == "fail" and "panda_joint1" in lines["arm"]["detail"]
    assert all(line["remedy"] for line in lines.values() if line["level"] != "ok")

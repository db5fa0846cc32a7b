"""One graph, two ways to start it: `ros2 launch` and `action-images up` start identical command lines.

Stand-in executables write down how they were called. The launch half runs where `launch` is installed;
what the launch files say is checked everywhere.
"""

import ast
import importlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import yaml

from action_images_ros.ros.graph import GRAPHS
from action_images_ros.ros.node_spec import PACKAGE
from action_images_ros.ros.parameters import specs

ROOT = Path(__file__).resolve().parents[2]
LAUNCH_FILES = {"policy": "franka_policy.launch.py", "sim_cell": "sim_cell.launch.py",
                "calibrate_cameras": "calibrate_cameras.launch.py", "record": "record.launch.py",
                "record_demo": "record_demo.launch.py"}
SPACED = tempfile.TemporaryDirectory(prefix="some where ")
shutil.copy(ROOT / "models/reach/config.json", SPACED.name)
CASES = {
    "policy": [
        {},
        {"sim": "true", "instruction": "it's the red: ball", "speed_factor": "1", "autostart": "false"},
        {
            "command_interface": "cartesian_pose",
            "gripper_interface": "none",
            "engine": "torch",
            "model": SPACED.name,
        },
        {"camera_driver": "pyrealsense2"},
        {"camera_driver": "realsense_ros"},
        {"sim": "true", "arm": "libfranka"},
        {"arm": "libfranka", "arm_address": "172.16.0.2", "gripper_interface": "none"},
    ],
    "record_demo": [{}, {"seed": "7", "task": "reach_target", "images": "jpeg"}],
    "record": [{}, {"out": "/some where/bags", "images": "jpeg", "pre_roll_s": "5", "pattern": "/a.*"}],
    "calibrate_cameras": [{"sim": "true"}, {"gripper_board": "charuco:6x4:45/31mm:4X4_50", "poses": "12"}],
    "sim_cell": [{}, {"seed": "7", "split": "train", "camera_rate_hz": "5", "log_level": "debug"}],
}
ALL = [(graph, case) for graph, cases in CASES.items() for case in cases]
STUB = """#!{python}
import json, os, sys, time
with open(os.path.join({record!r}, str(os.getpid()) + ".json"), "w") as f:
    json.dump(sys.argv, f)
time.sleep({linger})
"""


def graph_of(name: str, given: dict[str, str]):
    return GRAPHS[name][1](given)


def prefix_with_stubs(tmp_path: Path, graph, linger_s: float) -> tuple[Path, Path]:
    """An ament prefix whose executables only write down their arguments, and where they do."""
    prefix, record = tmp_path / "prefix", tmp_path / "record"
    record.mkdir()
    for node in graph:
        marker = prefix / "share/ament_index/resource_index/packages" / node.package
        marker.parent.mkdir(parents=True, exist_ok=True)
        marker.touch()
        stub = prefix / "lib" / node.package / node.executable
        stub.parent.mkdir(parents=True, exist_ok=True)
        stub.write_text(STUB.format(python=sys.executable, record=str(record), linger=linger_s))
        stub.chmod(0o755)
    return prefix, record


def calls(record: Path) -> list[list[str]]:
    return sorted(json.loads(path.read_text()) for path in record.iterdir())


def expected(prefix: Path, graph) -> list[list[str]]:
    return sorted([str(prefix / "lib" / n.package / n.executable), *n.command_arguments()] for n in graph)


def words(given: dict[str, str]) -> list[str]:
    return [f"{k}:={v}" for k, v in given.items()]


def started_by(command: list[str], prefix: Path, tmp_path: Path) -> None:
    env = {
        **os.environ,
        "AMENT_PREFIX_PATH": str(prefix),
        "PYTHONPATH": str(ROOT),
        "ROS_LOG_DIR": str(tmp_path / "log"),
    }
    subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize(("name", "given"), ALL)
def test_up_starts_the_graphs_command_lines(name, given, tmp_path):
    graph = graph_of(name, given)
    prefix, record = prefix_with_stubs(tmp_path, graph, 3.0)
    started_by([sys.executable, "-m", "action_images_ros.cli", "up", name, *words(given)], prefix, tmp_path)
    assert calls(record) == expected(prefix, graph)


LAUNCHER = """
import sys
from launch import LaunchDescription, LaunchService
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
arguments = [w.split(":=", 1) for w in sys.argv[2:]]
service = LaunchService(noninteractive=True)
service.include_launch_description(LaunchDescription([
    IncludeLaunchDescription(PythonLaunchDescriptionSource(sys.argv[1]), launch_arguments=arguments)]))
sys.exit(service.run())
"""


@pytest.mark.skipif(importlib.util.find_spec("launch_ros") is None, reason="launch_ros is not installed here")
@pytest.mark.parametrize(("name", "given"), ALL)
def test_the_launch_file_starts_the_same_command_lines(name, given, tmp_path):
    graph = graph_of(name, given)
    prefix, record = prefix_with_stubs(tmp_path, graph, 3.0)
    file = ROOT / "launch" / LAUNCH_FILES[name]
    started_by([sys.executable, "-c", LAUNCHER, str(file), *words(given)], prefix, tmp_path)
    assert calls(record) == expected(prefix, graph)


@pytest.mark.parametrize("name", GRAPHS)
def test_the_launch_file_is_made_of_the_graph_and_nothing_else(name):
    """Its whole content: the graph's arguments and builder, handed to the one translation into launch actions."""
    tree = ast.parse((ROOT / "launch" / LAUNCH_FILES[name]).read_text(encoding="utf-8"))
    statements = [s for s in tree.body if not isinstance(s, ast.Expr)]
    *imports, function = statements
    assert all(isinstance(s, ast.ImportFrom) for s in imports) and function.name == "generate_launch_description"
    (returned,) = function.body
    call = returned.value
    assert call.func.id == "description"
    graph = importlib.import_module("action_images_ros.ros.graph")
    assert tuple(getattr(graph, a.id) for a in call.args) == GRAPHS[name]


def parameter_class(executable: str) -> type:
    module = importlib.import_module(f"{PACKAGE}.nodes.{executable}")
    (name,) = [n for n in vars(module) if n.endswith("Parameters") and vars(module)[n].__module__ == module.__name__]
    return vars(module)[name]


@pytest.mark.parametrize(("name", "given"), ALL)
def test_every_parameter_of_the_graph_is_declared_and_legal(name, given):
    for node in graph_of(name, given):
        if node.package != PACKAGE:
            continue
        known = {s.name: s for s in specs(parameter_class(node.executable))}
        for key, value in node.parameters.items():
            known[key].check(value)


@pytest.mark.parametrize("file", sorted((ROOT / "config").glob("*.yaml")), ids=lambda p: p.name)
def test_every_parameter_file_fits_its_node(file):
    content = yaml.safe_load(file.read_text(encoding="utf-8"))
    if "ros__parameters" not in str(content) or "analyzers" in content:  # the latter is diagnostic_aggregator's
        return
    ((node, inner),) = content.items()
    assert node == file.stem
    known = {s.name: s for s in specs(parameter_class(node))}
    for key, value in inner["ros__parameters"].items():
        known[key].check(value)


@pytest.mark.parametrize("name", GRAPHS)
def test_every_executable_and_file_of_the_graph_exists(name):
    for node in graph_of(name, {"sim": "true"} if name == "policy" else {}):
        if node.package == PACKAGE:
            assert callable(importlib.import_module(f"{PACKAGE}.nodes.{node.executable}").main)
            assert node.parameter_file.is_file()
        else:
            assert node.optional


def test_arguments_are_those_that_are_promised():
    names = {a.name for a in GRAPHS["policy"][0]}
    assert names >= {
        "sim",
        "model",
        "engine",
        "command_interface",
        "gripper_interface",
        "cell",
        "instruction",
        "autostart",
        "console",
    }
    assert all(a.description for arguments, _ in GRAPHS.values() for a in arguments)
    assert all(a.default in a.choices for arguments, _ in GRAPHS.values() for a in arguments if a.choices)

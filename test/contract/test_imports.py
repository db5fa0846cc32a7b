"""The import rule: what each room may use. Read from the source, so that nothing needs to be installed or run."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = "action_images_ros"
ROOT = Path(__file__).resolve().parents[2] / PACKAGE
FILES = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*.py"))

LEVELS = (
    {"errors", "interrupts", "__version__"},
    {"geometry", "types", "yaml_tree", "cell", "cell_calibration", "camera_settings", "streams"},
    {"cameras", "codec", "model", "engines", "control", "calibration", "recording", "metrics", "pictures",
     "trajectory_csv"},
    {"policy", "training", "sim", "overlay"},
    {"ros", "arm", "console", "viewing"},
    {"nodes", "cli", "bench"},
)
"""A room imports rooms of the levels before its own, and those of its own level only where NEIGHBOURS says so."""

NEIGHBOURS = {
    ("types", "geometry"): "images travel with the cameras that took them",
    ("cell", "geometry"): "a cell is calibrated cameras",
    ("cell", "cell_calibration"): "a cell says where its camera poses come from",
    ("cell", "camera_settings"): "a cell says how its cameras are driven",
    ("camera_settings", "yaml_tree"): "read with the line of every error",
    ("cell_calibration", "yaml_tree"): "read with the line of every error",
    ("cell", "yaml_tree"): "a cell is read from YAML, with the line of every error",
    ("streams", "types"): "a history is one of robot states",
    ("recording", "control"): "recorded joints become TCP poses by the arm's kinematics",
    ("recording", "codec"): "the audit report draws recorded actions as action images over the video",
    ("recording", "pictures"): "the audit report is pictures",
    ("model", "codec"): "the current action enters the canvas as an action image, encoded as the model's config says",
    ("engines", "model"): "an engine is a model.Denoiser made from a model directory",
    ("training", "policy"): "labels are the policy's mode label along a whole video",
    ("training", "sim"): "every other object of a recorded simulated scene is a further demonstration",
    ("arm", "ros"): "trajectories are interpolated as a joint trajectory controller does, rates measured as elsewhere",
    ("cli", "bench"): "`action-images bench` lists and starts the benchmarks",
}

ROS = {
    "rclpy", "rcl_interfaces", "builtin_interfaces", "lifecycle_msgs", "sensor_msgs", "std_msgs", "std_srvs",
    "geometry_msgs", "trajectory_msgs", "diagnostic_msgs", "control_msgs", "franka_msgs", "tf2_msgs", "tf2_ros",
    "visualization_msgs", "cv_bridge", "message_filters", "launch", "launch_ros", "ament_index_python",
}
RUNTIMES = {"onnxruntime", "openvino", "tensorrt", "tensorrt_rtx"}
MUJOCO_FILES = {"control/kinematics_mujoco.py"}

NO_CLOCK = set().union(*LEVELS[:4])
CLOCKS = {
    "time.time", "time.time_ns", "time.monotonic", "time.monotonic_ns", "time.perf_counter", "time.perf_counter_ns",
    "time.sleep", "datetime.now", "datetime.utcnow", "datetime.today", "date.today",
}

MAY_PRINT = {"cli", "nodes", "bench"}
PRINTING_FILES = {"ros/main.py": "the one line with which a node process that cannot start says why"}


def room_of(file: str) -> str:
    return file.split("/")[0].removesuffix(".py")


def level_of(room: str) -> int:
    for k, rooms in enumerate(LEVELS):
        if room in rooms:
            return k
    raise LookupError(f"{room} is on no level; give it its place in LEVELS")


def imported(file: str, tree: ast.AST) -> Iterator[tuple[str, ast.stmt]]:
    """Absolute dotted names that the file imports, wherever in the file."""
    here = [PACKAGE, *file.split("/")[:-1]]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = here[: len(here) - node.level + 1] if node.level else []
            module = ".".join([*parts, *([node.module] if node.module else [])])
            yield from ((f"{module}.{alias.name}", node) for alias in node.names)


def runs_on_import(tree: ast.Module) -> set[ast.stmt]:
    """Statements that are executed when the module is imported: all but those inside functions."""
    waiting, found = list(tree.body), set()
    while waiting:
        node = waiting.pop()
        found.add(node)
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            waiting += [child for child in ast.iter_child_nodes(node)]
    return found


def import_violations(file: str, tree: ast.Module) -> Iterator[str]:
    room, eager = room_of(file), runs_on_import(tree)
    for name, node in imported(file, tree):
        top, *rest = name.split(".")
        where = f"{file}:{node.lineno}: "
        if top == PACKAGE:
            other = rest[0]
            if other == room or room == "__init__":
                continue
            if level_of(other) > level_of(room):
                yield f"{where}{room} is below {other}"
            elif level_of(other) == level_of(room) and (room, other) not in NEIGHBOURS:
                yield f"{where}{room} and {other} are of one level, and no reason is listed"
        elif top in ROS and room not in {"ros", "nodes"}:
            yield f"{where}{top} belongs to ros and nodes"
        elif top in RUNTIMES and room != "engines":
            yield f"{where}{top} belongs to its engine"
        elif top in RUNTIMES and node in eager:
            yield f"{where}{top} must be imported inside a function: it may be absent"
        elif top == "mujoco" and room != "sim" and file not in MUJOCO_FILES:
            yield f"{where}mujoco belongs to sim"


def call_violations(file: str, tree: ast.Module) -> Iterator[str]:
    room = room_of(file)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "time" and room in NO_CLOCK:
            yield f"{file}:{node.lineno}: time comes in as an argument"
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        if room in NO_CLOCK and any(called == clock or called.endswith(f".{clock}") for clock in CLOCKS):
            yield f"{file}:{node.lineno}: {called}() below ros: time comes in as an argument"
        if called == "print" and room not in MAY_PRINT and file not in PRINTING_FILES:
            yield f"{file}:{node.lineno}: print() below cli, nodes and bench"


def violations(file: str, source: str) -> list[str]:
    tree = ast.parse(source)
    return [*import_violations(file, tree), *call_violations(file, tree)]


@pytest.mark.parametrize("file", FILES)
def test_file_keeps_the_import_rule(file):
    assert violations(file, (ROOT / file).read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("geometry/x.py", "from ..codec import decode"),
        ("geometry/x.py", "def f():\n    import action_images_ros.sim"),
        ("control/x.py", "from ..calibration import board"),
        ("sim/x.py", "from .. import policy"),
        ("codec/x.py", "import rclpy.node"),
        ("policy.py", "from sensor_msgs.msg import Image"),
        ("engines/x.py", "import openvino"),
        ("engines/x.py", "try:\n    import tensorrt\nexcept ImportError:\n    pass"),
        ("ros/x.py", "def f():\n    import onnxruntime"),
        ("control/controller.py", "import mujoco"),
        ("control/x.py", "import time\nnow = time.monotonic()"),
        ("sim/x.py", "from time import perf_counter"),
        ("recording/x.py", "import datetime\nnow = datetime.datetime.now()"),
        ("ros/x.py", "print('hello')"),
    ],
)
def test_the_rule_catches(file, source):
    assert len(violations(file, source)) == 1


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("engines/x.py", "def load():\n    import openvino"),
        ("codec/x.py", "from ..geometry import se3\nfrom . import encoding"),
        ("nodes/x.py", "import time\nimport rclpy\nfrom ..ros import qos\nprint(time.monotonic())"),
        ("cell.py", "import datetime\ndatetime.datetime.fromisoformat('2026-01-01')"),
    ],
)
def test_the_rule_allows(file, source):
    assert violations(file, source) == []


def test_every_folder_is_a_package_of_a_known_room():
    folders = {path.parent for path in ROOT.rglob("*.py")} - {ROOT}
    assert [folder for folder in sorted(folders) if not (folder / "__init__.py").is_file()] == []
    assert {room_of(file) for file in FILES} - set().union(*LEVELS) == {"__init__"}


BLOCK = """
import importlib, sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in BLOCKED:
            raise ModuleNotFoundError(f"{name} is blocked by this test", name=name)
sys.meta_path.insert(0, Block())
for name in MODULES:
    importlib.import_module(name)
assert not BLOCKED & {name.split(".")[0] for name in sys.modules}
"""

ROUND_TRIP = """
import numpy as np
from action_images_ros.codec import ActionEncoding, decode, encode
from action_images_ros.geometry import PinholeCamera
K = np.array([[300.0, 0, 127.5], [0, 300, 127.5], [0, 0, 1]])
def looking_down(x):
    pose = np.eye(4)
    pose[:3, :3] = np.array([[0, 1, 0], [1, 0, 0], [0, 0, -1.0]])
    angle = np.arctan2(x, 1.0)
    turn = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
    pose[:3, :3] = turn @ pose[:3, :3]
    pose[:3, 3] = (x, 0, 1.0)
    return PinholeCamera(K, (256, 256), pose)
poses = np.tile(np.eye(4), (2, 1, 1))
poses[1, :3, 3] = (0.05, 0.02, 0.03)
cameras = [looking_down(0.4), looking_down(-0.4)]
chunk = decode(encode(poses, np.ones(2), cameras, ActionEncoding()), cameras)
assert np.abs(chunk.base_T_tcps - poses).max() < 1e-3, chunk.base_T_tcps
"""


def run_blocked(blocked: set[str], modules: list[str], then: str = "") -> subprocess.CompletedProcess:
    code = f"BLOCKED = {blocked!r}\nMODULES = {modules!r}\n{BLOCK}\n{then}"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=600, cwd=ROOT.parent)


def modules_of(rooms: set[str]) -> list[str]:
    files = [file for file in FILES if room_of(file) in rooms]
    return [f"{PACKAGE}." + file.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for file in files]


def test_everything_below_ros_imports_and_runs_without_ros():
    done = run_blocked(ROS, modules_of(NO_CLOCK), ROUND_TRIP)
    assert done.returncode == 0, done.stderr


def test_what_runs_on_the_robot_imports_without_torch():
    rooms = {"errors", "types", "geometry", "cell", "codec", "control", "policy", "sim", "ros", "nodes", "cli"}
    absent = {"torch", "diffusers", "transformers", "accelerate", "onnx", "onnxscript"}
    done = run_blocked(absent, [f"{PACKAGE}.engines", *modules_of(rooms)])
    assert done.returncode == 0, done.stderr

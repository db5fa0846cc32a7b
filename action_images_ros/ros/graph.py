"""The node graph as data. Launch files and `action-images up` start exactly this.

Command lines follow launch_ros: everything but name and namespace in a first `--ros-args` group.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path

import yaml

from ..camera_settings import Depth, SyncRole
from ..cell import Calibrated, Cell, View
from ..errors import ConfigError, one_of
from ..geometry.se3 import quat_from_matrix
from .cells import policy_cell
from .paths import config_file

PACKAGE = "action_images_ros"
COMMAND_INTERFACES = ("joint_trajectory", "joint_target", "joint_positions", "cartesian_pose")
ARM_GRIPPERS = ("position", "finger_positions", "position_trajectory", "none")
"""What franka_arm serves of GRIPPER_INTERFACES; the actions need a ROS 2 gripper node."""

GRIPPER_INTERFACES = (
    "position", "finger_positions", "position_trajectory", "gripper_command", "franka_gripper", "none",
)  # fmt: skip
CAMERA_DRIVERS = ("pyrealsense2", "realsense_ros", "none")
ARMS = ("topics", "libfranka")
SIMULATED_ARM = "127.0.0.2"
"""Where the simulated cell serves libfranka's protocol."""

CONSOLES = ("none", "log", "web")


@dataclass(frozen=True)
class NodeSpec:
    """One process. parameters override parameter_file; remappings from -> to; arguments: before any ROS argument.

    required: the whole graph ends when this node does. optional: skipped where its package is not installed.
    log_level: least severe message; "": rcl's default.
    """

    executable: str
    name: str
    package: str = PACKAGE
    namespace: str = ""
    parameter_file: Path | None = None
    parameters: Mapping[str, object] = field(default_factory=dict)
    remappings: Mapping[str, str] = field(default_factory=dict)
    arguments: tuple[str, ...] = ()
    lifecycle: bool = False
    respawn: bool = False
    required: bool = True
    optional: bool = False
    log_level: str = ""

    def ros_arguments(self) -> tuple[str, ...]:
        """What stands between the two `--ros-args`: parameters and remappings."""
        out: list[str] = []
        if self.parameter_file is not None:
            out += ["--params-file", str(self.parameter_file)]
        for name, value in self.parameters.items():
            out += ["-p", f"{name}:={_yaml_scalar(value)}"]
        for source, target in self.remappings.items():
            out += ["-r", f"{source}:={target}"]
        if self.log_level:
            out += ["--log-level", self.log_level]
        return tuple(out)

    def command_arguments(self) -> tuple[str, ...]:
        """Everything after the executable."""
        inner = self.ros_arguments()
        out = [*self.arguments, *(("--ros-args", *inner) if inner else ()), "--ros-args", "-r", f"__node:={self.name}"]
        if self.namespace:
            out += ["-r", f"__ns:={self.namespace}"]
        return tuple(out)


def _yaml_scalar(value: object) -> str:
    """A parameter value as rcl's YAML reads it back with the same type."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        text = repr(value)
        return text if "." in text or "n" in text else text.replace("e", ".0e") if "e" in text else text + ".0"
    if isinstance(value, int):
        return str(value)
    return str(value) if _reads_as_itself(str(value)) else "'" + str(value).replace("'", "''") + "'"


def _reads_as_itself(text: str) -> bool:
    """Whether plain YAML makes exactly this text of it."""
    try:
        return yaml.safe_load(text) == text
    except (yaml.YAMLError, ValueError):
        return False


@dataclass(frozen=True)
class Argument:
    """One argument of a launch file and of `action-images up`. choices empty: free text."""

    name: str
    default: str
    description: str
    choices: tuple[str, ...] = ()


_TRUTH = ("true", "false")
_MODES = ("guide", "propose")
_LOG_LEVEL = Argument("log_level", "info", "least severe message of the nodes", ("debug", "info", "warn", "error"))

POLICY_ARGUMENTS = (
    Argument("sim", "false", "start the simulated cell instead of expecting a real arm and cameras", _TRUTH),
    Argument("model", "models/reach", "model directory, absolute or relative to the package's share directory"),
    Argument("engine", "auto", "inference engine; auto takes the fastest one installed"),
    Argument("command_interface", "joint_trajectory", "what the arm's controller listens to", COMMAND_INTERFACES),
    Argument("gripper_interface", "position", "what the gripper listens to", GRIPPER_INTERFACES),
    Argument("arm", "topics", "libfranka: start franka_arm; topics: ros2_control or the simulated cell obeys", ARMS),
    Argument("arm_address", "", "arm:=libfranka: address of the robot (FCI), such as 172.16.0.2; not with sim:=true"),
    Argument("cell", "", "cell file; default: config/cell.yaml of the package"),
    Argument("camera_driver", "none", "what to start for the cell's cameras; sim:=true starts none", CAMERA_DRIVERS),
    Argument("drift_monitor", "auto", "watch for knocked cameras; auto: unless sim:=true", ("auto", *_TRUTH)),
    Argument("instruction", "", "instruction to start with; empty: wait for the topic `instruction`"),
    Argument("autostart", "true", "configure and activate the nodes; false leaves that to a lifecycle manager", _TRUTH),
    Argument("speed_factor", "0.2", "playback speed of the policy's motion, 1 = its own; begin low on a real arm"),
    Argument("console", "none", "log: the nodes' output on the screen too; web: the operator's live page", CONSOLES),
    Argument("console_host", "127.0.0.1", "address of the live page; others than this machine's own need its token"),
    Argument("console_port", "8080", "TCP port of the live page; its stop button has the next one"),
    _LOG_LEVEL,
)

SIM_ARGUMENTS = (
    Argument("cell", "", "cell file; default: config/cell.yaml of the package"),
    Argument("task", "reach_target", "task of the simulated cell"),
    Argument("split", "test", "scenes of training or of test", ("train", "test")),
    Argument("seed", "0", "seed of the scenes"),
    Argument("camera_rate_hz", "10.0", "images a second of every view"),
    _LOG_LEVEL,
)

RECORD_ARGUMENTS = (
    Argument("cell", "", "cell file; default: config/cell.yaml of the package"),
    Argument("out", "recordings", "directory in which each recording gets one of its own"),
    Argument("calibration", "", "calibration file to put into every bag"),
    Argument("model", "", "model directory whose hash is noted in every bag"),
    Argument("images", "raw", "jpeg stores camera images as CompressedImage", ("raw", "jpeg")),
    Argument("pre_roll_s", "2.0", "seconds before the start that a recording contains"),
    Argument("record_at_start", "false", "begin as soon as every camera and the arm are heard", _TRUTH),
    Argument("topics", "", "more topics, separated by commas"),
    Argument("pattern", "", "regular expression of more topics; .* is all"),
    Argument("console", "none", "log: the recorder's output on the screen as well as in the log file", ("none", "log")),
)


CALIBRATION_ARGUMENTS = (
    Argument("sim", "false", "calibrate the simulated cell of config/sim_calibration", _TRUTH),
    Argument("cell", "", "cell file: topics and serial numbers of the cameras; default: config/cell.yaml"),
    Argument("camera_driver", "none", "what to start for the cell's cameras; sim:=true starts none", CAMERA_DRIVERS),
    Argument("gripper_board", "", "board on the gripper, e.g. charuco:6x4:45/31mm:4X4_50"),
    Argument("table_board", "", "board on the table, e.g. charuco:7x5:45/31mm:4X4_50+20"),
    Argument("wrist", "", "cameras on the arm: NAME=TOPIC@SERIAL, commas between several"),
    Argument("mode", "guide", "guide: a person moves the arm; propose: the node drives, once enabled", _MODES),
    Argument("poses", "20", "poses to take"),
    Argument("command_interface", "joint_trajectory", "what the arm's controller listens to", COMMAND_INTERFACES),
    Argument("speed_rad_s", "0.2", "of the fastest joint, when the node drives"),
    Argument("intrinsics", "checked", "what is done about lenses", ("fixed", "checked", "estimated")),
    Argument("out", "", "folder for the result; default: calibrations/<date> in the working directory"),
    Argument("console", "none", "log: the nodes' output on the screen as well as in the log files", ("none", "log")),
)

DEMONSTRATION_ARGUMENTS = (
    Argument("cell", "", "cell file; default: config/cell.yaml of the package"),
    Argument("out", "recordings", "directory in which each recording gets one of its own"),
    Argument("task", "reach_target", "task of the simulated cell and of its expert"),
    Argument("split", "train", "scenes of training or of test", ("train", "test")),
    Argument("seed", "0", "seed of the scenes"),
    Argument("speed_factor", "1.0", "playback speed of the expert's motion"),
    Argument("images", "raw", "jpeg stores camera images as CompressedImage", ("raw", "jpeg")),
)


def read_arguments(arguments: tuple[Argument, ...], given: Mapping[str, str]) -> dict[str, str]:
    """Defaults and given values together. Raises ConfigError for an unknown name or an illegal value."""
    names = [a.name for a in arguments]
    for name in given:
        one_of("argument", name, names)
    values = {a.name: given.get(a.name, a.default) for a in arguments}
    for a in arguments:
        if a.choices:
            one_of(a.name, values[a.name], a.choices)
    return values


def policy_graph(given: Mapping[str, str]) -> tuple[NodeSpec, ...]:
    """The graph of `franka_policy.launch.py`. Raises ConfigError for arguments or a cell file that are wrong."""
    values = read_arguments(POLICY_ARGUMENTS, given)
    cell_path = _cell_path(values["cell"])
    cell = policy_cell(cell_path)
    common = {"cell": str(cell_path), "autostart": values["autostart"] == "true"}
    model = str(config_file(values["model"]))
    nodes = [
        _node("denoiser", common | {"model": model, "engine": values["engine"], "instruction": values["instruction"]}),
        _node("decoder", common | {"model": model}),
        _node(
            "controller",
            common
            | {
                "command_interface": values["command_interface"],
                "gripper_interface": values["gripper_interface"],
                "speed_factor": _number("speed_factor", values["speed_factor"], float),
            },
        ),
        *static_transforms(cell),
    ]
    served = {}
    if values["arm"] == "libfranka":
        nodes.append(_arm_node(values, common))
        served = {"arm_address": SIMULATED_ARM}
    if values["sim"] == "true":
        nodes.insert(0, _node("sim_cell", {"cell": str(cell_path), **served}))
    else:
        nodes = [*camera_nodes(values["camera_driver"], cell, cell_path), *nodes]
    if values["drift_monitor"] == "true" or (values["drift_monitor"], values["sim"]) == ("auto", "false"):
        nodes.append(_node("drift_monitor", common))
    if values["console"] == "web":
        nodes += console_nodes(values, str(cell_path), model)
    return _with_log_level(nodes, values["log_level"])


def _arm_node(values: Mapping[str, str], common: Mapping[str, object]) -> NodeSpec:
    simulated = values["sim"] == "true"
    if simulated == bool(values["arm_address"]):
        raise ConfigError(
            "arm:=libfranka with sim:=true drives the simulated arm and takes no arm_address"
            if simulated
            else "arm:=libfranka needs arm_address:=<address of the robot>, such as 172.16.0.2"
        )
    one_of("gripper_interface with arm:=libfranka", values["gripper_interface"], ARM_GRIPPERS)
    given: dict[str, object] = {
        "address": SIMULATED_ARM if simulated else values["arm_address"],
        "command_interface": values["command_interface"],
        "gripper_interface": values["gripper_interface"],
    }
    if simulated:
        given |= {"realtime": "ignore", "wait_s": 30.0}
    return _node("franka_arm", {**common, **given})


def camera_nodes(driver: str, cell: Cell, cell_path: Path) -> tuple[NodeSpec, ...]:
    """What `driver`, one of CAMERA_DRIVERS, starts for all cameras of the cell: the same topics and settings either
    way."""
    one_of("camera_driver", driver, CAMERA_DRIVERS)
    if driver == "pyrealsense2":
        return (_node("camera_driver", {"cell": str(cell_path)}),)
    return tuple(_realsense_ros(view) for view in cell.views) if driver == "realsense_ros" else ()


def _realsense_ros(view: View) -> NodeSpec:
    """realsense-ros 4.55 and later: topics below its namespace and name; frames and TF from camera_name."""
    namespace, name = view.topic.rsplit("/", 1)
    settings, (width, height) = view.driver, view.image_size or (640, 480)
    profile = f"{width}x{height}x{settings.rate_hz}"
    depth = settings.depth is Depth.ALIGNED
    parameters: dict[str, object] = {
        "camera_name": name,
        "serial_no": f"_{view.serial}",  # the underscore, which the node drops, keeps digits from becoming a number
        "enable_color": True,
        "rgb_camera.color_profile": profile,
        "rgb_camera.color_format": "RGB8",
        "depth_module.color_profile": profile,  # cameras without an RGB module, such as the D405
        "depth_module.color_format": "RGB8",
        "rgb_camera.global_time_enabled": True,
        "depth_module.global_time_enabled": True,
        "enable_depth": depth,
        "align_depth.enable": depth,
        **{f"enable_{stream}": False for stream in ("infra1", "infra2", "gyro", "accel")},
        "publish_tf": False,  # the optical frame has one parent: the base, by the calibration
        "rgb_camera.auto_exposure_priority": False,
        "rgb_camera.enable_auto_exposure": settings.exposure_us is None,
        "rgb_camera.enable_auto_white_balance": settings.white_balance_k is None,
        "depth_module.inter_cam_sync_mode": {SyncRole.NONE: 0, SyncRole.MASTER: 1, SyncRole.SLAVE: 2}[settings.sync],
    }
    if settings.exposure_us is not None:
        parameters["rgb_camera.exposure"] = round(settings.exposure_us / 100.0)
    if settings.gain is not None:
        parameters["rgb_camera.gain"] = round(settings.gain)
    if settings.white_balance_k is not None:
        parameters["rgb_camera.white_balance"] = round(settings.white_balance_k)
    return NodeSpec("realsense2_camera_node", name, "realsense2_camera", namespace, parameters=parameters)


def _with_log_level(nodes: Iterable[NodeSpec], level: str) -> tuple[NodeSpec, ...]:
    """Our own nodes at that level; rcl's default is info."""
    return tuple(_replace(n, log_level=level) if level != "info" and n.package == PACKAGE else n for n in nodes)


def console_nodes(values: Mapping[str, str], cell: str, model: str) -> tuple[NodeSpec, ...]:
    """The operator's page, and its stop button in a process of its own.

    The graph goes on without the page, but ends, and with it brings the arm to rest, when the stop button is lost.
    """
    port = _number("console_port", values["console_port"], int)
    page = {"cell": cell, "model": model, "host": values["console_host"], "port": port, "stop_port": port + 1}
    return (
        _node("stop_button", {"host": values["console_host"], "port": port + 1}),
        _replace(_node("console", page), required=False),
    )


def sim_graph(given: Mapping[str, str]) -> tuple[NodeSpec, ...]:
    """The graph of `sim_cell.launch.py`."""
    values = read_arguments(SIM_ARGUMENTS, given)
    parameters = {
        "cell": str(_cell_path(values["cell"])),
        "task": values["task"],
        "split": values["split"],
        "seed": _number("seed", values["seed"], int),
        "camera_rate_hz": _number("camera_rate_hz", values["camera_rate_hz"], float),
    }
    return _with_log_level([_node("sim_cell", parameters)], values["log_level"])


def record_graph(given: Mapping[str, str]) -> tuple[NodeSpec, ...]:
    """The graph of `record.launch.py`: the recorder beside whatever runs already."""
    values = read_arguments(RECORD_ARGUMENTS, given)
    parameters = {
        "cell": str(_cell_path(values["cell"])),
        "out": values["out"],
        "calibration": values["calibration"],
        "model": str(config_file(values["model"])) if values["model"] else "",
        "images": values["images"],
        "pre_roll_s": _number("pre_roll_s", values["pre_roll_s"], float),
        "record_at_start": values["record_at_start"] == "true",
        "topics": values["topics"],
        "pattern": values["pattern"],
    }
    return (_node("recorder", parameters),)


def calibration_graph(given: Mapping[str, str]) -> tuple[NodeSpec, ...]:
    """The graph of `calibrate_cameras.launch.py`."""
    values = read_arguments(CALIBRATION_ARGUMENTS, given)
    sim, cell = values["sim"] == "true", values["cell"]
    scene = config_file("config/sim_calibration/scene.yaml")
    if sim and not cell:
        cell = str(config_file("config/sim_calibration/cell.yaml"))
    boards = {name: values[name] for name in ("gripper_board", "table_board", "wrist")}
    if sim and not any(boards.values()):
        boards = dict(SIM_RIG)
    parameters = {
        "cell": str(_cell_path(cell)),
        **boards,
        **{name: values[name] for name in ("mode", "command_interface", "intrinsics", "out")},
        "poses": _number("poses", values["poses"], int),
        "speed_rad_s": _number("speed_rad_s", values["speed_rad_s"], float),
    }
    calibrator = _node("calibrator", parameters)
    if not sim:
        path = Path(str(parameters["cell"]))
        return (*camera_nodes(values["camera_driver"], Cell.load(path, Calibrated.OPTIONAL), path), calibrator)
    camera = {"cell": parameters["cell"], "calibration_scene": str(scene), "camera_rate_hz": 2.0}
    return (_node("sim_cell", camera), calibrator)


SIM_RIG = {
    "gripper_board": "charuco:6x4:45/31mm:4X4_50",
    "table_board": "charuco:7x5:45/31mm:4X4_50+20",
    "wrist": "wrist=/camera/wrist@wrist-0",
}
"""Boards and wrist camera of config/sim_calibration."""


def demonstration_graph(given: Mapping[str, str]) -> tuple[NodeSpec, ...]:
    """The graph of `record_demo.launch.py`: the simulated cell, its expert in place of a policy, and the recorder.

    Recordings have no pre-roll: it would be of the scene before.
    """
    values = read_arguments(DEMONSTRATION_ARGUMENTS, given)
    shared = {k: values[k] for k in ("cell", "task", "split", "seed")}
    (sim,) = sim_graph(shared)
    scene = {k: sim.parameters[k] for k in ("cell", "task", "split", "seed")}
    speed = _number("speed_factor", values["speed_factor"], float)
    recorder = record_graph({"cell": values["cell"], "out": values["out"], "images": values["images"]})
    recorder = with_parameters(recorder, {"recorder": {"pre_roll_s": 0.0}})
    return (
        sim,
        _node("controller", {"cell": scene["cell"], "speed_factor": speed}),
        _node("expert", scene),
        *recorder,
    )


GRAPHS: dict[str, tuple[tuple[Argument, ...], Callable[[Mapping[str, str]], tuple[NodeSpec, ...]]]] = {
    "policy": (POLICY_ARGUMENTS, policy_graph),
    "sim_cell": (SIM_ARGUMENTS, sim_graph),
    "calibrate_cameras": (CALIBRATION_ARGUMENTS, calibration_graph),
    "record": (RECORD_ARGUMENTS, record_graph),
    "record_demo": (DEMONSTRATION_ARGUMENTS, demonstration_graph),
}
"""Name in `action-images up NAME` -> its arguments and what builds it."""


def with_parameters(graph: tuple[NodeSpec, ...], overrides: Mapping[str, Mapping[str, object]]) -> tuple[NodeSpec, ...]:
    """The graph with some parameters of some nodes (by node name) replaced. Raises ConfigError for an unknown node."""
    names = {n.name for n in graph}
    for name in overrides:
        one_of("node", name, names)
    return tuple(_replace(n, parameters={**n.parameters, **overrides.get(n.name, {})}) for n in graph)


def _replace(node: NodeSpec, **changes: object) -> NodeSpec:
    return NodeSpec(**{**{f.name: getattr(node, f.name) for f in fields(node)}, **changes})


def _node(name: str, parameters: Mapping[str, object]) -> NodeSpec:
    return NodeSpec(
        name, name, parameter_file=config_file(f"config/{name}.yaml"), parameters=parameters, lifecycle=True
    )


def static_transforms(cell: Cell) -> tuple[NodeSpec, ...]:
    """One publisher of /tf_static for every view: base frame to its optical frame."""
    out = []
    for view in cell.views:
        T = view.camera.base_T_camera
        numbers = [*T[:3, 3], *quat_from_matrix(T[:3, :3])]
        flags = ("--x", "--y", "--z", "--qx", "--qy", "--qz", "--qw")
        pairs = [text for flag, x in zip(flags, numbers) for text in (flag, f"{x:.9g}")]
        out.append(
            NodeSpec(
                "static_transform_publisher",
                f"{view.name}_camera_tf",
                "tf2_ros",
                required=False,
                optional=True,
                arguments=(*pairs, "--frame-id", cell.arm.base_frame, "--child-frame-id", view.frame_id),
            )
        )
    return tuple(out)


def _cell_path(given: str) -> Path:
    return Path(given).expanduser().absolute() if given else config_file("config/cell.yaml")


def _number(name: str, text: str, kind: type) -> float | int:
    try:
        return kind(text)
    except ValueError:
        raise ConfigError(f"{name} is {text!r}; expected {'a whole number' if kind is int else 'a number'}") from None

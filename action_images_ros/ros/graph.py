"""The node graph as data. Launch files and `action-images up` start exactly this."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from ..cell import Calibrated, Cell
from ..engines import ENGINES
from ..errors import ConfigError, one_of
from ..model.config import ModelConfig
from .camera_nodes import camera_nodes, static_transforms
from .cells import policy_cell
from .launch_arguments import (
    ARM_GRIPPERS,
    CALIBRATION_ARGUMENTS,
    DEMONSTRATION_ARGUMENTS,
    POLICY_ARGUMENTS,
    RECORD_ARGUMENTS,
    SIM_ARGUMENTS,
    SIMULATED_ARM,
    Argument,
    number,
    read_arguments,
)
from .node_spec import NodeSpec, our_node, with_log_level, with_parameters
from .paths import config_file


def policy_graph(given: Mapping[str, str]) -> tuple[NodeSpec, ...]:
    """The graph of `franka_policy.launch.py`. Raises ConfigError for arguments or a cell file that are wrong."""
    values = read_arguments(POLICY_ARGUMENTS, given)
    one_of("engine", values["engine"], ("auto", *ENGINES))
    number("console_port", values["console_port"], int)
    cell_path = _cell_path(values["cell"])
    cell = policy_cell(cell_path)
    common = {"cell": str(cell_path), "autostart": values["autostart"] == "true"}
    model = str(config_file(values["model"]))
    config = ModelConfig.load(Path(model))  # also tells now what is wrong with it, not by a node in a minute
    policy = {"model": model, "engine": values["engine"], "instruction": values["instruction"]}
    nodes = [
        our_node("denoiser", common | policy),
        our_node("decoder", common | {"model": model}),
        our_node(
            "controller",
            common
            | {
                "command_interface": values["command_interface"],
                "gripper_interface": values["gripper_interface"],
                "speed_factor": number("speed_factor", values["speed_factor"], float),
                "continued_steps": config.continued_steps,
            },
        ),
        *static_transforms(cell),
    ]
    served = {}
    if values["arm"] == "libfranka":
        nodes.append(_arm_node(values, common))
        served = {"arm_address": SIMULATED_ARM}
    if values["sim"] == "true":
        nodes.insert(0, our_node("sim_cell", {"cell": str(cell_path), **served}))
    else:
        nodes = [*camera_nodes(values["camera_driver"], cell, cell_path), *nodes]
    if values["drift_monitor"] == "true" or (values["drift_monitor"], values["sim"]) == ("auto", "false"):
        nodes.append(our_node("drift_monitor", common))
    if values["console"] == "web":
        nodes += console_nodes(values, str(cell_path), model)
    return with_log_level(nodes, values["log_level"])


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
    return our_node("franka_arm", {**common, **given})


def console_nodes(values: Mapping[str, str], cell: str, model: str) -> tuple[NodeSpec, ...]:
    """The operator's page, and its stop button in a process of its own.

    The graph goes on without the page, but ends, and with it brings the arm to rest, when the stop button is lost.
    """
    port = number("console_port", values["console_port"], int)
    page = {"cell": cell, "model": model, "host": values["console_host"], "port": port, "stop_port": port + 1}
    return (
        our_node("stop_button", {"host": values["console_host"], "port": port + 1}),
        replace(our_node("console", page), required=False),
    )


def sim_graph(given: Mapping[str, str]) -> tuple[NodeSpec, ...]:
    """The graph of `sim_cell.launch.py`."""
    values = read_arguments(SIM_ARGUMENTS, given)
    parameters = {
        "cell": str(_readable_cell(values["cell"])),
        "task": values["task"],
        "split": values["split"],
        "seed": number("seed", values["seed"], int),
        "camera_rate_hz": number("camera_rate_hz", values["camera_rate_hz"], float),
    }
    return with_log_level([our_node("sim_cell", parameters)], values["log_level"])


def record_graph(given: Mapping[str, str]) -> tuple[NodeSpec, ...]:
    """The graph of `record.launch.py`: the recorder beside whatever runs already."""
    values = read_arguments(RECORD_ARGUMENTS, given)
    parameters = {
        "cell": str(_readable_cell(values["cell"])),
        "out": values["out"],
        "calibration": values["calibration"],
        "model": str(config_file(values["model"])) if values["model"] else "",
        "images": values["images"],
        "pre_roll_s": number("pre_roll_s", values["pre_roll_s"], float),
        "record_at_start": values["record_at_start"] == "true",
        "topics": values["topics"],
        "pattern": values["pattern"],
    }
    return with_log_level([our_node("recorder", parameters)], values["log_level"])


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
        "poses": number("poses", values["poses"], int),
        "speed_rad_s": number("speed_rad_s", values["speed_rad_s"], float),
    }
    calibrator = our_node("calibrator", parameters)
    if not sim:
        path = Path(str(parameters["cell"]))
        cameras = camera_nodes(values["camera_driver"], Cell.load(path, Calibrated.OPTIONAL), path)
        return with_log_level((*cameras, calibrator), values["log_level"])
    camera = {"cell": parameters["cell"], "calibration_scene": str(scene), "camera_rate_hz": 2.0}
    return with_log_level((our_node("sim_cell", camera), calibrator), values["log_level"])


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
    speed = number("speed_factor", values["speed_factor"], float)
    recorder = record_graph({"cell": values["cell"], "out": values["out"], "images": values["images"]})
    recorder = with_parameters(recorder, {"recorder": {"pre_roll_s": 0.0}})
    controller = our_node("controller", {"cell": scene["cell"], "speed_factor": speed})
    return with_log_level((sim, controller, our_node("expert", scene), *recorder), values["log_level"])


GRAPHS: dict[str, tuple[tuple[Argument, ...], Callable[[Mapping[str, str]], tuple[NodeSpec, ...]]]] = {
    "policy": (POLICY_ARGUMENTS, policy_graph),
    "sim_cell": (SIM_ARGUMENTS, sim_graph),
    "calibrate_cameras": (CALIBRATION_ARGUMENTS, calibration_graph),
    "record": (RECORD_ARGUMENTS, record_graph),
    "record_demo": (DEMONSTRATION_ARGUMENTS, demonstration_graph),
}
"""Name in `action-images up NAME` -> its arguments and what builds it."""


def _readable_cell(given: str) -> Path:
    path = _cell_path(given)
    Cell.load(path, Calibrated.OPTIONAL)
    return path


def _cell_path(given: str) -> Path:
    return Path(given).expanduser().absolute() if given else config_file("config/cell.yaml")

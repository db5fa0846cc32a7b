"""The arguments of the launch files and of `action-images up`, and what is legal for each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..errors import ConfigError, one_of

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
    Argument("images", "raw", "camera images as CompressedImage", ("raw", "jpeg", "h264", "h265")),
    Argument("pre_roll_s", "2.0", "seconds before the start that a recording contains"),
    Argument("record_at_start", "false", "begin as soon as every camera and the arm are heard", _TRUTH),
    Argument("topics", "", "more topics, separated by commas"),
    Argument("pattern", "", "regular expression of more topics; .* is all"),
    Argument("console", "none", "log: the recorder's output on the screen as well as in the log file", ("none", "log")),
    _LOG_LEVEL,
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
    _LOG_LEVEL,
)

DEMONSTRATION_ARGUMENTS = (
    Argument("cell", "", "cell file; default: config/cell.yaml of the package"),
    Argument("out", "recordings", "directory in which each recording gets one of its own"),
    Argument("task", "reach_target", "task of the simulated cell and of its expert"),
    Argument("split", "train", "scenes of training or of test", ("train", "test")),
    Argument("seed", "0", "seed of the scenes"),
    Argument("speed_factor", "1.0", "playback speed of the expert's motion"),
    Argument("images", "raw", "camera images as CompressedImage", ("raw", "jpeg", "h264", "h265")),
    _LOG_LEVEL,
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


def number(name: str, text: str, kind: type) -> float | int:
    """An argument's text as `kind`, int or float. Raises ConfigError."""
    try:
        return kind(text)
    except ValueError:
        raise ConfigError(f"{name} is {text!r}; expected {'a whole number' if kind is int else 'a number'}") from None

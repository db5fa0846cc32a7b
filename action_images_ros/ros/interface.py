"""Topics and services of the graph as data.

The interface reference and the SROS2 policy are made from this table, and a system test holds it against the running
graph.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Kind(Enum):
    TOPIC = "topic"
    SERVICE = "service"


OPERATOR = "operator"
"""Whoever steers the graph: a person at a terminal, the demo, the console."""


@dataclass(frozen=True)
class Endpoint:
    """One name, relative unless it begins with a slash; <view> and <camera> stand for each camera of the cell.

    from_, to: nodes that publish or serve, and that subscribe or call. when: parameter on which it depends.
    """

    name: str
    type_name: str
    from_: tuple[str, ...]
    to: tuple[str, ...]
    meaning: str
    kind: Kind = Kind.TOPIC
    when: str = ""


def _service(name: str, type_name: str, server: str, meaning: str, callers: tuple[str, ...] = (OPERATOR,)) -> Endpoint:
    return Endpoint(name, f"std_srvs/srv/{type_name}", (server,), callers, meaning, Kind.SERVICE)


_CELLS = ("sim_cell", "camera_driver")
_ARMS = ("sim_cell", "franka_arm")
_STEERING = (OPERATOR, "console")
_REPORTING = ("sim_cell", "camera_driver", "franka_arm", "denoiser", "decoder", "controller", "drift_monitor",
              "recorder", "calibrator")
_MOVERS = ("controller", "calibrator")

INTERFACE = (
    Endpoint("<camera>/color/image_raw", "sensor_msgs/msg/Image", _CELLS,
             ("denoiser", "decoder", "drift_monitor", "calibrator", "console", "recorder"),
             "rgb8; stamp = middle of the exposure in ROS time; <camera> is the `topic` of a view in the cell file"),
    Endpoint("<camera>/color/camera_info", "sensor_msgs/msg/CameraInfo", _CELLS,
             ("denoiser", "decoder", "controller", "calibrator", "recorder"),
             "must be the calibration's lens and size"),
    Endpoint("<camera>/aligned_depth_to_color/image_raw", "sensor_msgs/msg/Image", ("camera_driver",), ("recorder",),
             "16UC1, mm", when="`depth` of a camera's `driver` in the cell file"),
    Endpoint("<camera>/aligned_depth_to_color/camera_info", "sensor_msgs/msg/CameraInfo", ("camera_driver",),
             ("recorder",), "of the depth image", when="`depth` of a camera's `driver` in the cell file"),
    Endpoint("/joint_states", "sensor_msgs/msg/JointState", _ARMS,
             ("denoiser", "controller", "drift_monitor", "calibrator", "console", "recorder"),
             "fr3_joint1..7, and the fingers fr3_finger_joint1, fr3_finger_joint2"),
    Endpoint("instruction", "std_msgs/msg/String", _STEERING, ("denoiser", "console", "recorder"),
             "what to do; latched"),
    Endpoint("action_images", "sensor_msgs/msg/Image", ("denoiser",), ("decoder", "console", "recorder"),
             "rgb8 tiles: row = action step, column = view; stamp = observation"),
    Endpoint("predicted_video", "sensor_msgs/msg/Image", ("denoiser",), ("console", "recorder"), "the same tiles",
             when="denoiser `mode` is joint"),
    Endpoint("targets", "trajectory_msgs/msg/MultiDOFJointTrajectory", ("decoder",),
             ("controller", "console", "recorder"),
             "joints tcp (pose in the base frame) and gripper (opening in translation.x); stamp = observation"),
    Endpoint("committed", "trajectory_msgs/msg/MultiDOFJointTrajectory", ("controller",), ("denoiser", "recorder"),
             "what the arm will do until the next chunk can arrive"),
    Endpoint("predicted_path", "visualization_msgs/msg/MarkerArray", ("decoder",), ("recorder",),
             "for RViz and Foxglove"),
    Endpoint("overlay/<view>", "sensor_msgs/msg/Image", ("decoder",), ("recorder",),
             "live picture with the predicted action"),
    Endpoint("fr3_arm_controller/joint_trajectory", "trajectory_msgs/msg/JointTrajectory", _MOVERS,
             (*_ARMS, "recorder"), "command", when="`command_interface` is joint_trajectory"),
    Endpoint("target_joint", "sensor_msgs/msg/JointState", _MOVERS, (*_ARMS, "recorder"), "command (CRISP)",
             when="`command_interface` is joint_target"),
    Endpoint("joint_position_controller/commands", "std_msgs/msg/Float64MultiArray", _MOVERS, (*_ARMS, "recorder"),
             "command, rad", when="`command_interface` is joint_positions"),
    Endpoint("target_pose", "geometry_msgs/msg/PoseStamped", _MOVERS, (*_ARMS, "recorder"),
             "command (CRISP), pose of the TCP in the base frame", when="`command_interface` is cartesian_pose"),
    Endpoint("gripper/gripper_position_controller/commands", "std_msgs/msg/Float64MultiArray", ("controller",),
             (*_ARMS, "recorder"), "0 closed, 1 open (CRISP)", when="`gripper_interface` is position"),
    Endpoint("fr3_gripper_controller/commands", "std_msgs/msg/Float64MultiArray", ("controller",),
             (*_ARMS, "recorder"), "way of each finger, m", when="`gripper_interface` is finger_positions"),
    Endpoint("fr3_gripper_controller/joint_trajectory", "trajectory_msgs/msg/JointTrajectory", ("controller",),
             (*_ARMS, "recorder"), "way of each finger, m", when="`gripper_interface` is position_trajectory"),
    Endpoint("controller_state", "std_msgs/msg/String", ("controller",), ("console", "recorder"),
             "every change of state, as JSON"),
    Endpoint("chunk_verdicts", "std_msgs/msg/String", ("controller",), ("console", "recorder"),
             "what became of each chunk and why, as JSON"),
    Endpoint("calibration_ok", "std_msgs/msg/Bool", ("drift_monitor",), ("denoiser",),
             "false: a camera was knocked, and nothing more is generated; latched"),
    Endpoint("drift_monitor/state", "std_msgs/msg/String", ("drift_monitor",), (),
             "drift of each camera, as JSON; latched"),
    Endpoint("sim_cell/fault", "std_msgs/msg/String", (OPERATOR,), ("sim_cell",),
             "what is to go wrong in the simulated cell: none, no_images, no_joint_states, blocked, joint_at_end or "
             "split"),
    Endpoint("sim_cell/truth", "std_msgs/msg/Float64MultiArray", ("sim_cell",), (OPERATOR,),
             "rows of ROS time, simulated time, q (7), dq (7): what an onlooker sees of the arm"),
    Endpoint("sim_cell/things", "std_msgs/msg/Float64MultiArray", ("sim_cell",), (OPERATOR,),
             "episode, then 8 numbers a thing on the table: for the demonstrator, never for a policy"),
    Endpoint("sim_cell/verdict", "std_msgs/msg/String", ("sim_cell",), (*_STEERING, "recorder"),
             "the simulated cell's own judgement, as JSON; latched"),
    Endpoint("control_source", "std_msgs/msg/String", ("decoder", "recorder", *_STEERING), ("console", "recorder"),
             "who moves the arm: policy, human, expert, teleoperation, unknown; latched"),
    Endpoint("recorder/command", "std_msgs/msg/String", (OPERATOR,), ("recorder",),
             "start, stop, discard, success, failure, note and a text, control and who is in control"),
    Endpoint("recorder/marks", "std_msgs/msg/String", ("recorder",), (), "what was marked, as JSON"),
    Endpoint("recorder/state", "std_msgs/msg/String", ("recorder",), ("console",),
             "what is being recorded, as JSON; latched"),
    Endpoint("calibrator/live/<view>", "sensor_msgs/msg/Image", ("calibrator",), (OPERATOR,),
             "live picture with boards, coverage and the error so far"),
    Endpoint("calibrator/status", "std_msgs/msg/String", ("calibrator",), (OPERATOR,),
             "progress and refusals, as JSON; latched"),
    Endpoint("/diagnostics", "diagnostic_msgs/msg/DiagnosticArray", _REPORTING, ("console", "recorder", OPERATOR),
             "a status for each device and stage: values, thresholds, remedy"),
    _service("enable", "SetBool", "controller", "let the arm move, or not", _STEERING),
    _service("stop", "Trigger", "controller", "come to rest now", (*_STEERING, "stop_button")),
    _service("reset", "Trigger", "controller", "after a fault: ready again, at rest", _STEERING),
    _service("franka_arm/reset", "Trigger", "franka_arm", "recover from a reflex, or connect again"),
    _service("sim_cell/reset_scene", "Trigger", "sim_cell", "next scene; the answer is JSON", _STEERING),
    _service("drift_monitor/reset", "Trigger", "drift_monitor", "trust the calibration again, after it was renewed"),
    _service("recorder/start", "Trigger", "recorder", "begin an episode", _STEERING),
    _service("recorder/stop", "Trigger", "recorder", "end it and keep it", _STEERING),
    _service("recorder/discard", "Trigger", "recorder", "end it and delete it", _STEERING),
    _service("recorder/success", "Trigger", "recorder", "mark it a success", _STEERING),
    _service("recorder/failure", "Trigger", "recorder", "mark it a failure", _STEERING),
    _service("calibrator/enable", "SetBool", "calibrator", "let the calibrator move the arm, or not"),
    _service("calibrator/capture", "Trigger", "calibrator", "take this pose"),
    _service("calibrator/undo", "Trigger", "calibrator", "forget the last pose"),
    _service("calibrator/solve", "Trigger", "calibrator", "compute, and say what is missing"),
    _service("calibrator/save", "Trigger", "calibrator", "write the result and its report"),
)

"""The whole graph on the simulated cell, made to fail on purpose, and what an onlooker measures.

The onlooker reads the arm's true motion in simulated (robot) time; every other process is the one that runs on a real
cell, and all of them talk over DDS.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import SetParameters
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image, JointState
from std_msgs.msg import Float64MultiArray, String
from trajectory_msgs.msg import JointTrajectory, MultiDOFJointTrajectory

from ..cell import Cell
from ..errors import TransportError
from ..model.config import ModelConfig
from . import commands, qos
from .messages import image_message, stamp_to_ns, tile_actions
from .messages.stamps import stamp_from_ns
from .node_spec import NodeSpec
from .operator import Operator
from .runner import GraphRunner
from .sim_faults import FAULT_TOPIC, TRUTH_COLUMNS, TRUTH_TOPIC, SimFault

MOVING_RADPS = 0.04
STILL_RADPS = 0.01
STILL_S = 0.3
_START_S = 180.0
_MOTION_S = 60.0
_CLOCK_BACK_S = 1.5


@dataclass(frozen=True)
class Change:
    """One change of the controller's state; at_s: ROS time (s)."""

    state: str
    why: str
    at_s: float


@dataclass
class Record:
    """What came in, by ROS time (s) of arrival; truth: rows (ROS time s, simulated time s, q (7,), dq (7,))."""

    truth: list[np.ndarray] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    commands: list[tuple[float, np.ndarray]] = field(default_factory=list)
    chunks: list[float] = field(default_factory=list)
    states: list[float] = field(default_factory=list)
    exposures: dict[str, list[float]] = field(default_factory=dict)

    def rows(self) -> np.ndarray:
        """(N, 16)."""
        return np.concatenate(self.truth) if self.truth else np.zeros((0, TRUTH_COLUMNS))

    def simulated(self, ros_s: float) -> float:
        """Simulated time at a ROS time."""
        rows = self.rows()
        return float(np.interp(ros_s, rows[:, 0], rows[:, 1]))

    def came_to_rest(self, since_s: float) -> float | None:
        """Simulated time at which the arm came to rest after a ROS time, for good; None while it moves."""
        rows = self.rows()
        rows = rows[rows[:, 0] >= since_s]
        if not len(rows):
            return None
        moving = np.flatnonzero(np.abs(rows[:, 9:]).max(axis=1) >= STILL_RADPS)
        last = rows[moving[-1], 1] if len(moving) else rows[0, 1]
        return float(last) if rows[-1, 1] - last >= STILL_S else None

    def moved_after(self, simulated_s: float) -> bool:
        """Whether the arm has moved since a simulated time."""
        rows = self.rows()
        rows = rows[rows[:, 1] >= simulated_s]
        return bool(len(rows)) and float(np.abs(rows[:, 9:]).max()) > MOVING_RADPS

    def peak_acceleration(self, since_s: float, until_s: float) -> float:
        """Largest acceleration (rad/s^2) of any joint between two ROS times, over 10 ms of robot time."""
        rows = self.rows()
        rows = rows[(rows[:, 0] >= since_s) & (rows[:, 0] <= until_s)]
        if len(rows) < 2:
            return 0.0
        return float((np.abs(np.diff(rows[:, 9:], axis=0)) / np.diff(rows[:, 1])[:, None]).max())

    def moving_commands(self, since_s: float) -> int:
        """Commands since a ROS time that still moved the arm."""
        return sum(at_s >= since_s and np.abs(dq).max() > 1e-3 for at_s, dq in self.commands)


class FaultLab:
    """Use `running_lab`. All times of the record are ROS times of this machine."""

    def __init__(self, runner: GraphRunner, operator: Operator, cell: Cell, config: ModelConfig) -> None:
        self.runner, self.operator, self.cell, self._config = runner, operator, cell, config
        self.record = Record(exposures={v.name: [] for v in cell.views})
        node, r = operator.node, self.record
        self._fault = node.create_publisher(String, FAULT_TOPIC, qos.LATCHED)
        self._clock = node.create_publisher(Clock, "/clock", qos.STATE)
        self._images = node.create_publisher(Image, "action_images", qos.TARGETS)
        node.create_subscription(Float64MultiArray, TRUTH_TOPIC, self._on_truth, qos.TRUTH)
        node.create_subscription(String, "controller_state", self._on_change, qos.EVENTS)
        arm = commands.ARM["joint_trajectory"]
        node.create_subscription(JointTrajectory, arm.topic, self._on_command, qos.TRUTH)
        node.create_subscription(
            MultiDOFJointTrajectory, "targets", lambda _: r.chunks.append(self.now_s()), qos.TARGETS
        )
        node.create_subscription(JointState, "/joint_states", lambda _: r.states.append(self.now_s()), qos.STATE)
        for view in cell.views:
            node.create_subscription(CameraInfo, view.info_topic, partial(self._on_info, view.name), qos.STATE)
        self._stamp_ns, self._instruction = 0, ""
        self._noise = np.random.default_rng(0)

    def now_s(self) -> float:
        return 1e-9 * self.operator.node.get_clock().now().nanoseconds

    def _on_truth(self, msg: Float64MultiArray) -> None:
        self.record.truth.append(np.array(msg.data).reshape(-1, TRUTH_COLUMNS))

    def _on_change(self, msg: String) -> None:
        told, at_s = json.loads(msg.data), self.now_s()
        stamp_s = 1e-9 * told["stamp_ns"]
        # a clock that has jumped cannot tell when
        self.record.changes.append(Change(told["state"], told["why"], stamp_s if abs(at_s - stamp_s) < 1.0 else at_s))

    def _on_command(self, msg: JointTrajectory) -> None:
        self.record.commands.append((self.now_s(), np.array(msg.points[0].velocities)))

    def _on_info(self, view: str, msg: CameraInfo) -> None:
        self._stamp_ns = stamp_to_ns(msg.header.stamp)
        self.record.exposures[view].append(self.now_s())

    @property
    def state(self) -> str:
        """The controller's, by its last word."""
        return self.record.changes[-1].state if self.record.changes else ""

    def until(self, condition: Callable[[], bool], what: str, timeout_s: float = 30.0) -> None:
        self.operator.until(condition, what, timeout_s)

    def forget(self) -> None:
        """Begin a new record; the last known state of the controller stays."""
        r = self.record
        records: tuple[list, ...] = (r.truth, r.commands, r.chunks, r.states, *r.exposures.values())
        for seen in records:
            seen.clear()
        del r.changes[:-1]

    def set_moving(self) -> None:
        """A new scene, its instruction, control enabled; returns while the arm is under way."""
        self.heal()
        self.operator.trigger("stop")
        scene = json.loads(self.operator.trigger("sim_cell/reset_scene").message)
        self._instruction = scene["instruction"]
        self.restore_instruction()
        self.forget()
        end_s = time.monotonic() + _MOTION_S
        while not self._under_way():
            if self.state not in ("ready", "running", "holding"):
                self.operator.trigger("reset")
                self.operator.enable()
            if time.monotonic() > end_s:
                raise TransportError(f"the arm did not move within {_MOTION_S:g} s; the controller is {self.state}")
            self.operator.spin_for(0.1)

    def restore_instruction(self) -> None:
        self.operator.instruct(self._instruction)

    def _under_way(self) -> bool:
        rows = self.record.rows()
        if self.state != "running" or len(rows) < 30:
            return False
        return bool(np.abs(rows[-30:, 9:]).max(axis=1).min() > MOVING_RADPS)

    def cell_fault(self, fault: SimFault) -> None:
        self._fault.publish(String(data=fault.value))

    def heal(self) -> None:
        self.cell_fault(SimFault.NONE)

    def freeze(self, name: str) -> None:
        os.kill(self.runner.pid(name), signal.SIGSTOP)

    def thaw(self, name: str) -> None:
        os.kill(self.runner.pid(name), signal.SIGCONT)

    def kill(self, name: str) -> None:
        os.kill(self.runner.pid(name), signal.SIGKILL)

    def bring_back(self, name: str, report: str) -> None:
        """Start a killed node anew and wait until it is active."""
        self.operator.diagnostics.pop(report, None)
        self.runner.restart(name)
        self.until(lambda: self.operator.active(report), f"{name} to come back", _START_S)

    def shift_clock(self, on: bool) -> None:
        """Move the controller's ROS time: to a clock that is behind, and back."""
        past = Clock(clock=stamp_from_ns(round(1e9 * (self.now_s() - _CLOCK_BACK_S))))
        self._clock.publish(past)
        value = ParameterValue(type=ParameterType.PARAMETER_BOOL, bool_value=on)
        request = SetParameters.Request(parameters=[Parameter(name="use_sim_time", value=value)])
        answer = self.operator.call(SetParameters, "controller/set_parameters", request).results[0]
        if not answer.successful:
            raise TransportError(f"the controller's clock could not be changed: {answer.reason}")

    def send_noise(self) -> None:
        """Action images in which no action can be found, as of the newest exposure."""
        c = self._config
        noise = self._noise.integers(0, 256, (c.chunk_size, c.views, *c.action_size[::-1], 3), dtype=np.uint8)
        self._images.publish(image_message(tile_actions(noise), "rgb8", self._stamp_ns, "action_images"))


@contextmanager
def running_lab(
    graph: tuple[NodeSpec, ...], cell_file: Path, model: Path, log_dir: Path
) -> Iterator[FaultLab]:
    """The graph (sim_cell, denoiser, decoder, controller) with every node active."""
    reports = ("sim_cell: cell", "denoiser: generate", "decoder: decode", "controller: control")
    with GraphRunner(graph, log_dir) as runner, Operator(on_wait=runner.require_running) as operator:
        lab = FaultLab(runner, operator, Cell.load(cell_file), ModelConfig.load(model))
        for report in reports:
            operator.until(partial(operator.active, report), report, _START_S)
        operator.on_wait = lambda: None
        yield lab

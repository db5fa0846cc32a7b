"""Targets in, commands out: the control loop around the pure Controller.

The loop runs in a thread of its own with absolute deadlines and alone owns the Controller; callbacks only
leave what they received in an inbox.
"""

from __future__ import annotations

import gc
import json
import queue
import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from rcl_interfaces.msg import SetParametersResult
from rclpy.parameter import Parameter
from sensor_msgs.msg import CameraInfo, JointState
from std_msgs.msg import String
from std_srvs.srv import SetBool, Trigger
from trajectory_msgs.msg import MultiDOFJointTrajectory

from ..cell import View
from ..control import (
    ChunkRules,
    Controller,
    ControllerConfig,
    ControllerState,
    ControlOutput,
    Follows,
    Fr3Kinematics,
    GripperConfig,
    LimitScales,
    Refusal,
    Response,
    WatchdogConfig,
    Workspace,
)
from ..errors import ActionImagesError, ConfigError, TransportError
from ..ros import commands, qos
from ..ros.cells import policy_cell
from ..ros.grippers import Gripper, make_gripper
from ..ros.health import arm_report
from ..ros.launch_arguments import COMMAND_INTERFACES, GRIPPER_INTERFACES
from ..ros.loop import DeadlineLoop
from ..ros.mailbox import Mailbox
from ..ros.main import run_node
from ..ros.managed import ManagedNode, made
from ..ros.messages import JointStateReader, check_camera_info, chunk_from_message, chunk_message, stamp_to_ns
from ..ros.monitor import Level, RateMonitor, Report, milliseconds, not_active
from ..ros.parameters import parameter
from ..ros.synchroniser import Synchroniser
from ..types import ActionChunk, RobotState

_ANSWER_S = 1.0
_REST_S = 1.0
_COMMITTED_PERIOD_S = 0.1
_WAITING_CHUNKS = 4


@dataclass(frozen=True)
class ControllerParameters:
    autostart: bool = parameter(True, "configure and activate at once; motion still needs the service `enable`")
    cell: str = parameter("", "cell file: arm, workspace, limits, cameras to watch")
    command_interface: str = parameter(
        "joint_trajectory", "what the arm's controller listens to", choices=COMMAND_INTERFACES
    )
    gripper_interface: str = parameter("position", "what the gripper listens to", choices=GRIPPER_INTERFACES)
    rate_hz: float = parameter(100.0, "control ticks and commands a second", minimum=20.0, maximum=500.0)
    speed_factor: float = parameter(
        0.2, "playback speed of the policy's motion, 1 = its own; can be set while the node runs, then at most to 1",
        minimum=0.01, maximum=3.0, live=True,
    )
    max_linear_mps: float = parameter(0.5, "fastest TCP motion", minimum=0.01, maximum=2.0)
    max_angular_radps: float = parameter(1.5, "fastest TCP rotation", minimum=0.01, maximum=4.0)
    lead_periods: float = parameter(
        2.0, "joint_trajectory: when the arm should be at a command, in periods", minimum=1.0, maximum=10.0
    )
    priority: int = parameter(
        10, "SCHED_FIFO priority of the loop, where the system allows it; 0 does not ask", minimum=0, maximum=90
    )
    wait_s: float = parameter(
        30.0,
        "end with an error when there are no joint states after so long; 0 waits for ever",
        minimum=0.0,
        maximum=3600.0,
    )
    committed_horizon_s: float = parameter(
        2.0, "`committed` tells what is executed until the next chunk can come, at most so far; 0: nothing",
        minimum=0.0, maximum=20.0,
    )
    continued_steps: int = parameter(
        0, "and at least so many action steps, however soon it can come: what the model asks for in its config.json",
        minimum=0, maximum=64,
    )
    chunks: ChunkRules = ChunkRules()
    watchdog: WatchdogConfig = WatchdogConfig()
    gripper: GripperConfig = GripperConfig()


class ControllerNode(ManagedNode):
    def __init__(self) -> None:
        super().__init__("controller", ControllerParameters)
        self._loop: DeadlineLoop | None = None
        self._controller: Controller = None  # type: ignore[assignment]  # there from setup to teardown
        self._inputs: list = []
        self.add_on_set_parameters_callback(self._on_parameters)
        self.diagnostics.add(self._report)
        self.diagnostics.add(self._report_arm)

    def setup(self) -> None:
        p = self.parameters
        if not p.cell:
            raise ConfigError("controller needs the parameter `cell`: the path of a cell file")
        self._cell = cell = policy_cell(p.cell)
        scales = LimitScales(cell.limits.velocity_scale, cell.limits.acceleration_scale, cell.limits.jerk_scale)
        config = ControllerConfig(
            rate_hz=p.rate_hz,
            speed_factor=p.speed_factor,
            max_linear_mps=p.max_linear_mps,
            max_angular_radps=p.max_angular_radps,
            limits=scales,
            chunks=p.chunks,
            watchdog=p.watchdog,
            gripper=p.gripper,
            follows=Follows.TCP if p.command_interface == "cartesian_pose" else Follows.JOINTS,
        )
        w = cell.workspace
        self._controller = Controller(
            config, Fr3Kinematics(), Workspace(w.box_min_m, w.box_max_m, w.keep_out_boxes_m, w.table_z_m)
        )
        self._names = commands.Names(cell.arm.joints, cell.arm.fingers, cell.arm.base_frame)
        self._reader = JointStateReader(cell.arm.joints, cell.arm.fingers)
        self._frames = Synchroniser(cell.view_names, cell.sync.max_skew_s, cell.sync.max_age_s)
        self._inbox: queue.SimpleQueue = queue.SimpleQueue()
        self._chunks: Mailbox[ActionChunk] = Mailbox(_WAITING_CHUNKS)
        self._newest_state: RobotState | None = None
        self._output: ControlOutput | None = None
        self._committed_chunk: ActionChunk | None = None
        self._state_rate, self._last_refusal = RateMonitor(), ""
        self._arm = commands.ARM[p.command_interface]
        self._command: Any = self.create_publisher(self._arm.message, self._arm.topic, qos.COMMAND)
        self._gripper: Gripper = make_gripper(self, p.gripper_interface, self._names)
        self._committed = self.create_publisher(MultiDOFJointTrajectory, "committed", qos.TARGETS)
        self._changes = self.create_publisher(String, "controller_state", qos.EVENTS)
        self._verdicts = self.create_publisher(String, "chunk_verdicts", qos.STATE)
        self._serve()

    def _on_parameters(self, changes: list[Parameter]) -> SetParametersResult:
        """speed_factor is all that can be set on a node that runs; rclpy has checked its type and range."""
        for change in changes:
            if change.name != "speed_factor":
                continue
            answer = self._have_done(partial(self._set_speed, change.value))
            if not answer.ok:
                return SetParametersResult(successful=False, reason=answer.message)
            self.parameters = replace(self.parameters, speed_factor=change.value)
            self.get_logger().info(answer.message)
        return SetParametersResult(successful=True)

    def _set_speed(self, speed_factor: float, now_s: float) -> Response:
        return self._controller.set_speed(speed_factor)

    def _serve(self) -> None:
        self.create_service(
            SetBool, "enable", lambda q, r: self._answer(r, lambda now_s: self._controller.enable(q.data, now_s))
        )
        self.create_service(Trigger, "stop", lambda q, r: self._answer(r, self._controller_call("stop")))
        self.create_service(Trigger, "reset", lambda q, r: self._answer(r, self._controller_call("reset")))

    def _controller_call(self, name: str) -> Callable[[float], Response]:
        return lambda now_s: getattr(self._controller, name)(now_s)

    def start(self) -> None:
        p = self.parameters
        self._inputs = [
            self.create_subscription(JointState, "/joint_states", self._on_joint_states, qos.STATE_IN),
            self.create_subscription(MultiDOFJointTrajectory, "targets", self._on_targets, qos.TARGETS),
        ]
        for view in self._cell.views:
            self._inputs.append(
                self.create_subscription(CameraInfo, view.info_topic, partial(self._on_info, view), qos.STATE_IN)
            )
        self._timer = self.create_timer(_COMMITTED_PERIOD_S, self._publish_committed)
        self.wait_for(self._missing, p.wait_s)
        self._loop = DeadlineLoop("control", 1.0 / p.rate_hz, self._tick, self.fail, p.priority)
        gc.collect()
        gc.freeze()
        self._loop.start()
        self.get_logger().info(
            f"{p.rate_hz:g} Hz, {p.command_interface} on {self._command.topic_name}, gripper {p.gripper_interface}, "
            f"speed {p.speed_factor:g}; call enable to move"
        )

    def halt(self) -> None:
        """Bring the arm to rest inside its limits, then end the loop."""
        if self._loop is not None:
            self._inbox.put(self._controller.stop)
            deadline_s = time.monotonic() + _REST_S
            time.sleep(2 * self._loop.period_s)
            while self._output is not None and not self._output.at_rest and time.monotonic() < deadline_s:
                time.sleep(self._loop.period_s)
            self._loop.stop()
            self.destroy_timer(self._timer)
            gc.unfreeze()
        for subscription in self._inputs:
            self.destroy_subscription(subscription)
        self._loop, self._inputs = None, []

    def teardown(self) -> None:
        self._controller = self._output = None  # type: ignore[assignment]  # there from setup to here

    def _missing(self) -> str:
        if self._newest_state is not None:
            return ""
        if self._reader.missing:
            return f"no joint states with {self._reader.missing} on /joint_states; start the arm's driver"
        return (
            f"no joint states with {', '.join(self._names.joints)} on /joint_states; start the arm's driver or correct "
            "`arm.joints` in the cell file"
        )

    def _on_joint_states(self, msg: JointState) -> None:
        try:
            state = self._reader.read(msg)
        except TransportError as error:
            self.get_logger().warning(str(error), throttle_duration_sec=2.0)
            return
        if state is not None:
            now_s = time.monotonic()
            self._state_rate.tick(now_s)
            self._newest_state = state
            self._inbox.put(lambda _: self._controller.on_robot_state(state, now_s))

    def _on_info(self, view: View, msg: CameraInfo) -> None:
        try:
            check_camera_info(msg, view.name, view.camera)
        except TransportError as error:
            self.fail(error)
            return
        if self._frames.add(view.name, stamp_to_ns(msg.header.stamp), None, self.now_ns()) is not None:
            now_s = time.monotonic()
            self._inbox.put(lambda _: self._controller.on_frames_fresh(now_s))

    def _on_targets(self, msg: MultiDOFJointTrajectory) -> None:
        try:
            chunk = chunk_from_message(msg, self._names.base_frame)
        except ActionImagesError as error:
            self._last_refusal = str(error)
            self._inbox.put(lambda _: self._controller.on_unreadable_chunk())
            self.get_logger().warning(f"targets refused: {error}", throttle_duration_sec=2.0)
            return
        oldest = self._chunks.put(chunk)
        if oldest is not None:
            self._tell(oldest, self.now_ns(), "unused", "newer ones came before its turn")

    def _tell(self, chunk: ActionChunk, now_ns: int, verdict: str, reason: str) -> None:
        told = {"stamp_ns": chunk.stamp_ns, "at_ns": now_ns, "verdict": verdict, "reason": reason}
        self._verdicts.publish(String(data=json.dumps(told)))

    def _take(self, chunk: ActionChunk) -> None:
        now_ns = self.now_ns()
        verdict = self._controller.on_chunk(chunk, now_ns, time.monotonic())
        unused = verdict.refusal in (Refusal.NOT_ENABLED, Refusal.BEFORE_ENABLE)
        word = "accepted" if verdict.accepted else "unused" if unused else "refused"
        self._tell(chunk, now_ns, word, verdict.reason)
        if word == "refused":
            self._last_refusal = verdict.reason
            self.get_logger().warning(f"chunk refused: {verdict.reason}", throttle_duration_sec=1.0)

    def _answer(
        self, response: SetBool.Response | Trigger.Response, ask: Callable[[float], Response]
    ) -> SetBool.Response | Trigger.Response:
        answer = Response(False, "the controller is not active; activate it first")
        if self._loop is not None:
            answer = self._have_done(ask)
        response.success, response.message = answer.ok, answer.message
        return response

    def _have_done(self, ask: Callable[[float], Response]) -> Response:
        """By the control thread, which is within one period; while it does not run, here."""
        if self._controller is None:
            return Response(True, "will do")
        if self._loop is None:
            return ask(time.monotonic())
        future: Future[Response] = Future()
        self._inbox.put(lambda now_s: future.set_result(ask(now_s)))
        try:
            return future.result(_ANSWER_S)
        except FutureTimeout:
            return Response(False, f"the control loop did not answer within {_ANSWER_S:g} s")

    def _tick(self, now_s: float) -> None:
        """Commands go out first; a chunk is planned in what is left of the period."""
        while not self._inbox.empty():
            self._inbox.get()(now_s)
        self._move(now_s)
        chunk = self._chunks.take()
        if chunk is not None:
            self._take(chunk)

    def _move(self, now_s: float) -> None:
        now_ns = self.now_ns()
        before = None if self._output is None else self._output.state
        self._output = out = self._controller.tick(now_ns, now_s)
        if out.q_command is not None:
            lead_s, stop = self.parameters.lead_periods / self.parameters.rate_hz, self._controller.stopping()
            command = commands.ArmCommand(
                out.q_command, made(out.dq_command), made(out.base_T_tcp_command), now_ns, lead_s, stop
            )
            self._command.publish(self._arm.make(command, self._names))
        if out.gripper_width_m is not None:
            self._gripper.move(out.gripper_width_m)
        if before is not out.state:
            told = {"state": out.state.value, "why": out.fault, "stamp_ns": now_ns}
            self._changes.publish(String(data=json.dumps(told)))
            if before is not None:
                self.get_logger().info(f"{before.value} -> {out.state.value}" + (f": {out.fault}" if out.fault else ""))

    def _publish_committed(self) -> None:
        """Until the next chunk can arrive, by the latency measured so far, or longer where the model asks for it."""
        p, latency = self.parameters, self._controller.latency
        horizon_s = min(p.committed_horizon_s, latency.p95_s)
        if not horizon_s and not p.continued_steps:
            return

        def ask(_: float) -> None:
            self._committed_chunk = self._controller.committed(self.now_ns(), horizon_s, p.continued_steps)

        self._inbox.put(ask)
        chunk, self._committed_chunk = self._committed_chunk, None
        if chunk is not None and len(chunk) > 1:
            self._committed.publish(chunk_message(chunk, self._names.base_frame))

    def _report(self) -> Report:
        out = self._output if self._loop is not None else None
        if out is None:
            return not_active("control")
        stats, loop = out.stats, made(self._loop)
        values = {
            "state": out.state.value,
            "fault": out.fault,
            "latency_last_ms": 1e3 * stats.latency.last_s,
            "latency_mean_ms": 1e3 * stats.latency.mean_s,
            "latency_p95_ms": 1e3 * stats.latency.p95_s,
            "clearance_m": stats.clearance_m,
            "arm_clearance_m": stats.arm_clearance_m,
            "path_left_s": stats.path_left_s,
            "playback_rate": stats.playback_rate,
            "speed_factor": self.parameters.speed_factor,
            "lag_ms": 1e3 * stats.lag_s,
            "tracking_error_rad": stats.tracking_error_rad,
            "tracking_error_m": stats.tracking_error_m,
            "joint_states_hz": self._state_rate.rate_hz,
            "real_time_priority": loop.real_time,
            "skipped_periods": loop.skipped,
            **milliseconds("period_error", loop.period_errors()),
            **milliseconds("busy", loop.busy()),
            **{f"chunks_{k}": n for k, n in sorted(stats.counts.items())},
        }
        if self._last_refusal:
            values["last_refusal"] = self._last_refusal
        level = {ControllerState.FAULT: Level.ERROR, ControllerState.HOLDING: Level.WARN}.get(out.state, Level.OK)
        w = self.parameters.watchdog
        limits = {"period_error_max_ms": f"<= {1e3 * w.command_s:g}"} if w.command_s else {}
        if w.tracking_rad:
            limits["tracking_error_rad"] = f"<= {w.tracking_rad:g}"
        return Report("control", level, out.fault or out.state.value, values, limits, self._controller.remedy)

    def _report_arm(self) -> Iterable[Report]:
        out, w = self._output if self._loop is not None else None, self.parameters.watchdog
        if out is None:
            return ()
        width_m = None if self._newest_state is None else self._newest_state.gripper_width_m
        tracking = (out.stats.tracking_error_rad, w.tracking_rad)
        name = f"{self._cell.name}/{self._cell.arm.base_frame}"
        return (arm_report(name, self._state_rate, time.monotonic(), w.states_s, tracking, out.stats.lag_s, width_m),)


def main() -> int:
    return run_node(ControllerNode)


if __name__ == "__main__":
    sys.exit(main())

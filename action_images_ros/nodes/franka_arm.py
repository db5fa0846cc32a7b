"""A real arm without ros2_control: command topics in, libfranka's protocol out, joint states and diagnostics back.

One thread owns the arm; callbacks only leave what they received in an inbox. Between its visits the arm's own
1 kHz loop, which is not Python, goes on with what it was told last, and comes to rest by itself when nothing new comes.
"""

from __future__ import annotations

import queue
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass

import numpy as np
from geometry_msgs.msg import PoseStamped
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory

from ..arm import (
    ArmDriver,
    ArmState,
    DriverConfig,
    Follower,
    FollowerConfig,
    Hand,
    HandConfig,
    Phase,
    Session,
    remedy,
)
from ..arm.driver import REALTIME
from ..cell import Cell
from ..control import FR3_LIMITS, Fr3Kinematics, LimitScales
from ..errors import ActionImagesError, ArmError, ConfigError
from ..ros import commands, qos
from ..ros.launch_arguments import ARM_GRIPPERS, COMMAND_INTERFACES
from ..ros.loop import DeadlineLoop
from ..ros.main import run_node
from ..ros.managed import Ending, ManagedNode, made
from ..ros.messages import joint_state_message, pose_from_message
from ..ros.monitor import Level, RateMonitor, Report, milliseconds, not_active
from ..ros.parameters import parameter
from ..ros.setpoint import nearest_joints, require_reachable
from ..types import RobotState

_HEADROOM = (1.2, 1.5, 4.0)  # velocity, acceleration, jerk
_DATASHEET_SHARE = 0.9
_SPREAD_S = 0.02
_REST_S = 2.0
_RETRY_S = 0.3


@dataclass(frozen=True)
class FrankaArmParameters:
    autostart: bool = parameter(True, "configure and activate at once; motion still needs commands")
    cell: str = parameter("", "cell file: names of joints and frames, limits")
    address: str = parameter("", "address of the robot (FCI), such as 172.16.0.2")
    command_interface: str = parameter(
        "joint_trajectory", "which command topic to listen to", choices=COMMAND_INTERFACES
    )
    gripper_interface: str = parameter(
        "position", "which gripper topic to listen to; none: no hand", choices=ARM_GRIPPERS
    )
    rate_hz: float = parameter(125.0, "joint states and streamed velocities a second", minimum=50.0, maximum=500.0)
    priority: int = parameter(
        12, "SCHED_FIFO priority of the loop, where the system allows it; 0 does not ask", minimum=0, maximum=90
    )
    realtime: str = parameter(
        "enforce", "enforce: refuse a kernel without real time; ignore: for simulators", choices=REALTIME
    )
    connect_timeout_s: float = parameter(5.0, "for the arm, and for the gripper", minimum=0.5, maximum=60.0)
    wait_s: float = parameter(0.0, "how long an arm that is not there yet is waited for", minimum=0.0, maximum=3600.0)
    command_timeout_s: float = parameter(
        0.1, "come to rest when a command has been over for so long and no newer one came", minimum=0.02, maximum=2.0
    )
    recover_at_start: bool = parameter(False, "clear a reflex at the start instead of refusing to start")
    torque_threshold_nm: float = parameter(20.0, "collision reflex, joints", minimum=1.0, maximum=100.0)
    force_threshold_n: float = parameter(30.0, "collision reflex, hand", minimum=1.0, maximum=150.0)
    follower: FollowerConfig = FollowerConfig()
    hand: HandConfig = HandConfig()


class FrankaArmNode(ManagedNode):
    def __init__(self) -> None:
        super().__init__("franka_arm", FrankaArmParameters)
        self._loop: DeadlineLoop | None = None
        self._driver: ArmDriver | None = None
        self._hand: Hand | None = None
        self.diagnostics.add(self._report)

    def setup(self) -> None:
        p = self.parameters
        if not p.cell:
            raise ConfigError("franka_arm needs the parameter `cell`: the path of a cell file")
        cell = Cell.load(p.cell)
        scales = _share(cell.limits)
        self._kinematics = Fr3Kinematics()
        self._names = commands.Names(cell.arm.joints, cell.arm.fingers, cell.arm.base_frame)
        self._inbox: queue.SimpleQueue = queue.SimpleQueue()
        self._rates, self._refused = RateMonitor(), 0
        self._driver = ArmDriver(
            DriverConfig(
                p.address, p.realtime, p.connect_timeout_s, scales,
                torque_threshold_nm=p.torque_threshold_nm, force_threshold_n=p.force_threshold_n,
            )
        )  # fmt: skip
        state = self._require_ready(self._connect())
        follower = Follower(FR3_LIMITS.scaled(scales), p.follower)
        self._session = Session(self._driver, state, follower, p.command_timeout_s, self._changed)
        self._connect_hand()
        self._states = self.create_publisher(JointState, "/joint_states", qos.STATE)
        self._listen()
        self.create_service(Trigger, "franka_arm/reset", self._on_reset)

    def _connect(self) -> ArmState:
        end_s = time.monotonic() + self.parameters.wait_s
        while True:
            try:
                return made(self._driver).connect()
            except ArmError as error:
                if time.monotonic() > end_s or "refused" not in str(error):
                    raise
            if self.ending.wait(_RETRY_S):
                raise Ending

    def _connect_hand(self) -> None:
        """Connect, or connect again."""
        p = self.parameters
        if self._hand is not None:
            self._hand.close()
        if p.gripper_interface != "none":
            self._hand = Hand(p.address, p.connect_timeout_s, p.hand, self._hand_trouble)

    def _require_ready(self, state: ArmState) -> ArmState:
        p = self.parameters
        if state.ready:
            return state
        if p.recover_at_start:
            return made(self._driver).recover()
        made(self._driver).disconnect()
        raise ArmError(
            f"arm at {p.address} is in {state.trouble()}: {remedy(state)}, recover it in Desk "
            "(or start with recover_at_start:=true), then start again"
        )

    def _listen(self) -> None:
        p, joints, fingers = self.parameters, self._names.joints, self._names.fingers
        read = {
            "joint_trajectory": lambda m: self._follow(
                *commands.read_joint_trajectory(m, joints), commands.read_joint_velocities(m, joints)
            ),
            "joint_target": lambda m: self._go(commands.read_joint_target(m, joints)),
            "joint_positions": lambda m: self._go(commands.read_values(m, 7, "joint positions")),
            "cartesian_pose": self._on_pose,
        }
        grip = {
            "position": lambda m: commands.read_values(m, 1, "gripper position")[0] * commands.MAX_WIDTH_M,
            "finger_positions": lambda m: commands.read_values(m, 2, "finger positions").sum(),
            "position_trajectory": lambda m: commands.read_joint_trajectory(m, fingers)[1][-1].sum(),
        }
        self._subscribe(commands.ARM[p.command_interface], read[p.command_interface])
        if p.gripper_interface != "none":
            width = grip[p.gripper_interface]
            self._subscribe(commands.GRIPPER[p.gripper_interface], lambda m: made(self._hand).move(float(width(m))))

    def _subscribe(self, interface, act: Callable[[object], None]) -> None:
        def callback(msg: JointTrajectory | JointState | Float64MultiArray | PoseStamped) -> None:
            if self._loop is None:
                return  # not active: a command of then must not move the arm later
            try:
                act(msg)
            except ActionImagesError as error:
                self._refuse(str(error))

        self.create_subscription(interface.message, interface.topic, callback, qos.COMMAND)

    def _refuse(self, why: str) -> None:
        self._refused += 1
        self.get_logger().warning(f"command refused: {why}", throttle_duration_sec=1.0)

    def _follow(self, times_s: np.ndarray, q: np.ndarray, dq: np.ndarray | None) -> None:
        require_reachable(self._kinematics.limits, q)
        arrived_s = time.monotonic()
        self._inbox.put(lambda: self._command(times_s, q, dq, arrived_s))

    def _go(self, q: np.ndarray) -> None:
        self._follow(np.array([_SPREAD_S]), q[None], None)

    def _on_pose(self, msg: PoseStamped) -> None:
        pose = pose_from_message(msg, self._names.base_frame)
        self._go(nearest_joints(self._kinematics, pose, self._session.goal))

    def _hand_trouble(self, text: str) -> None:
        self.get_logger().warning(f"gripper: {text}", throttle_duration_sec=5.0)

    def start(self) -> None:
        p = self.parameters
        self._loop = DeadlineLoop("arm", 1.0 / p.rate_hz, self._tick, self.fail, p.priority)
        self._loop.start()
        self.get_logger().info(
            f"arm at {p.address}: {p.rate_hz:g} Hz, listens to {commands.ARM[p.command_interface].topic}, "
            f"gripper {p.gripper_interface}"
        )

    def halt(self) -> None:
        """Bring the arm to rest and end the motion; the connection stays until cleanup."""
        if self._loop is not None:
            self._loop.stop()
            try:
                if not made(self._driver).rest(_REST_S):
                    self.get_logger().error(f"the arm did not come to rest within {_REST_S:g} s")
            except ArmError as error:
                self.get_logger().warning(str(error))
        self._loop = None

    def teardown(self) -> None:
        if self._hand is not None:
            self._hand.close()
        if self._driver is not None:
            self._driver.disconnect()
        self._hand = self._driver = None

    def _tick(self, now_s: float) -> None:
        state = self._session.read()
        if state is not None:
            self._rates.tick(now_s)
            self._publish(state)
        while not self._inbox.empty():
            self._inbox.get()()
        self._session.advance()

    def _command(self, times_s: np.ndarray, q: np.ndarray, dq: np.ndarray | None, arrived_s: float) -> None:
        try:
            self._session.command(times_s, q, dq, arrived_s)
        except ActionImagesError as error:
            self._refuse(str(error))

    def _publish(self, state: ArmState) -> None:
        width_m = 0.0 if self._hand is None else self._hand.width_m
        msg = joint_state_message(
            RobotState(state.q, state.dq, width_m, self.now_ns(), self._names.joints), self._names.fingers
        )
        if self._hand is None:
            msg.name, msg.position, msg.velocity = msg.name[:7], msg.position[:7], msg.velocity[:7]
        self._states.publish(msg)

    def _changed(self, phase: Phase, why: str) -> None:
        if why:
            self.get_logger().error(why)
        self.diagnostics.publish()

    def _on_reset(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        """Recover from a reflex, or connect again."""
        if self._loop is None:
            response.success, response.message = False, "franka_arm is not active; activate it first"
            return response
        future: Future[str] = Future()
        self._inbox.put(lambda: self._reset(future))
        try:
            response.message = future.result(2 * self.parameters.connect_timeout_s + _REST_S)
            response.success = True
        except FutureTimeout:
            response.success, response.message = False, "the arm's loop did not answer"
        except ArmError as error:
            response.success, response.message = False, str(error)
        return response

    def _reset(self, future: Future) -> None:
        was_lost = self._session.phase is Phase.LOST
        try:
            told = self._session.reset()
            if was_lost or (self._hand is not None and self._hand.lost):
                self._connect_hand()
            future.set_result(told)
        except ArmError as error:
            future.set_exception(error)

    def _report(self) -> Report:
        loop = self._loop
        if loop is None:
            return not_active("arm")
        session, state = self._session, self._session.state
        values = {
            "phase": session.phase.value,
            "mode": state.mode.value,
            "errors": ", ".join(state.errors),
            "success_rate": state.success_rate,
            "success_rate_mean": session.success.spread().mean,
            "robot_time_s": state.robot_time_s,
            "joint_states_hz": self._rates.rate_hz,
            "lean_rad": float(np.abs(state.q_d - state.q).max()),
            **session.counts,
            "refused": self._refused,
            "real_time_priority": loop.real_time,
            "skipped_periods": loop.skipped,
            **milliseconds("period_error", loop.period_errors()),
            **milliseconds("busy", loop.busy()),
        }
        if self._hand is not None:
            values |= {
                "gripper_width_m": self._hand.width_m,
                "gripper_grasped": self._hand.grasped,
                "gripper_moving": self._hand.moving,
                "gripper_commands": self._hand.commands,
                "gripper_trouble": self._hand.trouble,
            }
        bad = session.phase in (Phase.STOPPED, Phase.LOST)
        level = Level.ERROR if bad else Level.OK
        cure = "; then ".join(filter(None, (remedy(state), "call franka_arm/reset")))
        return Report("arm", level, session.why or session.phase.value, values, {}, cure, self.parameters.address)


def _share(limits) -> LimitScales:
    """What the arm may use: more than the commands do, so that it can catch up with them; never the whole datasheet."""
    scales = (limits.velocity_scale, limits.acceleration_scale, limits.jerk_scale)
    return LimitScales(*(min(h * scale, _DATASHEET_SHARE) for h, scale in zip(_HEADROOM, scales)))


def main() -> int:
    return run_node(FrankaArmNode)


if __name__ == "__main__":
    sys.exit(main())

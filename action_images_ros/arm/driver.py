"""One connection to one arm: its state, and joint velocities that libfranka's 1 kHz loop makes smooth.

A velocity is sent as a motion of three parts: reach it, keep it for a moment, come to rest. A newer one takes over
without a seam. Whatever becomes of this program, the arm's own loop ends in rest; only a lost process or network is
left to the robot, which stops by itself after 20 missing packets.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from ..control import FR3_LIMITS, LimitScales
from ..errors import ArmError, ConfigError, one_of
from .franky_client import client, one_line, within
from .states import ArmState, Mode, remedy

REALTIME = ("enforce", "ignore")
_NO_FILTER_HZ = 1000.0  # the client's low-pass filter restarts with every motion; it would make each seam a jump
_DATASHEET_SHARE = 0.9
_HEADROOM = 1.2
_POLL_S = 0.005


@dataclass(frozen=True)
class DriverConfig:
    """address: of the robot (FCI). scales: of the datasheet's joint limits, which streamed motion is limited to.
    reach_s: time in which a velocity is reached. keep_s: after that until the arm decelerates for want of a newer one.
    torque_threshold_nm, force_threshold_n: of the arm's collision reflex.
    """

    address: str
    realtime: str = "enforce"
    connect_timeout_s: float = 5.0
    scales: LimitScales = LimitScales()
    reach_s: float = 0.03
    keep_s: float = 0.07
    torque_threshold_nm: float = 20.0
    force_threshold_n: float = 30.0

    def __post_init__(self) -> None:
        one_of("realtime", self.realtime, REALTIME)
        if not self.address:
            raise ConfigError("the arm has no address; give the parameter `address`, such as 172.16.0.2")
        for name in ("connect_timeout_s", "reach_s", "keep_s", "torque_threshold_nm", "force_threshold_n"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must be positive")


class ArmDriver:
    """Call it from one thread. Every method that talks to the arm raises ArmError where that fails."""

    def __init__(self, config: DriverConfig) -> None:
        self.config = config
        self._franky = client()
        self._robot = None
        self._error_names = [n for n in dir(self._franky.Errors) if not n.startswith("_")]
        self._modes = {getattr(self._franky.RobotMode, _camel(m.value)): m for m in Mode}
        self._zero = np.zeros(7)

    @property
    def connected(self) -> bool:
        return self._robot is not None

    def connect(self) -> ArmState:
        """Connect, set limits and collision behaviour. Does not move and does not recover from anything."""
        self.disconnect()
        c, f = self.config, self._franky
        realtime = f.RealtimeConfig.Enforce if c.realtime == "enforce" else f.RealtimeConfig.Ignore

        def make():
            return f.Robot(
                c.address,
                default_torque_threshold=c.torque_threshold_nm,
                default_force_threshold=c.force_threshold_n,
                realtime_config=realtime,
            )

        robot = within(c.connect_timeout_s, make, f"arm at {c.address}")
        self._limit(robot)
        self._robot = robot
        return self.read()

    def _limit(self, robot) -> None:
        """The client's limits, which are an older robot's: the FR3's datasheet, scaled, with headroom over what is
        streamed, never more than _DATASHEET_SHARE of it."""
        s = self.config.scales
        for limit, datasheet, scale in (
            (robot.joint_velocity_limit, FR3_LIMITS.dq_max, s.velocity),
            (robot.joint_acceleration_limit, FR3_LIMITS.ddq_max, s.acceleration),
            (robot.joint_jerk_limit, FR3_LIMITS.dddq_max, s.jerk),
        ):
            limit.set(np.minimum(limit.max, datasheet * min(_HEADROOM * scale, _DATASHEET_SHARE)))

    def disconnect(self) -> None:
        """Drop the connection as it is. Harmless when there is none."""
        self._robot = None

    def read(self) -> ArmState:
        """The newest state. In motion at once, else with the arm's next packet."""
        s = self._call(lambda robot: robot.state)
        errors = tuple(n for n in self._error_names if getattr(s.current_errors, n))
        return ArmState(
            np.array(s.q),
            np.array(s.dq),
            np.array(s.q_d),
            s.time.to_sec(),
            self._modes[s.robot_mode],
            errors,
            float(s.control_command_success_rate),
        )

    @property
    def in_motion(self) -> bool:
        return self._robot is not None and self._robot.is_in_control

    def stream(self, dq: np.ndarray) -> None:
        """Go on with joint velocities (7,) rad/s."""
        f, c = self._franky, self.config
        milliseconds = f.Duration
        motion = f.JointVelocityWaypointMotion(
            [
                f.JointVelocityWaypoint(
                    dq,
                    minimum_time=milliseconds(round(1e3 * c.reach_s)),
                    hold_target_duration=milliseconds(round(1e3 * c.keep_s)),
                ),
                f.JointVelocityWaypoint(self._zero),
            ]
        )
        self._call(lambda robot: robot.move(motion, asynchronous=True, cutoff_frequency=_NO_FILTER_HZ))

    def start(self) -> None:
        """Begin a motion at rest, or take over the one that is coming to rest."""
        if not self.in_motion:
            self.collect()
        self.stream(self._zero)

    def collect(self) -> None:
        """Take note of how the last motion ended; raises what ended it. Waits up to a second while one is running."""
        self._call(lambda robot: robot.join_motion(1.0))

    def rest(self, timeout_s: float) -> bool:
        """Come to rest and end the motion. False where that took longer than timeout_s."""
        if not self.in_motion:
            return True
        f = self._franky
        self._call(
            lambda robot: robot.move(f.JointVelocityStopMotion(), asynchronous=True, cutoff_frequency=_NO_FILTER_HZ)
        )
        end_s = time.monotonic() + timeout_s
        while self.in_motion:
            if time.monotonic() > end_s:
                return False
            time.sleep(_POLL_S)
        self.collect()
        return True

    def recover(self) -> ArmState:
        """Clear a reflex. Raises ArmError where the arm remains in trouble, with the remedy."""
        try:
            self.collect()
        except ArmError:
            pass  # what ended the motion is what is being recovered from
        self._call(lambda robot: robot.recover_from_errors())
        state = self.read()
        if not state.ready:
            raise ArmError(f"arm at {self.config.address} is still in {state.trouble()}; {remedy(state)}, then reset")
        return state

    def _call(self, act):
        if self._robot is None:
            raise ArmError(f"not connected to the arm at {self.config.address}; reset connects again")
        try:
            return act(self._robot)
        except Exception as error:  # noqa: BLE001 - the client's own errors share no base class
            raise ArmError(f"arm at {self.config.address}: {one_line(error)}") from error


def _camel(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))

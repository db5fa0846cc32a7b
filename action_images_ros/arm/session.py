"""What the arm is doing for us, from connection to loss: holding, following, stopped, lost. One thread calls it."""

from __future__ import annotations

import time
from collections.abc import Callable
from enum import Enum

import numpy as np

from ..errors import ArmError
from ..ros.monitor import Window
from ..ros.setpoint import JointSetpoint
from .driver import ArmDriver
from .follower import Follower
from .states import ArmState, remedy

_STARTING_S = 1.0
_LONGEST_STEP_S = 0.05
_FARTHEST_S = 0.02
_NEAR_RAD = 0.05
_SETTLE_S = 2.0
_STILL_RADPS = 0.01
_LOST_AFTER = 3  # reads in a row without an answer, each of which has waited for one
RESET = "franka_arm/reset"


class Phase(Enum):
    """holding: at rest, ready for commands. stopped: the arm stopped by itself. lost: not connected. Only `reset`
    leads out of the last two."""

    HOLDING = "holding"
    FOLLOWING = "following"
    STOPPED = "stopped"
    LOST = "lost"


class Session:
    """Commands in, streamed motion out, in the arm's own time: there limits hold, and in a simulator it may run slower
    than ours.

    command_timeout_s: so long after the end of a trajectory the arm is brought to rest where no newer one came.
    on_change(phase, why): called when the arm stopped, was lost, or was reset.
    """

    def __init__(
        self,
        driver: ArmDriver,
        state: ArmState,
        follower: Follower,
        command_timeout_s: float,
        on_change: Callable[[Phase, str], None] = lambda phase, why: None,
    ) -> None:
        self._driver, self._follower = driver, follower
        self._timeout_s, self._on_change = command_timeout_s, on_change
        self._setpoint = JointSetpoint(state.q)
        self.state, self._read_s = state, time.monotonic()
        self.phase, self.why, self._failures = Phase.HOLDING, "", 0
        self.counts = dict.fromkeys(("starts", "retries", "stops"), 0)
        self._advanced_s: float
        self.success = Window(1000)

    @property
    def goal(self) -> np.ndarray:
        """Joints (7,) where the present trajectory ends, else where the arm is."""
        return self._setpoint.at(float("inf")) if self.phase is Phase.FOLLOWING else self.state.q

    def read(self) -> ArmState | None:
        """The arm's state, if it is news: one whose time has not advanced is none."""
        if self.phase is Phase.LOST:
            return None
        before = self.state
        try:
            self.state = state = self._driver.read()
        except ArmError as error:
            self._failures += 1
            if self._failures >= _LOST_AFTER:
                self._leave(Phase.LOST, f"{error}; see to network and robot, then call {RESET}")
            return None
        self._failures, self._read_s = 0, time.monotonic()
        if not state.ready and self.phase is not Phase.STOPPED:
            self._leave(Phase.STOPPED, f"the arm stopped: {state.trouble()}; {remedy(state)}, then call {RESET}")
        return state if state.robot_time_s != before.robot_time_s else None

    def command(self, times_s: np.ndarray, q: np.ndarray, dq: np.ndarray | None, arrived_s: float) -> None:
        """Be at q (N, 7), with velocities dq where given, times_s (N,) after arrived_s (monotonic).

        Raises ArmError in a phase that needs a reset, TransportError for times that do not increase.
        """
        if self.phase in (Phase.STOPPED, Phase.LOST):
            raise ArmError(f"{self.phase.value}: {self.why}")
        if self.phase is Phase.HOLDING:
            self._begin()
        if self.phase is Phase.FOLLOWING:
            since_s = min(max(arrived_s - self._read_s, -_FARTHEST_S), _FARTHEST_S)
            at_s = self.state.robot_time_s + since_s
            self._setpoint.follow(times_s, q, at_s, dq)
            self._expires_s = at_s + float(times_s[-1]) + self._timeout_s

    def advance(self) -> None:
        """Send the velocities that lead from the newest state on."""
        state = self.state
        if self.phase is not Phase.FOLLOWING or state.robot_time_s <= self._advanced_s:
            return
        dt_s = min(state.robot_time_s - self._advanced_s, _LONGEST_STEP_S)
        self._advanced_s = state.robot_time_s
        self.success.add(state.success_rate)
        over_s = state.robot_time_s - self._expires_s
        if over_s < 0:
            self._follower.follow(self._setpoint.at(state.robot_time_s), dt_s)
        else:
            self._follower.brake(dt_s)
        dq = self._follower.velocity(state.q, state.q_d)
        if over_s >= 0 and self._follower.at_rest and (over_s > _SETTLE_S or _still(dq) and _still(state.dq)):
            self.phase = Phase.HOLDING  # the arm's loop ends the motion at rest by itself
            return
        try:
            self._driver.stream(dq)
        except ArmError as error:
            self._ended(error)

    def reset(self) -> str:
        """Recover from a reflex, or connect again. Moves nothing. Raises ArmError where that fails."""
        before = self.phase
        try:
            if before is Phase.LOST:
                self.state = self._driver.connect()
            if before is Phase.STOPPED or not self.state.ready:
                self.state = self._driver.recover()
        except ArmError as error:
            self.why = str(error)
            raise
        if before in (Phase.STOPPED, Phase.LOST):
            self.phase, self.why = Phase.HOLDING, ""
        self._failures = 0
        self._on_change(self.phase, "")
        return f"was {before.value}, is {self.phase.value}"

    def _begin(self) -> None:
        """From rest: the arm's own set point is where the motion starts."""
        state = self.state
        start = state.q_d if np.abs(state.q_d - state.q).max() < _NEAR_RAD else state.q
        self._setpoint.jump(start, state.robot_time_s)
        self._follower.reset(start)
        self._began_s, self._retried, self._advanced_s = time.monotonic(), False, state.robot_time_s
        self._expires_s = state.robot_time_s + self._timeout_s
        self._start()

    def _start(self) -> None:
        self.counts["starts"] += 1
        try:
            self._driver.start()
        except ArmError as error:
            self._ended(error)
        else:
            self.phase = Phase.FOLLOWING

    def _ended(self, error: ArmError) -> None:
        """The motion ended without being asked to. A start whose first packet was lost is repeated, once."""
        try:
            self.state = state = self._driver.read()
        except ArmError as gone:
            self._leave(Phase.LOST, f"{gone}; see to network and robot, then call {RESET}")
            return
        starting = not self._retried and time.monotonic() - self._began_s < _STARTING_S
        if starting and state.ready and "Timeout" in str(error):
            self._retried = True
            self.counts["retries"] += 1
            self._advanced_s = state.robot_time_s
            self._start()
            return
        after = remedy(state)
        self._leave(Phase.STOPPED, f"{error}; {f'{after}, then ' if after else ''}call {RESET}")

    def _leave(self, phase: Phase, why: str) -> None:
        """Stop commanding, until `reset`."""
        self.phase, self.why = phase, why
        self.counts["stops"] += 1
        if phase is Phase.LOST:
            self._driver.disconnect()
        self._on_change(phase, why)


def _still(dq: np.ndarray) -> bool:
    return bool(np.abs(dq).max() < _STILL_RADPS)

"""What must keep arriving, and what must stay true, while the arm may move."""

from __future__ import annotations

from collections import deque

import numpy as np

from ..types import RobotState
from .config import Follows, WatchdogConfig
from .kinematics import Kinematics
from .rotation import pose_distance
from .states import Event


class Watchdog:
    """Notes arrivals by the monotonic clock and names what is wrong. Decides nothing about the state."""

    def __init__(self, config: WatchdogConfig, kinematics: Kinematics, rate_hz: float,
                 follows: Follows = Follows.JOINTS) -> None:
        self._config, self._follows = config, follows
        self._kinematics, self._limits = kinematics, kinematics.limits
        self._frames_s = self._states_s = self._chunks_s = -float("inf")
        self._tick_s: float | None = None
        self._offset_ns: float | None = None
        self._commands: deque[np.ndarray] = deque(maxlen=max(2, int(config.tracking_window_s * rate_hz)))
        self._stamps: deque[int] = deque(maxlen=self._commands.maxlen)
        self._poses: deque[np.ndarray] = deque(maxlen=self._commands.maxlen)
        self.tracking_error_rad = 0.0
        self.tracking_error_m = 0.0
        self.lag_s = 0.0

    def frames(self, now_s: float) -> None:
        self._frames_s = now_s

    def states(self, now_s: float) -> None:
        self._states_s = now_s

    def chunk(self, now_s: float) -> None:
        self._chunks_s = now_s

    def restart(self) -> None:
        """Forget commands and clocks (control begins anew)."""
        self._commands.clear()
        self._stamps.clear()
        self._poses.clear()
        self._offset_ns = None
        self.tracking_error_rad = self.tracking_error_m = self.lag_s = 0.0

    def command(self, q: np.ndarray, base_T_tcp: np.ndarray, now_ns: int) -> None:
        """Note what was commanded at now_ns: joints (7,) and the pose (4, 4) that they mean."""
        self._commands.append(q)
        self._poses.append(base_T_tcp)
        self._stamps.append(now_ns)

    def tick(self, now_ns: int, now_s: float) -> list[tuple[Event, str]]:
        """Note a control tick; what the clocks say about it."""
        found = []
        late = 0.0 if self._tick_s is None else now_s - self._tick_s
        if self._config.command_s is not None and late > self._config.command_s:
            text = f"{1e3 * late:.0f} ms between two ticks; legal: {1e3 * self._config.command_s:.0f} ms"
            found.append((Event.COMMAND_LATE, text))
            self._excuse(late)
        offset = now_ns - 1e9 * now_s
        jump = 0.0 if self._offset_ns is None else 1e-9 * (offset - self._offset_ns)
        if self._config.clock_jump_s is not None and abs(jump) > self._config.clock_jump_s:
            found.append((Event.CLOCK_JUMP, f"ROS time jumped by {jump:+.3f} s"))
        self._tick_s, self._offset_ns = now_s, offset
        return found

    def _excuse(self, gap_s: float) -> None:
        """What could not be received while nobody was there to receive it is not late."""
        self._frames_s, self._states_s, self._chunks_s = (
            s + gap_s for s in (self._frames_s, self._states_s, self._chunks_s))

    def inputs(self, now_s: float) -> list[tuple[Event, str]]:
        """What has not arrived in time."""
        c = self._config
        waits = ((Event.STATES_STALE, c.states_s, self._states_s), (Event.FRAMES_STALE, c.frames_s, self._frames_s),
                 (Event.CHUNKS_STALE, c.chunks_s, self._chunks_s))
        found = []
        for event, deadline, last in waits:
            if deadline is not None and now_s - last > deadline:
                since = "never received" if last == -float("inf") else f"last {now_s - last:.2f} s ago"
                found.append((event, f"{event.value}: {since}; deadline {deadline:.2f} s"))
        return found

    def arm(self, state: RobotState) -> list[tuple[Event, str]]:
        """What is wrong with where the arm is; measures how far and how long it trails its commands."""
        found = []
        margin = self._limits.margin(state.q)
        limit = self._config.joint_margin_rad
        if limit is not None and margin.min() < limit:
            j = int(margin.argmin())
            text = (f"joint {j + 1} is at {state.q[j]:.3f} rad, {margin[j]:.3f} rad from the end of its range; legal: "
                    f"{limit:.3f}; guide the arm away by hand")
            found.append((Event.JOINT_NEAR_LIMIT, text))
        text = self._track_pose(state) if self._follows is Follows.TCP else self._track_joints(state)
        if text:
            found.append((Event.TRACKING_ERROR, text))
        return found

    def _track_joints(self, state: RobotState) -> str:
        """What is wrong with how the joints follow; "" when nothing is."""
        self.tracking_error_rad = 0.0
        if not self._commands:
            return ""
        commands = np.array(self._commands)
        apart = np.abs(commands - state.q).max(axis=1)
        k = int(apart.argmin())
        self.tracking_error_rad = float(apart[k])
        self._measure_lag(state, float(np.abs(commands[-1] - commands[0]).max()), k)
        limit = self._config.tracking_rad
        if limit is None or self.tracking_error_rad <= limit:
            return ""
        return (f"the arm is {self.tracking_error_rad:.3f} rad from every command of the last "
                f"{self._config.tracking_window_s:.2f} s; legal: {limit:.3f} rad")

    def _track_pose(self, state: RobotState) -> str:
        """The same for an arm that follows poses: its TCP counts, not its joints."""
        self.tracking_error_m = 0.0
        if not self._poses:
            return ""
        c, poses = self._config, np.array(self._poses)
        metres, radians = pose_distance(poses, self._kinematics.fk(state.q))
        m, turn = c.tracking_m or np.inf, c.tracking_turn_rad or np.inf
        k = int((metres / (c.tracking_m or 1.0) + radians / (c.tracking_turn_rad or 1.0)).argmin())
        self.tracking_error_m = float(metres[k])
        self._measure_lag(state, float(np.linalg.norm(poses[-1, :3, 3] - poses[0, :3, 3])), k)
        if metres[k] <= m and radians[k] <= turn:
            return ""
        return (f"the TCP is {1e3 * metres[k]:.0f} mm, {np.degrees(radians[k]):.0f} deg from every command of the last "
                f"{c.tracking_window_s:.2f} s; legal: {1e3 * m:.0f} mm, {np.degrees(turn):.0f} deg")

    def _measure_lag(self, state: RobotState, travelled: float, k: int) -> None:
        """k: the command nearest to where the arm is; counts only while both move."""
        if travelled > 0.02 and np.abs(state.dq).max() > 0.02:
            lag = min(max(1e-9 * (state.stamp_ns - self._stamps[k]), 0.0), self._config.tracking_window_s)
            self.lag_s += 0.05 * (lag - self.lag_s)

"""What must keep arriving, and what must stay true, while the arm may move."""

from __future__ import annotations

from collections import deque

import numpy as np

from ..types import RobotState
from .config import WatchdogConfig
from .limits import JointLimits
from .states import Event


class Watchdog:
    """Notes arrivals by the monotonic clock and names what is wrong. Decides nothing about the state."""

    def __init__(self, config: WatchdogConfig, limits: JointLimits, rate_hz: float) -> None:
        self._config = config
        self._limits = limits
        self._frames_s = self._states_s = self._chunks_s = -float("inf")
        self._tick_s: float | None = None
        self._offset_ns: float | None = None
        self._commands: deque[np.ndarray] = deque(maxlen=max(2, int(config.tracking_window_s * rate_hz)))
        self._stamps: deque[int] = deque(maxlen=self._commands.maxlen)
        self.tracking_error_rad = 0.0
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
        self._offset_ns = None
        self.tracking_error_rad = self.lag_s = 0.0

    def command(self, q: np.ndarray, now_ns: int) -> None:
        """Note what was commanded at now_ns."""
        self._commands.append(q)
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
        self._track(state)
        if self._config.tracking_rad is not None and self.tracking_error_rad > self._config.tracking_rad:
            text = (f"the arm is {self.tracking_error_rad:.3f} rad from every command of the last "
                    f"{self._config.tracking_window_s:.2f} s; legal: {self._config.tracking_rad:.3f} rad")
            found.append((Event.TRACKING_ERROR, text))
        return found

    def _track(self, state: RobotState) -> None:
        if not self._commands:
            self.tracking_error_rad = 0.0
            return
        commands = np.array(self._commands)
        apart = np.abs(commands - state.q).max(axis=1)
        k = int(apart.argmin())
        self.tracking_error_rad = float(apart[k])
        travelled = float(np.abs(commands[-1] - commands[0]).max())
        if travelled > 0.02 and np.abs(state.dq).max() > 0.02:
            lag = min(max(1e-9 * (state.stamp_ns - self._stamps[k]), 0.0), self._config.tracking_window_s)
            self.lag_s += 0.05 * (lag - self.lag_s)

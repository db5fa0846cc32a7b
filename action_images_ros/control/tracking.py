"""The last stage before the arm: nothing leaves it that exceeds the joint limits, whatever goes in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ruckig import (
    ControlInterface,
    InputParameter,
    OutputParameter,
    Result,
    Ruckig,
    RuckigError,
    Synchronization,
    Trajectory,
)

from .limits import JointLimits

_CREEP_RADPS = 1e-3
_STOP_STEP_S = 0.04


@dataclass(frozen=True, eq=False)
class JointCommand:
    """q, dq, ddq (7,) at one tick; deviation_rad: largest joint distance from what was asked."""

    q: np.ndarray
    dq: np.ndarray
    ddq: np.ndarray
    deviation_rad: float = 0.0


@dataclass(frozen=True, eq=False)
class StopPath:
    """times_s (M,) after a command, increasing; q, dq (M, 7) then; the last is at rest."""

    times_s: np.ndarray
    q: np.ndarray
    dq: np.ndarray


class JointLimiter:
    """Follows a joint reference tick by tick, time-optimally inside velocity, acceleration and jerk limits.

    A reference that respects the limits passes through unchanged; any other is caught up with. No joint
    becomes faster than it can stop within brake_s.
    """

    def __init__(self, limits: JointLimits, period_s: float, brake_s: float) -> None:
        self._limits = limits
        self._otg = Ruckig(len(limits.q_min), period_s)
        self._input = InputParameter(len(limits.q_min))
        self._output = OutputParameter(len(limits.q_min))
        self._input.max_acceleration = limits.ddq_max.tolist()
        self._input.max_jerk = limits.dddq_max.tolist()
        self._input.minimum_duration = period_s
        self._stoppable = limits.ddq_max * brake_s
        self._last: JointCommand | None = None

    @property
    def last(self) -> JointCommand | None:
        return self._last

    def set_period(self, period_s: float) -> None:
        """Time from the last command to the next one, where it is not always the same."""
        self._otg.delta_time = self._input.minimum_duration = period_s

    def reset(self, q: np.ndarray) -> None:
        """Start at rest at q (7,)."""
        zero = np.zeros(len(q))
        self._last = JointCommand(np.array(q, float), zero, zero)
        self._input.current_position = self._last.q.tolist()
        self._input.current_velocity = self._input.current_acceleration = zero.tolist()

    def follow(self, q: np.ndarray, dq: np.ndarray, ddq: np.ndarray) -> JointCommand | None:
        """The command of the next tick towards this state; None when no motion inside the limits exists."""
        assert self._last is not None, "reset first"
        low, high = self._bounds(self._last.q)
        i = self._input
        i.max_velocity, i.min_velocity = high.tolist(), low.tolist()
        i.target_position = q.tolist()
        i.target_velocity = np.minimum(np.maximum(dq, 0.98 * low), 0.98 * high).tolist()
        reach = 0.98 * self._limits.ddq_max
        i.target_acceleration = np.minimum(np.maximum(ddq, -reach), reach).tolist()
        return self._update(q)

    def brake(self) -> JointCommand:
        """The command of the next tick of the quickest stop of every joint, wherever it ends."""
        assert self._last is not None, "reset first"
        Ruckig(len(self._last.q), self._otg.delta_time).update(self._stop(self._last), self._output)
        return self._taken(np.array(self._output.new_position))

    def stop_path(self, start: JointCommand, after_s: float) -> StopPath:
        """The quickest stop of every joint from `start`, which is where they are after_s after the command."""
        trajectory = Trajectory(len(start.q))
        Ruckig(len(start.q)).calculate(self._stop(start), trajectory)
        lasts = trajectory.duration
        steps = np.arange(0.0 if after_s else _STOP_STEP_S, lasts - 0.5 * _STOP_STEP_S, _STOP_STEP_S)
        times = [*steps.tolist(), max(lasts, 1e-3)]
        states = [trajectory.at_time(t) for t in times]
        dq = np.array([s[1] for s in states])
        dq[-1] = 0.0
        return StopPath(after_s + np.array(times), np.array([s[0] for s in states]), dq)

    def _stop(self, start: JointCommand) -> InputParameter:
        stop = InputParameter(len(start.q))
        stop.control_interface = ControlInterface.Velocity
        stop.synchronization = Synchronization.No
        stop.current_position, stop.current_velocity = start.q.tolist(), start.dq.tolist()
        stop.current_acceleration = start.ddq.tolist()
        stop.target_velocity = [0.0] * len(start.q)
        stop.max_acceleration, stop.max_jerk = self._input.max_acceleration, self._input.max_jerk
        stop.max_velocity = self._limits.dq_max.tolist()
        return stop

    def _bounds(self, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Velocity limits at q; never quite zero: a joint at the end of its range must be able to come back."""
        low, high = self._limits.velocity_bounds(q)
        low, high = np.maximum(low, -self._stoppable), np.minimum(high, self._stoppable)
        return np.minimum(low, -_CREEP_RADPS), np.maximum(high, _CREEP_RADPS)

    def _update(self, q: np.ndarray) -> JointCommand | None:
        for _ in range(2):
            try:
                result = self._otg.update(self._input, self._output)
            except RuckigError:
                result = Result.Error
            if result in (Result.Working, Result.Finished):
                return self._taken(q)
            self._input.target_acceleration = [0.0] * len(q)
        return None

    def _taken(self, asked: np.ndarray) -> JointCommand:
        self._output.pass_to_input(self._input)
        q = np.array(self._output.new_position)
        self._last = JointCommand(q, np.array(self._output.new_velocity), np.array(self._output.new_acceleration),
                                  float(np.abs(q - asked).max()))
        return self._last


class PlaybackRate:
    """How fast path time runs: 0 at rest, `full` in full motion, changed with bounded acceleration and jerk.

    These bounds belong to the speed that the plan is timed for (`timed_for` >= full): from there to rest in brake_s.
    """

    def __init__(self, speed_factor: float, brake_s: float, jerk_share: float, period_s: float) -> None:
        self._otg = Ruckig(1, period_s)
        self._input = InputParameter(1)
        self._output = OutputParameter(1)
        self._ramp_s = jerk_share * brake_s
        self._brake_s = brake_s
        self._input.control_interface = ControlInterface.Velocity
        self.retime(speed_factor, speed_factor)
        self.reset()

    def retime(self, full: float, timed_for: float) -> None:
        """Another speed in full motion, for a plan that is timed for `timed_for`. The present rate must not be above
        that, nor, where it is lowered, be changing."""
        acceleration = timed_for / (self._brake_s - self._ramp_s)
        self._input.max_acceleration = [acceleration]
        self._input.max_jerk = [acceleration / self._ramp_s]
        self._input.max_velocity = [2.0 * timed_for]
        self.full, self.timed_for = full, timed_for

    @property
    def settled(self) -> bool:
        """At rest or in full motion, and not changing."""
        return self.change == 0.0 and self.rate in (0.0, self.full)

    def reset(self) -> None:
        """At rest."""
        self.rate, self.change = 0.0, 0.0
        self._input.current_position = [0.0]
        self._input.current_velocity = [0.0]
        self._input.current_acceleration = [0.0]

    @property
    def resting(self) -> bool:
        return self.rate == 0.0 and self.change == 0.0

    def advance(self, moving: bool) -> float:
        """One tick towards full speed (moving) or rest; returns the path time (s) that passes in it."""
        target = self.full if moving else 0.0
        if self.rate == target and self.change == 0.0:
            return self.rate * self._otg.delta_time
        self._input.target_velocity = [target]
        before = self._input.current_position[0]
        result = self._otg.update(self._input, self._output)
        self._output.pass_to_input(self._input)
        if result == Result.Finished:
            self._input.current_velocity, self._input.current_acceleration = [target], [0.0]
        self.rate = max(0.0, self._input.current_velocity[0])
        self.change = self._input.current_acceleration[0]
        return max(0.0, self._input.current_position[0] - before)

"""Plays a plan: path time runs, the limiter lets the joints follow, and the past is remembered."""

from __future__ import annotations

import numpy as np

from .chunk_queue import PlaybackClock
from .config import ControllerConfig
from .kinematics import Kinematics
from .planner import Plan, Planner
from .tracking import JointCommand, JointLimiter, PlaybackRate, StopPath

_REST_RADPS = 1e-6
_ON_PATH_RAD = 1e-3
_AT_END_S = 1e-9
_COAST_S = 0.03


class Player:
    """One plan at a time, from `begin` on.

    It comes to rest along the plan's own, already checked path; where the limiter has had to leave that
    path, every joint takes its quickest stop instead.
    """

    def __init__(self, config: ControllerConfig, kinematics: Kinematics, planner: Planner) -> None:
        self._planner = planner
        self._kinematics = kinematics
        self._limiter = JointLimiter(kinematics.limits.scaled(config.limits), config.period_s, config.brake_s)
        self._rate = PlaybackRate(config.speed_factor, config.brake_s, config.jerk_share, config.period_s)
        self._wanted = config.speed_factor
        self.clock = PlaybackClock(config.chunks.max_age_s + 1.0, config.rate_hz)
        self.plan: Plan | None = None
        self.path_s = 0.0
        self._braking = False
        self._pose: np.ndarray | None = None

    def begin(self, q: np.ndarray, openness: float) -> None:
        """Take q (7,), where the arm rests, as the command."""
        self.clock.clear()
        self._rest(q, openness)

    def rest_at(self, q: np.ndarray) -> None:
        """As `begin`, with the present openness and without forgetting what was played. For an arm at rest."""
        assert self.plan is not None, "begin first"
        self._rest(q, self.plan.poses.openness_at(np.array([self.path_s])).item())

    def _rest(self, q: np.ndarray, openness: float) -> None:
        self.plan = self._planner.rest(q, openness, self.path_s)
        self._limiter.reset(q)
        self._rate.reset()
        self._braking = False
        self._pose = self._kinematics.fk(q)

    def adopt(self, plan: Plan, timed_for: float) -> None:
        """Play this plan from the present path time on; it must continue the present one, and have been made for
        `timing()`'s answer or less than the present `timed_for` says."""
        self.plan = plan
        self._rate.retime(min(self._wanted, timed_for), timed_for)

    def set_speed(self, speed_factor: float) -> None:
        """Slower: at once, within the braking that every plan has in reserve. Faster: as plans made for it come."""
        self._wanted = speed_factor
        self._rate.retime(min(speed_factor, self._rate.timed_for), self._rate.timed_for)

    def timing(self) -> float:
        """The speed to time the next plan for: the one that is wanted, once the present motion is inside its limits
        at that too."""
        rate = self._rate
        if rate.resting:
            return self._wanted
        if self._wanted <= rate.timed_for:
            return self._wanted if rate.settled else rate.timed_for
        assert self.plan is not None, "something moves"
        return self._planner.fastest(self.plan, self.path_s, rate.timed_for, self._wanted)

    @property
    def resting(self) -> bool:
        """Nothing moves: no plan, or path time and every commanded joint stand still."""
        if self.plan is None:
            return True
        last = self._limiter.last
        assert last is not None, "a plan and a command begin together"
        still = np.abs(last.dq).max() < _REST_RADPS and last.deviation_rad < _REST_RADPS
        return self._rate.resting and bool(still)

    @property
    def braking(self) -> bool:
        """The joints take their quickest stop; no plan can be adopted before they rest."""
        return self._braking

    @property
    def ended(self) -> bool:
        return self.plan is not None and self.path_s >= self.plan.end_s - _AT_END_S

    @property
    def rate(self) -> float:
        """Path seconds per second, now."""
        return self._rate.rate

    @property
    def full_rate(self) -> float:
        """Path seconds per second in full motion."""
        return self._rate.full

    @property
    def command(self) -> JointCommand | None:
        return self._limiter.last

    @property
    def base_T_tcp(self) -> np.ndarray:
        """Commanded pose (4, 4). Needs `begin` first."""
        assert self._pose is not None, "begin first"
        return self._pose

    def stopping(self) -> StopPath | None:
        """What the arm should do if this command were the last that reaches it: go on for a moment, which bridges a
        command that is merely late, then every joint by its quickest stop. None at rest."""
        last = self._limiter.last
        if last is None or np.abs(last.dq).max() < _REST_RADPS:
            return None
        rate = self._rate.rate
        if self._braking or self._rate.change != 0.0 or last.deviation_rad > _ON_PATH_RAD or rate == 0.0:
            return self._limiter.stop_path(last, 0.0)
        assert self.plan is not None, "a plan and a command begin together"
        q, dq, ddq = self.plan.joints.sample(min(self.path_s + rate * _COAST_S, self.plan.end_s))
        return self._limiter.stop_path(JointCommand(q, dq * rate, ddq * rate * rate), _COAST_S)

    def advance(self, moving: bool) -> bool:
        """One control period towards full speed (moving) or rest. False when the limiter found no way on: it brakes.

        Needs `begin` first.
        """
        found, last = True, self._limiter.last
        assert last is not None, "begin first"
        if not moving and last.deviation_rad > _ON_PATH_RAD:
            self._braking = True
        if not self._braking:
            found = self._follow(moving)
            self._braking = not found
        if self._braking:
            self._brake()
        command = self._limiter.last
        assert command is not None
        self._pose = self._kinematics.fk(command.q)
        return found

    def _follow(self, moving: bool) -> bool:
        assert self.plan is not None, "begin first"
        if self.ended:
            self._rate.reset()
        else:
            self.path_s = min(self.path_s + self._rate.advance(moving), self.plan.end_s)
        q, dq, ddq = self.plan.joints.sample(self.path_s)
        rate, change = self._rate.rate, self._rate.change
        return self._limiter.follow(q, dq * rate, ddq * rate * rate + dq * change) is not None

    def _brake(self) -> None:
        self._rate.reset()
        command = self._limiter.brake()
        if np.abs(command.dq).max() < _REST_RADPS and np.abs(command.ddq).max() < _REST_RADPS:
            assert self.plan is not None, "begin first"
            openness = self.plan.poses.openness_at(self.path_s).item()
            self.plan = self._planner.rest(command.q, openness, self.path_s)
            self._limiter.reset(command.q)
            self._braking = False

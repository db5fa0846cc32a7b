"""An arm that trails its commands and a policy that heads straight for a goal, for benchmarks and tests.

Neither knows the controller; together with it they make a closed loop whose ground truth is known.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np

from ..control import FR3_HOME_Q, Controller, ControlOutput, Kinematics
from ..geometry.se3 import so3_exp, so3_log
from ..types import ActionChunk, RobotState

START_NS = 1_700_000_000_000_000_000


class TrailingArm:
    """Joints that follow their command after delay_s through a first-order lag of lag_s; 0 switches either off."""

    def __init__(self, q: np.ndarray = FR3_HOME_Q, lag_s: float = 0.08, delay_s: float = 0.02,
                 period_s: float = 0.01) -> None:
        self.q, self.dq = np.array(q, float), np.zeros(7)
        self.width_m = 0.08
        self.blocked = False
        self._lag_s, self._period_s = lag_s, period_s
        self._waiting: deque[np.ndarray] = deque([self.q] * round(delay_s / period_s))

    def step(self, q_command: np.ndarray | None, width_m: float | None = None) -> None:
        """One period; None: no command arrived, the last one stays."""
        self._waiting.append(self._waiting[-1] if q_command is None and self._waiting else
                             self.q if q_command is None else q_command)
        target = self._waiting.popleft()
        before = self.q
        if not self.blocked:
            share = 1.0 if self._lag_s == 0.0 else 1.0 - np.exp(-self._period_s / self._lag_s)
            self.q = self.q + share * (target - self.q)
        self.dq = (self.q - before) / self._period_s
        self.width_m = self.width_m if width_m is None else width_m

    def state(self, stamp_ns: int) -> RobotState:
        return RobotState(self.q.copy(), self.dq.copy(), self.width_m, stamp_ns)


@dataclass
class StraightLinePolicy:
    """Targets at most step_m (and step_rad) apart on the way to `goal`, then dwelling there; index 0 is the pose
    it saw. noise_m: sd of a smooth error a chunk makes (grows along the chunk, zero at index 0), reported in its
    covariance. With committed poses the chunk continues those instead of the observed pose."""

    goal: np.ndarray
    n_steps: int = 9
    dt_s: float = 0.4
    step_m: float = 0.06
    step_rad: float = 0.2
    noise_m: float = 0.0
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))

    def chunk(self, base_T_tcp: np.ndarray, openness: float, stamp_ns: int,
              committed: ActionChunk | None = None) -> ActionChunk:
        given = base_T_tcp[None] if committed is None else np.concatenate([base_T_tcp[None], committed.base_T_tcps[1:]])
        given = given[: self.n_steps]
        poses = np.repeat(given[-1:], self.n_steps, axis=0)
        poses[: len(given)] = given
        for k in range(len(given), self.n_steps):
            poses[k] = self._towards_goal(poses[k - 1])
        free = np.arange(self.n_steps) - (len(given) - 1)
        growth = np.clip(free / max(self.n_steps - len(given), 1), 0.0, 1.0) ** 0.5
        poses[:, :3, 3] += growth[:, None] * self.rng.normal(size=3) * self.noise_m
        covariance = np.zeros((self.n_steps, 6, 6))
        covariance[:, (0, 1, 2), (0, 1, 2)] = (growth[:, None] * self.noise_m) ** 2
        return ActionChunk(poses, np.full(self.n_steps, openness), covariance, np.zeros(self.n_steps),
                           np.ones(self.n_steps, bool), stamp_ns=stamp_ns, dt_s=self.dt_s)

    def _towards_goal(self, pose: np.ndarray) -> np.ndarray:
        way = self.goal[:3, 3] - pose[:3, 3]
        turn = so3_log(self.goal[:3, :3] @ pose[:3, :3].T)
        steps = max(np.linalg.norm(way) / self.step_m, np.linalg.norm(turn) / self.step_rad, 1.0)
        out = pose.copy()
        out[:3, :3] = so3_exp(turn / steps) @ pose[:3, :3]
        out[:3, 3] += way / steps
        return out


@dataclass
class ClosedLoop:
    """Controller, arm and time; every period joint states and fresh frames arrive and the arm takes one command.

    Switch `frames` or `states` off to make them stale. `log` has one entry a period.
    """

    controller: Controller
    kinematics: Kinematics
    arm: TrailingArm
    period_s: float = 0.01
    now_s: float = 1000.0
    frames: bool = True
    states: bool = True
    ros_offset_ns: int = START_NS
    log: list[ControlOutput] = field(default_factory=list)
    measured: list[np.ndarray] = field(default_factory=list)

    @property
    def now_ns(self) -> int:
        return self.ros_offset_ns + round(1e9 * self.now_s)

    @property
    def base_T_tcp(self) -> np.ndarray:
        return self.kinematics.fk(self.arm.q)

    def period(self) -> ControlOutput:
        """Let one control period pass."""
        self.now_s += self.period_s
        if self.states:
            self.controller.on_robot_state(self.arm.state(self.now_ns), self.now_s)
        if self.frames:
            self.controller.on_frames_fresh(self.now_s)
        output = self.controller.tick(self.now_ns, self.now_s)
        self.arm.step(output.q_command, output.gripper_width_m)
        self.log.append(output)
        self.measured.append(self.arm.q.copy())
        return output

    def run(self, seconds: float) -> ControlOutput:
        """Let time pass; returns the last output."""
        for _ in range(round(seconds / self.period_s)):
            output = self.period()
        return output

    def commands(self) -> np.ndarray:
        """(N, 7) commanded joints; where nothing was commanded, the last command (at first: the arm's start)."""
        last, rows = self.measured[0], []
        for output in self.log:
            last = last if output.q_command is None else output.q_command
            rows.append(last)
        return np.array(rows)

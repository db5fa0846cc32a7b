"""From a placed chunk to a motion that is checked as a whole before any of it moves the arm."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..geometry.se3 import interpolate
from .chunk_queue import ChunkRefused, Refusal
from .config import ControllerConfig
from .ik import IkSolver
from .kinematics import Kinematics
from .trajectory import JointPath, PosePath
from .workspace import Workspace

_KNOTS_A_STEP = 3
_RETIME_ROUNDS = 6
_MAX_STRETCH = 50.0


@dataclass(frozen=True, eq=False)
class Plan:
    """One motion: the poses, the joints that reach them, and its smallest distance to the workspace's borders."""

    poses: PosePath
    joints: JointPath
    clearance_m: float

    @property
    def end_s(self) -> float:
        return self.joints.end_s


class Planner:
    """Merges, solves, times and checks; keeps no state between calls."""

    def __init__(self, config: ControllerConfig, kinematics: Kinematics, workspace: Workspace) -> None:
        self._config = config
        self._kinematics = kinematics
        self._workspace = workspace
        self._ik = IkSolver(kinematics, config.ik)
        self._limits = kinematics.limits.scaled(config.limits)

    def rest(self, q: np.ndarray, openness: float, at_s: float = 0.0) -> Plan:
        """Stay at q (7,)."""
        pose = self._kinematics.fk(q)
        return Plan(PosePath.hold(pose, openness, at_s), JointPath.rest(q, at_s), float(self._workspace.distance(pose)[0]))

    def replace_tail(self, current: Plan, newer: PosePath, now_s: float) -> Plan:
        """The motion from now_s (path time) on: out of `current` and, within the blend time, into `newer`.

        Joins `current` in position, velocity and acceleration. ChunkRefused when any of it would leave
        the workspace, cannot be reached, or cannot be slowed down enough.
        """
        merged = self._merge(current.poses, newer, now_s)
        violation = self._workspace.violation(merged.base_T_tcps[1:])
        if violation:
            raise ChunkRefused(Refusal.OUTSIDE_WORKSPACE, violation)
        speed = self._config.speed_factor
        merged, _ = merged.retimed(self._config.max_linear_mps / speed, self._config.max_angular_radps / speed)
        q0, dq0, ddq0 = current.joints.sample(now_s)
        seeds = np.stack([current.joints.sample(t)[0] for t in merged.times_s])
        found = self._ik.solve_path(merged.base_T_tcps[1:], seeds[1:], merged.times_s[1:] - now_s)
        if found.why:
            raise ChunkRefused(Refusal.UNREACHABLE, found.why)
        q = np.concatenate([q0[None], found.q])
        joints, merged = self._timed(q, dq0, ddq0, merged)
        return self._checked(joints, merged)

    def _merge(self, old: PosePath, new: PosePath, now_s: float) -> PosePath:
        """Knots of the merged path: weights go from the old chunk to the new one, faster where the new is surer."""
        times, rests = _knot_times(new, now_s)
        blend = self._config.chunks.blend_s * self._config.speed_factor
        u = np.clip((times - now_s) / blend, 0.0, 1.0)
        ramp = u * u * u * (10.0 + u * (6.0 * u - 15.0))
        drift = self._config.chunks.drift_mps
        old_variance = old.sigma_at(times) ** 2 + (drift * np.maximum(times - old.observed_s, 0.0)) ** 2
        new_variance = new.sigma_at(times) ** 2 + (drift * np.maximum(times - new.observed_s, 0.0)) ** 2
        trust = np.clip(old_variance / np.maximum(old_variance + new_variance, 1e-12), 0.2, 0.8)
        weight = ramp * trust / (ramp * trust + (1.0 - ramp) * (1.0 - trust))
        poses = interpolate(old.sample(times), new.sample(times), weight)
        openness = np.array([new.openness_at(t) for t in times])
        sigma = np.sqrt((1.0 - weight) * old_variance + weight * new_variance)
        return PosePath(rests, poses, openness, sigma, new.observed_s, new.interpolation)

    def _timed(self, q: np.ndarray, dq0: np.ndarray, ddq0: np.ndarray, poses: PosePath) -> tuple[JointPath, PosePath]:
        """Joint path through q (N, 7), segments stretched until velocity and acceleration are inside the limits
        with enough left to brake and to change speed at any time."""
        speed, c = self._config.speed_factor, self._config
        gaps, first = np.diff(poses.times_s), np.diff(poses.times_s)
        brake = speed / (c.brake_s * (1.0 - c.jerk_share))
        for _ in range(_RETIME_ROUNDS):
            times = poses.times_s[0] + np.concatenate([[0.0], np.cumsum(gaps)])
            joints = JointPath.through(times, q, dq0, ddq0)
            qs, dqs, ddqs = joints.inside()
            low, high = self._limits.velocity_bounds(qs)
            velocity = dqs * speed
            over_v = np.maximum(velocity / np.maximum(high, 1e-6), velocity / np.minimum(low, -1e-6)).max(axis=(1, 2))
            acceleration = np.abs(ddqs) * speed**2 + np.abs(dqs) * brake
            over_a = np.sqrt((acceleration / self._limits.ddq_max).max(axis=(1, 2)))
            stretch = np.maximum(np.maximum(over_v, over_a), 1.0)
            if stretch.max() <= 1.0 + 1e-3:
                return joints, poses.with_gaps(gaps)
            gaps = gaps * _spread(1.0 + 1.1 * (stretch - 1.0))
            if np.any(gaps > _MAX_STRETCH * first):
                break
        if stretch.max() > 1.1:
            raise ChunkRefused(Refusal.TOO_FAST, f"a joint would need {stretch.max():.2f} times its limit even when slowed down "
                               "(near a singularity)")
        return joints, poses.with_gaps(gaps)

    def _checked(self, joints: JointPath, poses: PosePath) -> Plan:
        """The plan, once the motion between the knots is known to be inside the joints' ranges and the workspace."""
        between = joints.inside(2)[0][:, 1:].reshape(-1, 7)
        margin = self._kinematics.limits.margin(between)
        if margin.min() < 0.0:
            raise ChunkRefused(Refusal.UNREACHABLE, f"joint {int(margin.min(axis=0).argmin()) + 1} would leave its range")
        reached = self._kinematics.fk(between)
        violation = self._workspace.violation(reached)
        if violation:
            raise ChunkRefused(Refusal.OUTSIDE_WORKSPACE, violation)
        return Plan(poses, joints, float(self._workspace.distance(reached).min()))


def _knot_times(new: PosePath, now_s: float) -> tuple[np.ndarray, np.ndarray]:
    """Path times at which to sample the paths, evenly, and the times at which these knots will be played.

    They differ in the last step only, which is played in twice its time: from its speed to rest with
    constant deceleration.
    """
    end = new.end_s
    step = (end - new.times_s[0]) / max(len(new.times_s) - 1, 1)
    count = max(2, int(np.ceil((end - now_s) / step * _KNOTS_A_STEP)))
    sampled = np.linspace(now_s, end, count + 1)
    braking = max(now_s, end - step)
    left = np.maximum(end - sampled, 0.0) / max(end - braking, 1e-9)
    played = np.where(left < 1.0, braking + 2.0 * (end - braking) * (1.0 - np.sqrt(np.minimum(left, 1.0))), sampled)
    return sampled, played


def _spread(stretch: np.ndarray) -> np.ndarray:
    """Stretch factors that fall off over the neighbouring segments: spline derivatives depend on them too."""
    wide = stretch.copy()
    wide[1:] = np.maximum(wide[1:], 1.0 + 0.5 * (stretch[:-1] - 1.0))
    wide[:-1] = np.maximum(wide[:-1], 1.0 + 0.5 * (stretch[1:] - 1.0))
    return wide

"""From a placed chunk to a motion that is checked as a whole before any of it moves the arm."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..geometry.se3 import make
from .chunk_queue import ChunkRefused, Refusal
from .config import ControllerConfig
from .ik import IkSolver
from .kinematics import Kinematics
from .rotation import interpolate, pose_distance
from .trajectory import JointPath, PosePath
from .workspace import Workspace

_KNOTS_A_STEP = 3
_RETIME_ROUNDS = 6
_MAX_STRETCH = 50.0
_ALMOST_ONE = 1.01
_TOLERATED_EXCESS = 1.3
_ROTATION_LEVER_M = 0.2
_PEAK_OF_BLEND = 5.77


@dataclass(frozen=True, eq=False)
class Plan:
    """One motion: the poses, the joints that reach them, its smallest distance to the workspace's borders (the tool's),
    and that of the rest of the arm to table and keep-out boxes."""

    poses: PosePath
    joints: JointPath
    clearance_m: float
    arm_clearance_m: float

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
        self._braking_s = config.brake_s * (1.0 - config.jerk_share)

    def rest(self, q: np.ndarray, openness: float, at_s: float = 0.0) -> Plan:
        """Stay at q (7,)."""
        pose = self._kinematics.fk(q)
        clearance = float(self._workspace.distance(pose)[0])
        arm_clearance = self._workspace.arm_clearance(self._kinematics.joint_origins(q[None]))[0]
        return Plan(PosePath.hold(pose, openness, at_s), JointPath.rest(q, at_s), clearance, arm_clearance)

    def fastest(self, plan: Plan, now_s: float, least: float, most: float) -> float:
        """The highest speed from `least` to `most` at which a plan that continues this one from now_s (path time) can
        begin inside the limits, with the reserve to brake."""
        q, dq, ddq = plan.joints.sample(now_s)
        a, b, reach = np.abs(ddq), np.abs(dq) / self._braking_s, self._limits.ddq_max
        by_acceleration = 2.0 * reach / np.maximum(b + np.sqrt(b * b + 4.0 * a * reach), 1e-9)
        low, high = self._limits.velocity_bounds(q)
        by_velocity = np.where(dq > 0.0, high, -low) / np.maximum(np.abs(dq), 1e-9)
        twist = self._kinematics.jacobian(q) @ dq
        linear, angular = (max(float(np.linalg.norm(part)), 1e-9) for part in (twist[:3], twist[3:]))
        most = min(most, self._config.max_linear_mps / linear, self._config.max_angular_radps / angular)
        return max(least, min(most, float(by_velocity.min()), float(by_acceleration.min())))

    def replace_tail(self, current: Plan, newer: PosePath, now_s: float, resting: bool,
                     speed: float | None = None) -> Plan:
        """The motion from now_s (path time) on: out of `current` and, within the blend time, into `newer`; timed to be
        played at `speed` (None: the configured one) or slower.

        Joins `current` in position, velocity and acceleration; from rest (resting) the newer chunk alone
        says how to go on. ChunkRefused when any of it would leave the workspace, cannot be reached, or
        cannot be slowed down enough.
        """
        speed = speed or self._config.speed_factor
        merged = self._merge(current.poses, newer, now_s, resting, speed)
        violation = self._workspace.violation(merged.base_T_tcps[1:])
        if violation:
            raise ChunkRefused(Refusal.OUTSIDE_WORKSPACE, violation)
        merged, _ = merged.retimed(self._config.max_linear_mps / speed, self._config.max_angular_radps / speed)
        q0, dq0, ddq0 = current.joints.sample(now_s)
        seeds = current.joints.positions(merged.times_s[1:])
        found = self._ik.solve_path(merged.base_T_tcps[1:], seeds, merged.times_s[1:] - now_s)
        if found.why:
            raise ChunkRefused(Refusal.UNREACHABLE, found.why)
        q = np.concatenate([q0[None], found.q])
        joints, merged = self._timed(q, None if resting else dq0, None if resting else ddq0, merged, speed)
        return self._checked(joints, merged)

    def _merge(self, old: PosePath, new: PosePath, now_s: float, resting: bool, speed: float) -> PosePath:
        """Knots of the merged path: weights go from the old chunk to the new one, faster where the new is surer."""
        times, played = _knot_times(new, now_s)
        new_poses, rules = new.sample(times), self._config.chunks
        old_poses = _from_where(new_poses, old.sample(times[:1])[0]) if resting else old.sample(times)
        u = np.minimum((times - now_s) / (self._blend_s(old_poses[0], new_poses[0]) * speed), 1.0)
        ramp = u * u * u * (10.0 + u * (6.0 * u - 15.0))
        old_variance = old.sigma_at(times) ** 2 + (rules.drift_mps * np.maximum(times - old.observed_s, 0.0)) ** 2
        new_variance = new.sigma_at(times) ** 2 + (rules.drift_mps * np.maximum(times - new.observed_s, 0.0)) ** 2
        trust = np.clip(old_variance / np.maximum(old_variance + new_variance, 1e-12), 0.2, 0.8)
        weight = ramp * trust / (ramp * trust + (1.0 - ramp) * (1.0 - trust))
        sigma = np.sqrt((1.0 - weight) * old_variance + weight * new_variance)
        poses = interpolate(old_poses, new_poses, weight)
        return PosePath(played, poses, new.openness_at(times), sigma, new.observed_s)

    def _blend_s(self, old: np.ndarray, new: np.ndarray) -> float:
        """Time to go from one pose to another with the blend's peak acceleration inside blend_mps2."""
        metres, radians = pose_distance(old, new)
        gap = float(metres[0] + _ROTATION_LEVER_M * radians[0])
        return max(self._config.chunks.blend_s, float(np.sqrt(_PEAK_OF_BLEND * gap / self._config.chunks.blend_mps2)))

    def _timed(self, q: np.ndarray, dq0: np.ndarray | None, ddq0: np.ndarray | None,
               poses: PosePath, speed: float) -> tuple[JointPath, PosePath]:
        """Joint path through q (N, 7), segments stretched until velocity and acceleration are inside the limits
        with enough left to brake and to change speed at any time."""
        gaps = first = np.diff(poses.times_s)
        for _ in range(_RETIME_ROUNDS):
            joints = JointPath.through(poses.times_s[0] + np.concatenate([[0.0], np.cumsum(gaps)]), q, dq0, ddq0)
            stretch, excess = self._demand(joints, speed)
            if stretch.max() <= _ALMOST_ONE:
                break
            wider = np.minimum(gaps * _spread(1.0 + 1.1 * (stretch - 1.0)), _MAX_STRETCH * first)
            if np.array_equal(wider, gaps):
                break
            gaps = wider
        else:
            joints = JointPath.through(poses.times_s[0] + np.concatenate([[0.0], np.cumsum(gaps)]), q, dq0, ddq0)
            stretch, excess = self._demand(joints, speed)
        if excess > _TOLERATED_EXCESS:
            raise ChunkRefused(Refusal.TOO_FAST, f"a joint would need {excess:.2f} times what it may, however slowly "
                               "the chunk is played (near a singularity, or a turn on the spot)")
        return joints, poses.with_gaps(gaps)

    def _demand(self, joints: JointPath, speed: float) -> tuple[np.ndarray, float]:
        """How much longer each segment (N - 1,) should be, and the worst ratio to a limit without reserves."""
        q, dq, ddq = joints.inside()
        low, high = self._limits.velocity_bounds(q)
        velocity = (dq * speed / np.where(dq > 0.0, np.maximum(high, 1e-6), np.minimum(low, -1e-6))).max(axis=(1, 2))
        turning = np.abs(ddq) * speed**2
        braking = np.abs(dq) * speed / self._braking_s
        with_reserve = ((turning + braking) / self._limits.ddq_max).max(axis=(1, 2))
        excess = max(float(velocity.max()), float((turning / self._limits.ddq_max).max()))
        return np.maximum(np.maximum(velocity, np.sqrt(with_reserve)), 1.0), excess

    def _checked(self, joints: JointPath, poses: PosePath) -> Plan:
        """The plan, once the motion between the knots is known to be inside the joints' ranges and the workspace."""
        between = joints.inside(2)[0][:, 1:].reshape(-1, 7)
        margin = self._kinematics.limits.margin(between)
        if margin.min() < 0.0:
            worst = int(margin.min(axis=0).argmin()) + 1
            raise ChunkRefused(Refusal.UNREACHABLE, f"joint {worst} would leave its range")
        violation, clearance_m = self._workspace.path_violation(self._kinematics.fk(between))
        origins = self._kinematics.joint_origins(between)
        violation = violation or self._workspace.arm_violation(origins)
        if violation:
            raise ChunkRefused(Refusal.OUTSIDE_WORKSPACE, violation)
        return Plan(poses, joints, clearance_m, self._workspace.arm_clearance(origins)[0])


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


def _from_where(poses: np.ndarray, start: np.ndarray) -> np.ndarray:
    """The poses (N, 4, 4), shifted and turned as a whole so that the first is `start`."""
    turn = start[:3, :3] @ poses[0, :3, :3].T
    return make(turn @ poses[:, :3, :3], poses[:, :3, 3] + start[:3, 3] - poses[0, :3, 3])


def _spread(stretch: np.ndarray) -> np.ndarray:
    """Stretch factors that fall off over the neighbouring segments: spline derivatives depend on them too."""
    wide = stretch.copy()
    wide[1:] = np.maximum(wide[1:], 1.0 + 0.5 * (stretch[:-1] - 1.0))
    wide[:-1] = np.maximum(wide[:-1], 1.0 + 0.5 * (stretch[1:] - 1.0))
    return wide

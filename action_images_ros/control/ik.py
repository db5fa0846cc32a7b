"""Inverse kinematics of a whole path at once: damped least squares, inside the joint limits.

All poses of a path are solved together, each from its own seed (where the arm was going to be at
that time), so a chunk costs little more than one pose. Damping follows the error
(Levenberg-Marquardt with the residual as damping, Sugihara 2011): a step near a singularity stays
bounded, and a target out of reach ends at the closest pose instead of swinging the arm. What the
seventh joint leaves free is pulled gently towards a preferred posture (the elbow).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ..errors import ConfigError
from .kinematics import FR3_HOME_Q, Kinematics
from .rotation import rotation_vectors

_LENGTH_M = 0.3
_MAX_STEP_RAD = 0.5


@dataclass(frozen=True)
class IkConfig:
    """position_tolerance_m, rotation_tolerance_rad: what counts as reached. limit_margin_rad: joints
    stay this far inside their range. posture_q (7,) rad: the configuration the free elbow prefers;
    posture_rate: how fast it may drift there, rad per second along the path. max_joint_step_rad:
    larger differences between neighbouring poses count as unreachable (a singularity or a flip)."""

    position_tolerance_m: float = 1e-4
    rotation_tolerance_rad: float = 5e-4
    limit_margin_rad: float = 0.05
    max_iterations: int = 30
    max_joint_step_rad: float = 0.6
    posture_rate: float = 0.05
    posture_q: tuple[float, ...] = field(default=tuple(float(v) for v in FR3_HOME_Q))

    def __post_init__(self) -> None:
        if len(self.posture_q) != 7:
            raise ConfigError(f"posture_q has {len(self.posture_q)} joints; expected 7")
        for name in ("position_tolerance_m", "rotation_tolerance_rad", "max_joint_step_rad", "max_iterations"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must be positive")


@dataclass(frozen=True)
class IkSolution:
    """q (N, 7) rad nearest to the N targets; reached (N,) where both errors are inside the tolerances.

    position_error_m, rotation_error_rad (N,): what is left. why: "" when the whole path can be
    followed, otherwise the first reason it cannot, naming the pose.
    """

    q: np.ndarray
    reached: np.ndarray
    position_error_m: np.ndarray
    rotation_error_rad: np.ndarray
    why: str


def _pose_errors(current: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(N, 6) translation and rotation vector, base frame, from current (N, 4, 4) to target; lengths (N,), (N,)."""
    R = target[:, :3, :3] @ np.swapaxes(current[:, :3, :3], 1, 2)
    error = np.concatenate([target[:, :3, 3] - current[:, :3, 3], rotation_vectors(R)], 1)
    square = error * error
    return error, np.sqrt(square[:, :3].sum(1)), np.sqrt(square[:, 3:].sum(1))


class IkSolver:
    """Solves poses of one arm; keeps no state between calls."""

    def __init__(self, kinematics: Kinematics, config: IkConfig = IkConfig()) -> None:
        self._kinematics = kinematics
        self._config = config
        self._low = kinematics.limits.q_min + config.limit_margin_rad
        self._high = kinematics.limits.q_max - config.limit_margin_rad
        self._posture = np.array(config.posture_q)
        self._weight = np.array([1.0, 1.0, 1.0, _LENGTH_M, _LENGTH_M, _LENGTH_M])

    def solve(self, targets: np.ndarray, seeds: np.ndarray, elapsed_s: np.ndarray | None = None) -> IkSolution:
        """Joints for base_T_tcp targets (N, 4, 4), each from its seed (N, 7) rad.

        elapsed_s (N,): time along the path since its start; bounds the drift towards the posture
        (None: no drift). The N targets are independent; `why` tells of the first that is not reached.
        """
        c = self._config
        q = np.minimum(np.maximum(seeds, self._low), self._high)
        drifts = elapsed_s is not None
        best_q, best = q, np.full(len(q), np.inf)
        for iteration in range(c.max_iterations + 1):
            poses, jacobians = self._kinematics.fk_jacobian(q)
            error, position, rotation = _pose_errors(poses, targets)
            score = position + _LENGTH_M * rotation
            best_q = np.where((score < best)[:, None], q, best_q)
            best = np.minimum(score, best)
            if (self._reached(position, rotation).all() and not drifts) or iteration == c.max_iterations:
                break
            pull = self._pull(q, elapsed_s) if drifts and elapsed_s is not None else None
            if drifts:
                drifts, best = False, np.full(len(q), np.inf)
            q = self._step(q, error * self._weight, jacobians * self._weight[:, None], pull)
        if not self._reached(position, rotation).all():
            q = best_q
            _, position, rotation = _pose_errors(self._kinematics.fk(q), targets)
        reached = self._reached(position, rotation)
        return IkSolution(q, reached, position, rotation, self._why(q, reached, position, rotation))

    def _reached(self, position: np.ndarray, rotation: np.ndarray) -> np.ndarray:
        return (position < self._config.position_tolerance_m) & (rotation < self._config.rotation_tolerance_rad)

    def solve_path(self, targets: np.ndarray, seeds: np.ndarray, elapsed_s: np.ndarray) -> IkSolution:
        """As `solve` for consecutive poses of one path, with its joints checked for jumps too."""
        found = self.solve(targets, seeds, elapsed_s)
        if found.why:
            return found
        jumps = np.abs(np.diff(found.q, axis=0)).max(axis=1, initial=0.0)
        if jumps.max(initial=0.0) <= self._config.max_joint_step_rad:
            return found
        k = int(jumps.argmax())
        return IkSolution(found.q, found.reached, found.position_error_m, found.rotation_error_rad,
                          f"a joint would jump by {jumps[k]:.2f} rad between poses {k} and {k + 1} of the path "
                          "(near a singularity)")

    def _why(self, q: np.ndarray, reached: np.ndarray, position: np.ndarray, rotation: np.ndarray) -> str:
        if reached.all():
            return ""
        k = int(np.argmin(reached))
        at_limit = np.flatnonzero((q[k] <= self._low + 1e-6) | (q[k] >= self._high - 1e-6)) + 1
        limit = f", joint {', '.join(map(str, at_limit))} at its limit" if len(at_limit) else ""
        return (f"pose {k} of the path is out of reach: the arm ends {1e3 * position[k]:.1f} mm and "
                f"{np.degrees(rotation[k]):.1f} deg short{limit}")

    def _pull(self, q: np.ndarray, elapsed_s: np.ndarray) -> np.ndarray:
        wish = self._posture - q
        size = np.abs(wish).max(axis=1)
        allowed = np.minimum(self._config.posture_rate * elapsed_s, 0.1 * size)
        return wish * (allowed / np.maximum(size, 1e-9))[:, None]

    def _step(self, q: np.ndarray, error: np.ndarray, jacobians: np.ndarray, pull: np.ndarray | None) -> np.ndarray:
        """One damped step of every row; joints that would leave their range are locked, the others take over."""
        damping = (0.5 * (error * error).sum(1) + 1e-6)[:, None, None] * np.eye(6)
        free = np.ones(q.shape, bool)
        fixed_step = np.zeros(q.shape)
        for _ in range(7):
            J = jacobians * free[:, None, :]
            Jt = np.swapaxes(J, 1, 2)
            left = error - (jacobians @ fixed_step[:, :, None])[:, :, 0]
            if pull is not None:
                left = left - (J @ pull[:, :, None])[:, :, 0]
            step = (Jt @ np.linalg.solve(J @ Jt + damping, left[:, :, None]))[:, :, 0]
            if pull is not None:
                step = step + pull * free
            step = np.minimum(np.maximum(step, -_MAX_STEP_RAD), _MAX_STEP_RAD) + fixed_step
            wanted = q + step
            out = free & ((wanted < self._low) | (wanted > self._high))
            if not out.any():
                return wanted
            fixed_step = np.where(out, np.where(wanted < self._low, self._low, self._high) - q, fixed_step)
            free &= ~out
        return np.minimum(np.maximum(wanted, self._low), self._high)

"""What the steps of a chunk say about each other. Poses are judged by it, never smoothed."""

from __future__ import annotations

import numpy as np

from ..geometry.se3 import angle_between, interpolate

_REACH = 3  # steps to either side
_AGREE = 0.5  # of what is credible
_JUMP = 3.0  # times what is credible, beyond the motion of the steps around


def deviation(poses: np.ndarray, others: np.ndarray, max_position_m: np.ndarray | float,
              max_rotation_rad: np.ndarray | float) -> np.ndarray:
    """How far poses (..., 4, 4) are from others, 1 = as far as is credible."""
    position = np.linalg.norm(poses[..., :3, 3] - others[..., :3, 3], axis=-1) / max_position_m
    return np.maximum(position, angle_between(poses[..., :3, :3], others[..., :3, :3]) / max_rotation_rad)


def neighbours(trusted: np.ndarray, i: int) -> tuple[int, int] | None:
    """The trusted steps nearest before and after step i, if both are close; at an end, the two nearest."""
    before = [k for k in range(i - 1, max(i - _REACH, 0) - 1, -1) if trusted[k]]
    after = [k for k in range(i + 1, min(i + _REACH, len(trusted) - 1) + 1) if trusted[k]]
    if before and after:
        return before[0], after[0]
    side = before or after
    return (side[1], side[0]) if len(side) > 1 else None


def agrees(poses: np.ndarray, candidate: np.ndarray, i: int, trusted: np.ndarray, limits: tuple[float, float]) -> bool:
    """Whether `candidate` (4, 4) for step i lies between its trusted neighbours, to within what is credible."""
    pair = neighbours(trusted, i)
    if pair is None or not pair[0] < i < pair[1]:
        return False
    a, b = pair
    expected = interpolate(poses[a], poses[b], np.array((i - a) / (b - a)))
    return bool(deviation(candidate, expected, *limits) < _AGREE)


def jumps(poses: np.ndarray, trusted: np.ndarray, max_position_m: np.ndarray,
          max_rotation_rad: np.ndarray) -> np.ndarray:
    """Trusted steps (T,) bool that leave the path of their neighbours, poses (T, 4, 4), by far more than these move."""
    out = np.zeros(len(poses), bool)
    found = [(i, *pair) for i in np.flatnonzero(trusted).tolist() if (pair := neighbours(trusted, i)) is not None]
    if not found:
        return out
    i, a, b = np.array(found).T
    limits = max_position_m[i], max_rotation_rad[i]
    inside = (a < i) & (i < b)
    expected = interpolate(poses[a], poses[b], np.where(inside, (i - a) / (b - a), 1.0))
    motion = deviation(poses[a], poses[b], *limits) * np.where(inside, 1.0, 1.0 + _REACH)
    out[i] = deviation(poses[i], expected, *limits) > _JUMP + motion
    return out

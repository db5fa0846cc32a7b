"""Experts for tasks that change the world: which stage is on is read off the present state, never remembered.

A chunk looks ahead with a simple picture of what the hand does to things (a cube between closed fingers goes along, a
drawer gives way); the simulator decides what really happens, and the next chunk starts from that.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..errors import SimError
from ..geometry.se3 import angle_between, interpolate, make
from ..types import ActionChunk
from .layout import hand_down

CLEARED_M = 0.006


@dataclass(frozen=True)
class Aim:
    """What to do now: a straight line to this pose with this opening commanded; last: nothing comes after it."""

    base_T_tcp: np.ndarray
    openness: float
    last: bool = False


@dataclass(frozen=True)
class Moment:
    """Pose (4, 4) and opening of the hand, states (O, 8) of the things as of `SimCell.thing_states`."""

    base_T_tcp: np.ndarray
    openness: float
    things: np.ndarray

    @property
    def tcp(self) -> np.ndarray:
        return self.base_T_tcp[:3, 3]


@dataclass(frozen=True)
class StagedExpert:
    """Subclasses say what to aim at now (`aim`) and what that does to gripper and things (`after`).

    target: index among the things; goal_base_T_tcp: of the scene's start. A step ends at an aim that it would pass.
    """

    things: np.ndarray
    target: int
    max_step_m: float = 0.06
    max_step_rad: float = 0.5

    @property
    def goal_base_T_tcp(self) -> np.ndarray:
        raise NotImplementedError

    def aim(self, now: Moment) -> Aim:
        raise NotImplementedError

    def after(self, now: Moment, base_T_tcp: np.ndarray, aim: Aim) -> Moment:
        """What has become of everything when the hand has moved there."""
        return Moment(base_T_tcp, aim.openness, now.things)

    def seeing(self, things: np.ndarray) -> StagedExpert:
        return replace(self, things=np.asarray(things, float))

    def possible(self, base_T_tcp: np.ndarray, openness: float) -> bool:
        return True

    def arrived(self, base_T_tcp: np.ndarray, openness: float) -> bool:
        aim = self.aim(Moment(base_T_tcp, openness, self.things))
        return aim.last and float(np.linalg.norm(aim.base_T_tcp[:3, 3] - base_T_tcp[:3, 3])) < 0.01

    def chunk(self, base_T_tcp: np.ndarray, openness: float, n_steps: int, dt_s: float) -> ActionChunk:
        """n_steps >= 1 targets dt_s apart; index 0 is the current pose and opening, later openings are commands."""
        if n_steps < 1:
            raise SimError(f"n_steps is {n_steps}; a chunk has at least 1 step")
        now = Moment(np.asarray(base_T_tcp, float), float(openness), self.things)
        poses, grips = [now.base_T_tcp], [now.openness]
        for _ in range(n_steps - 1):
            aim = self.aim(now)
            now = self.after(now, self._towards(now.base_T_tcp, aim.base_T_tcp), aim)
            poses.append(now.base_T_tcp)
            grips.append(aim.openness)
        return ActionChunk.from_poses(np.stack(poses), np.array(grips), 0, dt_s)

    def _towards(self, start: np.ndarray, end: np.ndarray) -> np.ndarray:
        distance = float(np.linalg.norm(end[:3, 3] - start[:3, 3]))
        angle = float(angle_between(start[:3, :3], end[:3, :3]))
        steps = max(distance / self.max_step_m, angle / self.max_step_rad, 1.0)
        return interpolate(start, end, np.array(1.0 / steps))


def over(now: Moment, place: np.ndarray, yaw_rad: float, clear_z_m: float, openness: float) -> Aim:
    """Towards `place` (3,) above the things: straight up first where the hand is lower than clear_z_m."""
    if now.tcp[2] < clear_z_m - CLEARED_M:
        up = np.array([now.tcp[0], now.tcp[1], max(clear_z_m, place[2])])
        return Aim(make(now.base_T_tcp[:3, :3], up), openness)
    return Aim(make(hand_down(yaw_rad), place), openness)


def yaw_of(quaternion_xyzw: np.ndarray) -> float:
    """Turn about the vertical (rad) of a body that stands upright."""
    x, y, z, w = quaternion_xyzw
    return float(np.arctan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z)))

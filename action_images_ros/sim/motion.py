"""Moving the simulated arm along TCP targets: inverse kinematics, joint interpolation, physics."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..geometry.se3 import interpolate
from .cell import MAX_GRIPPER_WIDTH_M, SimCell

CONTROL_DT_S = 0.02
Observe = Callable[[SimCell], bool]


class TcpMover:
    """Follows TCP poses through IK seeded with its own last joint target, so that it never hops between solutions."""

    def __init__(self, cell: SimCell):
        self._cell = cell
        self._q = cell.q

    def move(self, start: np.ndarray, end: np.ndarray, openness: float, duration_s: float,
             observe: Observe = lambda cell: True) -> bool:
        """Interpolate from pose to pose (4, 4) in 20 ms ticks of physics.

        A tick whose pose the arm cannot reach holds the last joint target. Returns False as soon as
        `observe`, called after every tick, does.
        """
        ticks = max(1, round(duration_s / CONTROL_DT_S))
        self._cell.set_gripper_target(openness * MAX_GRIPPER_WIDTH_M)
        for k in range(1, ticks + 1):
            q = self._cell.kinematics.ik(interpolate(start, end, np.array(k / ticks)), self._q, iterations=20)
            if q is not None:
                self._q = q
                self._cell.set_joint_target(q)
            self._cell.step(duration_s / ticks)
            if not observe(self._cell):
                return False
        return True

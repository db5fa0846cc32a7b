"""Moving the simulated arm along TCP targets: inverse kinematics, joint interpolation, physics."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..geometry.se3 import angle_between, interpolate
from .cell import MAX_GRIPPER_WIDTH_M, SimCell

CONTROL_DT_S = 0.02
MAX_SPEED_M_S = 0.4
MAX_TURN_RAD_S = 2.0
Tick = Callable[[SimCell], bool]


class TcpMover:
    """Drives the servos along straight TCP segments from where it commanded last, never faster than the two limits.

    IK is seeded with the last joint target, so it does not hop between solutions.
    """

    def __init__(self, cell: SimCell):
        self._cell = cell
        self._q = cell.q
        self._commanded = cell.base_T_tcp
        self.unreachable_ticks = 0

    @property
    def commanded(self) -> np.ndarray:
        """The TCP pose (4, 4) that the servos were told last."""
        return self._commanded

    def move(self, base_T_tcp: np.ndarray, openness: float, duration_s: float, tick: Tick = lambda cell: True) -> bool:
        """Move to a pose (4, 4) in duration_s of simulation, or longer where that would exceed a limit.

        A tick whose pose the arm cannot reach holds the last joint target and is counted. `tick` is
        called after every 20 ms; False from it ends the motion, and is returned.
        """
        start = self._commanded
        distance = float(np.linalg.norm(base_T_tcp[:3, 3] - start[:3, 3]))
        angle = float(angle_between(start[:3, :3], base_T_tcp[:3, :3]))
        seconds = max(duration_s, distance / MAX_SPEED_M_S, angle / MAX_TURN_RAD_S)
        ticks = max(1, int(np.ceil(seconds / CONTROL_DT_S - 1e-9)))
        self._cell.set_gripper_target(openness * MAX_GRIPPER_WIDTH_M)
        for k in range(1, ticks + 1):
            pose = interpolate(start, base_T_tcp, np.array(k / ticks))
            q = self._cell.kinematics.ik(pose, self._q, iterations=20)
            if q is None:
                self.unreachable_ticks += 1
            else:
                self._q, self._commanded = q, pose
                self._cell.set_joint_target(q)
            self._cell.step(CONTROL_DT_S)
            if not tick(self._cell):
                return False
        return True

    def hold(self, duration_s: float, tick: Tick = lambda cell: True) -> bool:
        """Let time pass with the last command; ends like `move`."""
        for _ in range(max(1, round(duration_s / CONTROL_DT_S))):
            self._cell.step(CONTROL_DT_S)
            if not tick(self._cell):
                return False
        return True

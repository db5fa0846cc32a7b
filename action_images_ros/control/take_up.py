"""Before its first command the controller must know where the arm really is: found, not remembered."""

from __future__ import annotations

import numpy as np

from ..types import RobotState

STANDING_RADPS = 0.05
MOVED_RAD = 0.02


class TakeUp:
    """The time in which nothing is commanded and the arm is wherever its joint states say: from `begin` to `end`.

    Somebody else may move the arm in that time (an operator's hand, another controller, a simulator's reset, or the
    arm itself on its way to rest after commands ceased); commands then begin where it was found at last.
    """

    def __init__(self) -> None:
        self.active = False
        self._found: RobotState | None = None

    def begin(self) -> None:
        """Nothing seen before counts any more."""
        self.active, self._found = True, None

    def end(self) -> None:
        self.active = False

    def note(self, state: RobotState) -> None:
        self._found = state

    @property
    def q(self) -> np.ndarray | None:
        """Where the arm is, (7,) rad; None while no joint states have come since `begin`."""
        return None if self._found is None else self._found.q

    def hindrance(self, observed_ns: int) -> str:
        """Why commands cannot begin with something observed at this stamp; "" when they can."""
        if self._found is None:
            return "no joint states have come since control began; the next chunk will do"
        speed = float(np.abs(self._found.dq).max())
        if speed > STANDING_RADPS:
            return f"the arm is moving ({speed:.2f} rad/s) without being told to; let it come to rest"
        if self._found.stamp_ns < observed_ns:
            return (f"the newest joint states are {1e-9 * (observed_ns - self._found.stamp_ns):.3f} s older than the "
                    "observation; if that stays, synchronise the clocks of arm and cameras")
        return ""

"""What the arm says about itself, and what a person does about it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np


class Mode(Enum):
    """libfranka's RobotMode."""

    OTHER = "other"
    IDLE = "idle"
    MOVE = "move"
    GUIDING = "guiding"
    REFLEX = "reflex"
    USER_STOPPED = "user_stopped"
    AUTOMATIC_ERROR_RECOVERY = "automatic_error_recovery"


READY = frozenset({Mode.IDLE, Mode.MOVE})
"""Modes in which the arm can be commanded."""

_REMEDIES = {
    Mode.OTHER: "unlock the joints and activate FCI in Desk",
    Mode.GUIDING: "let go of the guiding buttons at the hand",
    Mode.REFLEX: "see what it hit or what it was told, make sure that it may move",
    Mode.USER_STOPPED: "release the E-stop or the external activation device",
    Mode.AUTOMATIC_ERROR_RECOVERY: "wait until its own recovery has ended",
}


@dataclass(frozen=True, eq=False)
class ArmState:
    """One state of the arm.

    q, dq: measured joints (7,), rad and rad/s. q_d: the set point inside the arm, rad. robot_time_s: the arm's own
    clock. errors: names as libfranka spells them. success_rate: of the last 100 control packets, 0 out of motion.
    """

    q: np.ndarray
    dq: np.ndarray
    q_d: np.ndarray
    robot_time_s: float
    mode: Mode
    errors: tuple[str, ...]
    success_rate: float

    @property
    def ready(self) -> bool:
        return self.mode in READY and not self.errors

    def trouble(self) -> str:
        """Mode and errors of an arm that cannot be commanded; "" of one that can."""
        if self.ready:
            return ""
        named = f" ({', '.join(self.errors)})" if self.errors else ""
        return f"mode {self.mode.value}{named}"


def remedy(state: ArmState) -> str:
    """What a person has to do before the arm can be commanded; "" where nothing."""
    if state.ready:
        return ""
    return _REMEDIES.get(state.mode, "clear the errors")

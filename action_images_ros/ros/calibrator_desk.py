"""The person at a cell that is calibrated, as a program: guides the arm, has poses taken, lets the node drive."""

from __future__ import annotations

import json

import numpy as np
from std_msgs.msg import String

from ..cell import Arm
from ..errors import CalibrationError, TransportError
from . import qos
from .drive import ArmDrive
from .operator import Answer, Operator

_START_S, _POSE_S = 60.0, 60.0
_GUIDE_RADPS = 1.0
_TRIES = 4


class CalibratorDesk:
    """Of a running calibrator in mode propose. Methods raise TransportError where it refuses or does not answer."""

    def __init__(self, operator: Operator) -> None:
        self._operator, self._status = operator, dict[str, object]()
        operator.node.create_subscription(
            String, "calibrator/status", lambda m: self._status.update(json.loads(m.data)), qos.LATCHED
        )
        operator.until(lambda: bool(self._status), "the calibrator to be ready", _START_S)
        self._drive = ArmDrive(operator, Arm())

    def guide(self, q: np.ndarray) -> None:
        """Bring the arm to joints (7,) and have the pose taken."""
        self._drive.go_to(q, _GUIDE_RADPS)
        answers: list[Answer] = []

        def answered() -> bool:
            answers.append(self._operator.trigger("calibrator/capture"))
            return "has not rested" not in answers[-1].message

        self._operator.until(answered, "pictures of the arm at rest", _POSE_S)
        _require(answers[-1])

    def let_drive(self, poses: int) -> None:
        """Until the calibration is solved; enabled again where the node stopped, as it does when the arm trails its
        commands. Raises CalibrationError where it stops too often."""
        for _ in range(_TRIES):
            self._status["note"] = ""
            _require(self._operator.switch("calibrator/enable", True))
            self._operator.until(lambda: bool(self._status["solved"]) or "stopped" in str(self._status["note"]),
                                 "the end of the driven poses", poses * _POSE_S)  # fmt: skip
            if self._status["solved"]:
                return
        raise CalibrationError(f"the calibrator stopped {_TRIES} times: {self._status['note']}")

    def save(self) -> None:
        _require(self._operator.trigger("calibrator/save"))


def _require(answer: Answer) -> None:
    if not answer.ok:
        raise TransportError(answer.message)

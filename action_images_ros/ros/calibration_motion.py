"""Driving the arm from pose to pose of a calibration: one slow motion at a time, braked when anything is wrong.

Its thread alone publishes commands, and only while a motion is under way.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import numpy as np

from ..control import Kinematics, StopPath
from ..types import RobotState
from . import commands, qos
from .loop import DeadlineLoop
from .slow_motion import SlowMotion

_RATE_HZ = 50.0
_LEAD_PERIODS = 3.0
_STALE_S = 0.3
_FAR_RAD = 0.15


class CalibrationMotion:
    """newest: the arm's newest state and the monotonic time at which it came, or None. on_fault(text): the motion was
    braked and given up, and `enabled` is off."""

    def __init__(
        self,
        node,
        interface: str,
        names: commands.Names,
        kinematics: Kinematics,
        speed_rad_s: float,
        newest: Callable[[], tuple[RobotState, float] | None],
        on_fault: Callable[[str], object],
    ):
        self._node, self._arm, self._names, self._kinematics = node, commands.ARM[interface], names, kinematics
        self._speed, self._newest, self._on_fault = speed_rad_s, newest, on_fault
        self._publisher = node.create_publisher(self._arm.message, self._arm.topic, qos.COMMAND)
        self._motion: SlowMotion | None = None
        self._lock = threading.Lock()
        self._last_s = 0.0
        self.enabled = False
        self._loop = DeadlineLoop("motion", 1.0 / _RATE_HZ, self._tick, node.fail)
        self._loop.start()

    @property
    def busy(self) -> bool:
        return self._motion is not None

    def go(self, goal: np.ndarray) -> None:
        """From where the arm is to goal (7,) rad. Needs `enabled`; a motion under way is not interrupted."""
        found = self._newest()
        with self._lock:
            if self._motion is None and self.enabled and found is not None:
                self._motion = SlowMotion(found[0].q, goal, self._speed)

    def give_up(self) -> None:
        """Brake; the motion is not taken up again."""
        self.enabled = False

    def stop(self) -> None:
        """Brake, then end the thread."""
        self.give_up()
        end_s = time.monotonic() + 1.0
        while self.busy and time.monotonic() < end_s:
            time.sleep(0.02)
        self._loop.stop()

    def _tick(self, now_s: float) -> None:
        dt_s, self._last_s = min(now_s - self._last_s, 2.0 / _RATE_HZ), now_s
        with self._lock:
            motion = self._motion
            if motion is None:
                return
            q, dq = motion.advance(dt_s, self.enabled)
            fault = self._fault(q, now_s) if self.enabled else ""
            if fault:
                self.enabled = False
            stop = None if motion.at_rest else StopPath(*motion.stop_path())
            if motion.done or (motion.at_rest and not self.enabled):
                self._motion = None
        lead_s = _LEAD_PERIODS / _RATE_HZ
        command = commands.ArmCommand(q, dq, self._kinematics.fk(q), self._node.now_ns(), lead_s, stop)
        self._publisher.publish(self._arm.make(command, self._names))
        if fault:
            self._on_fault(fault)

    def _fault(self, q: np.ndarray, now_s: float) -> str:
        found = self._newest()
        if found is None or now_s - found[1] > _STALE_S:
            return f"no joint states for {_STALE_S:g} s while driving; stopped"
        off = np.abs(found[0].q - q)
        if off.max() > _FAR_RAD:
            return f"joint {int(off.argmax()) + 1} is {off.max():.2f} rad from its command; stopped"
        return ""

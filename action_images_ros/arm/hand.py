"""The Franka Hand in a thread of its own: nobody ever waits for it.

A command runs to its end, which the hand tells; then the newest width that was asked for meanwhile has its turn.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..errors import ConfigError
from .franky_client import client, one_line, within

_PERIOD_S = 0.04
_SAME_M = 5e-4


@dataclass(frozen=True)
class HandConfig:
    """speed_mps of both fingers together; force_n of a grasp. Widths below grasp_below_m are grasps: close on
    whatever is there and keep pressing."""

    speed_mps: float = 0.1
    force_n: float = 20.0
    grasp_below_m: float = 0.01
    max_width_m: float = 0.08

    def __post_init__(self) -> None:
        for name, high in (("speed_mps", 0.2), ("force_n", 70.0), ("grasp_below_m", 0.08), ("max_width_m", 0.1)):
            if not 0 < getattr(self, name) <= high:
                raise ConfigError(f"{name} is {getattr(self, name)}; legal: more than 0, at most {high}")


class Hand:
    """Connects on construction: raises ArmError within timeout_s where that fails. `move` returns at once.

    on_trouble(text): called from the hand's thread when a command fails or the connection is lost.
    """

    def __init__(
        self,
        address: str,
        timeout_s: float,
        config: HandConfig = HandConfig(),
        on_trouble: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._config, self._on_trouble = config, on_trouble
        self._gripper = within(timeout_s, lambda: client().Gripper(address), f"gripper at {address}")
        self._state = within(timeout_s, lambda: self._gripper.state, f"gripper at {address}")
        self._wanted: float | None = None
        self._asked: float | None = None
        self._busy: Any = None  # what the client returns for a motion under way
        self._wake, self._end = threading.Event(), threading.Event()
        self.trouble, self.commands, self.lost = "", 0, False
        self._thread = threading.Thread(target=self._run, name="hand", daemon=True)
        self._thread.start()

    @property
    def width_m(self) -> float:
        """Measured total opening."""
        return float(self._state.width)

    @property
    def grasped(self) -> bool:
        return bool(self._state.is_grasped)

    @property
    def moving(self) -> bool:
        return self._busy is not None

    def move(self, width_m: float) -> None:
        """Ask for a total opening (m), clipped to what the hand has."""
        self._wanted = min(max(width_m, 0.0), self._config.max_width_m)
        self._wake.set()

    def close(self, timeout_s: float = 2.0) -> None:
        """Let go of the connection; the fingers stay as they are."""
        self._end.set()
        self._wake.set()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while not self._end.is_set():
            try:
                self._round()
            except Exception as error:  # noqa: BLE001 - the client's own errors share no base class
                self.lost = True
                self._fail(f"connection lost ({one_line(error)}); franka_arm/reset connects again")
                return
            self._wake.wait(_PERIOD_S)
            self._wake.clear()

    def _round(self) -> None:
        if self._busy is not None and self._busy.wait(0.0):
            self._finish()
        wanted = self._wanted
        if self._busy is None and wanted is not None and (self._asked is None or abs(wanted - self._asked) > _SAME_M):
            self._begin(wanted)
        self._state = self._gripper.state

    def _begin(self, width_m: float) -> None:
        c, self._asked = self._config, width_m
        self.commands += 1
        if width_m < c.grasp_below_m:
            self._busy = self._gripper.grasp_async(0.0, c.speed_mps, c.force_n, c.max_width_m, c.max_width_m)
        else:
            self._busy = self._gripper.move_async(width_m, c.speed_mps)

    def _finish(self) -> None:
        busy, self._busy = self._busy, None
        try:
            busy.get()
            self.trouble = ""
        except Exception as error:  # noqa: BLE001 - the client's own errors share no base class
            self._fail(one_line(error))

    def _fail(self, text: str) -> None:
        self.trouble = text
        self._on_trouble(text)

"""When the gripper is told to move: hysteresis, a minimum dwell, and only on change."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..errors import ConfigError


@dataclass(frozen=True)
class GripperConfig:
    """open_above, close_below: openness in [0, 1] that switches; between them nothing changes.
    min_dwell_s: shortest time between two commands (the Franka Hand needs about a second to move).
    open_width_m, closed_width_m: the two total openings."""

    open_above: float = 0.6
    close_below: float = 0.4
    min_dwell_s: float = 0.6
    open_width_m: float = 0.08
    closed_width_m: float = 0.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.close_below < self.open_above <= 1.0:
            raise ConfigError(f"gripper thresholds close_below {self.close_below} and open_above {self.open_above} "
                              "must satisfy 0 <= close_below < open_above <= 1")
        if not 0.0 <= self.closed_width_m < self.open_width_m:
            raise ConfigError(f"gripper widths: closed {self.closed_width_m} must be at least 0 and below open "
                              f"{self.open_width_m}")
        if self.min_dwell_s < 0.0:
            raise ConfigError(f"min_dwell_s is {self.min_dwell_s}; it cannot be negative")


class GripperLogic:
    """Two states, open and closed; starts as the hand is. While its width is unknown, the first clear wish counts."""

    def __init__(self, config: GripperConfig = GripperConfig()) -> None:
        self._config = config
        self._open: bool | None = None
        self._since_s = -float("inf")

    @property
    def openness(self) -> float | None:
        """1.0 open, 0.0 closed, None while unknown."""
        return None if self._open is None else float(self._open)

    def follow(self, width_m: float) -> None:
        """Take the hand's own state as the commanded one (when control begins); NaN: it does not tell."""
        c = self._config
        self._open = None if math.isnan(width_m) else width_m > 0.5 * (c.open_width_m + c.closed_width_m)
        self._since_s = -float("inf")

    def update(self, openness: float, now_s: float) -> float | None:
        """Width (m) to command now, or None: nothing changed, or the last command is too recent."""
        c = self._config
        if now_s - self._since_s < c.min_dwell_s:
            return None
        wanted = self._open
        if openness > c.open_above:
            wanted = True
        elif openness < c.close_below:
            wanted = False
        if wanted == self._open:
            return None
        self._open, self._since_s = wanted, now_s
        return c.open_width_m if wanted else c.closed_width_m

"""Only frames that are new get past: never one a second time, never an old one, and it counts what is missing."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from ..errors import ConfigError

_FUTURE_NS = 50_000_000


class Gated(str, Enum):
    """passed, or why not: repeated (a frame that was there before), late (not newer than the last, or older than
    max_age_s), future (stamped later than now)."""

    PASSED = "passed"
    REPEATED = "repeated"
    LATE = "late"
    FUTURE = "future"


@dataclass
class FrameGate:
    """counts: frames by outcome; lost: numbers that never came. `begin` before the frames of every connection."""

    max_age_s: float

    def __post_init__(self) -> None:
        if self.max_age_s <= 0:
            raise ConfigError(f"max_age_s is {self.max_age_s}; it must be positive")
        self.counts = dict.fromkeys(Gated, 0)
        self.lost = 0
        self._last_stamp_ns = -1
        self.begin()

    def begin(self) -> None:
        """A new connection: the device counts anew. Stamps go on: nothing older than before the break gets past."""
        self._last_number: int | None = None
        self._last_device_ns: int | None = None

    def admit(self, number: int, device_ns: int, stamp_ns: int, now_ns: int) -> Gated:
        outcome = self._judge(number, device_ns, stamp_ns, now_ns)
        self.counts[outcome] += 1
        if outcome is not Gated.REPEATED and (self._last_number is None or number > self._last_number):
            if self._last_number is not None:
                self.lost += number - self._last_number - 1
            self._last_number, self._last_device_ns = number, device_ns
        if outcome is Gated.PASSED:
            self._last_stamp_ns = stamp_ns
        return outcome

    def _judge(self, number: int, device_ns: int, stamp_ns: int, now_ns: int) -> Gated:
        if self._last_number is not None and self._last_device_ns is not None:
            if number == self._last_number or device_ns == self._last_device_ns:
                return Gated.REPEATED
            if number < self._last_number or device_ns < self._last_device_ns:
                return Gated.LATE
        if stamp_ns > now_ns + _FUTURE_NS:
            return Gated.FUTURE
        if stamp_ns <= self._last_stamp_ns or now_ns - stamp_ns > 1e9 * self.max_age_s:
            return Gated.LATE
        return Gated.PASSED

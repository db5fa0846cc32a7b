"""Whose turn it is while the arm rests: the node takes the pose, waits to be asked, or drives to the next one."""

from __future__ import annotations

from enum import Enum

_TRIES = 3


class Capture(Enum):
    """When poses are taken."""

    WHEN_STILL = "when_still"
    ON_REQUEST = "on_request"


class Turn(Enum):
    WAIT = "wait"
    TAKE = "take"
    GO_ON = "go on"


class Turns:
    """wanted: poses to take. A rest is known by when it began."""

    def __init__(self, capture: Capture, wanted: int):
        self._capture, self._wanted = capture, wanted
        self._tried_ns: int | None = None
        self._failures = 0

    def begin(self) -> None:
        """Earlier failures no longer count."""
        self._failures = 0

    def at(self, rest_ns: int | None) -> Turn:
        """rest_ns: of the present rest, None while the arm moves. Nothing goes on from a rest without a try there."""
        if rest_ns is None:
            return Turn.WAIT
        if rest_ns == self._tried_ns:
            return Turn.GO_ON
        return Turn.TAKE if self._capture is Capture.WHEN_STILL else Turn.WAIT

    def tried(self, rest_ns: int | None, accepted: bool) -> None:
        self._tried_ns = rest_ns
        self._failures = 0 if accepted else self._failures + 1

    def in_vain(self, taken: int) -> bool:
        """Whether too many tries told nothing new; taken: poses kept."""
        return self._failures >= self._wanted or taken + self._failures >= _TRIES * self._wanted

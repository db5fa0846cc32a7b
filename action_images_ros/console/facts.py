"""What the console remembers of the graph."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from ..types import ActionChunk

HISTORY = 20
_EVENTS = 60
_TRAIL = 400


@dataclass(frozen=True)
class Status:
    """One status of /diagnostics. level: 0 ok, 1 warning, 2 error, 3 stale; at_ns: when it arrived."""

    name: str
    level: int
    message: str
    hardware_id: str
    values: Mapping[str, str]
    at_ns: int


@dataclass(frozen=True)
class Speed:
    """Of the policy's motion, 1 = its own. settable: whether the controller lets it be changed while it runs."""

    value: float | None = None
    settable: bool = False
    minimum: float = 0.01
    maximum: float = 1.0


@dataclass(frozen=True)
class Event:
    """A line of the page's log. kind: info, warn, error."""

    at_ns: int
    kind: str
    text: str


@dataclass(frozen=True)
class Halt:
    """Why the controller held or was in fault (`state`), what to do about it, and when that was last so."""

    state: str
    why: str
    remedy: str
    at_ns: int


@dataclass
class Facts:
    """What the graph said last. source: who moves the arm."""

    statuses: dict[str, Status] = field(default_factory=dict)
    instruction: str = ""
    instructions: deque[str] = field(default_factory=lambda: deque(maxlen=HISTORY))
    events: deque[Event] = field(default_factory=lambda: deque(maxlen=_EVENTS))
    chunk: ActionChunk | None = None
    trail: deque[tuple[float, float, float]] = field(default_factory=lambda: deque(maxlen=_TRAIL))
    controller: str = ""
    last_halt: Halt | None = None
    source: str = ""
    verdict: dict = field(default_factory=dict)
    recorder: dict = field(default_factory=dict)
    offers: tuple[str, ...] = ()
    speed: Speed = Speed()
    joints: tuple[float, ...] = ()
    width_m: float | None = None

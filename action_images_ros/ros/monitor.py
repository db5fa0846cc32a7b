"""Rates, jitter and latencies by the monotonic clock, and their way to /diagnostics."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np

from .qos import DIAGNOSTICS


class Level(IntEnum):
    """As in diagnostic_msgs/DiagnosticStatus."""

    OK = 0
    WARN = 1
    ERROR = 2
    STALE = 3


@dataclass(frozen=True)
class Spread:
    """Distribution of the values in a window; all zero before the first."""

    count: int = 0
    last: float = 0.0
    mean: float = 0.0
    p50: float = 0.0
    p95: float = 0.0
    p99: float = 0.0
    max: float = 0.0


class Window:
    """The last `size` values, safe to add and read from different threads."""

    def __init__(self, size: int = 1000) -> None:
        self._values: deque[float] = deque(maxlen=size)
        self._count = 0

    def add(self, value: float) -> None:
        self._values.append(value)
        self._count += 1

    def values(self) -> tuple[float, ...]:
        return tuple(self._values)

    def clear(self) -> None:
        self._values.clear()
        self._count = 0

    def spread(self) -> Spread:
        values = np.array(self.values())
        if not len(values):
            return Spread()
        p50, p95, p99 = np.percentile(values, (50, 95, 99))
        return Spread(
            self._count,
            float(values[-1]),
            float(values.mean()),
            float(p50),
            float(p95),
            float(p99),
            float(values.max()),
        )


class RateMonitor:
    """How regularly something happens. Times are monotonic seconds given by the caller."""

    def __init__(self, size: int = 1000) -> None:
        self._periods = Window(size)
        self._last_s: float | None = None

    def tick(self, now_s: float) -> None:
        if self._last_s is not None:
            self._periods.add(now_s - self._last_s)
        self._last_s = now_s

    def age_s(self, now_s: float) -> float:
        """Since the last tick; infinite before the first."""
        return float("inf") if self._last_s is None else now_s - self._last_s

    def periods(self) -> Spread:
        return self._periods.spread()

    @property
    def rate_hz(self) -> float:
        mean = self._periods.spread().mean
        return 1.0 / mean if mean > 0 else 0.0


@dataclass(frozen=True)
class Report:
    """One status of /diagnostics: name below the node's, level, one sentence, key-value pairs.

    Keys of numbers end in their unit (`_ms`, `_hz`, ...); counts have none. limits: what is legal, by key of `values`,
    sent as `<key>_limit`. remedy: what a person does where the level is not OK. device: serial or name of what the
    status is about; "": the node.
    """

    name: str
    level: Level
    message: str
    values: Mapping[str, object]
    limits: dict[str, str] = field(default_factory=dict)
    remedy: str = ""
    device: str = ""

    def pairs(self) -> list[tuple[str, str]]:
        """Keys and texts in the order in which they are shown: remedy first, every limit behind its value."""
        out = [("remedy", self.remedy)] if self.remedy and self.level != Level.OK else []
        for key, value in self.values.items():
            out.append((key, _text(value)))
            if key in self.limits:
                out.append((f"{key}_limit", self.limits[key]))
        return out


def not_active(name: str) -> Report:
    """What a lifecycle node reports until it is active."""
    return Report(name, Level.STALE, "not active", {}, remedy="activate it: ros2 lifecycle set, or autostart:=true")


class Diagnostics:
    """Publishes what `sources` report, once a period, on /diagnostics.

    hardware_id: of a status that names no device. A source gives one report or several and is called in the node's
    executor.
    """

    def __init__(self, node, hardware_id: str, period_s: float = 1.0) -> None:
        from diagnostic_msgs.msg import DiagnosticArray

        self._node, self._id, self._array = node, hardware_id, DiagnosticArray
        self._sources: list[Callable[[], Report | Iterable[Report]]] = []
        self._lock = threading.Lock()
        self._publisher = node.create_publisher(DiagnosticArray, "/diagnostics", DIAGNOSTICS)
        self._timer = node.create_timer(period_s, self.publish)

    def add(self, source: Callable[[], Report | Iterable[Report]]) -> None:
        self._sources.append(source)

    def publish(self) -> None:
        from diagnostic_msgs.msg import DiagnosticStatus, KeyValue

        msg = self._array()
        msg.header.stamp = self._node.get_clock().now().to_msg()
        for source in self._sources:
            found = source()
            for report in (found,) if isinstance(found, Report) else found:
                msg.status.append(
                    DiagnosticStatus(
                        level=bytes([int(report.level)]),
                        name=f"{self._node.get_name()}: {report.name}",
                        message=" ".join(report.message.split()),
                        hardware_id=report.device or self._id,
                        values=[KeyValue(key=k, value=v) for k, v in report.pairs()],
                    )
                )
        with self._lock:
            self._publisher.publish(msg)


def _text(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def milliseconds(prefix: str, spread: Spread) -> dict[str, float]:
    """Key-value pairs of a spread in seconds, in ms."""
    return {f"{prefix}_{k}_ms": 1e3 * getattr(spread, k) for k in ("p50", "p99", "max")}

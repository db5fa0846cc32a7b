"""What is wrong with a stream, while it is still being recorded: rate, gaps, age, lost and repeated messages. Pure."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

_WINDOW = 200
_NS = 1e9
_REGULAR = 8


@dataclass(frozen=True)
class AuditRules:
    """When to complain. silent_s: without a message; age_s: of a stamp at arrival; gap_periods: a period so many times
    the median, and of gap_s at least, is a gap."""

    silent_s: float = 1.0
    age_s: float = 0.5
    gap_periods: float = 2.5
    gap_s: float = 0.02


@dataclass(frozen=True)
class TopicReport:
    """Since the recording began. rate_hz over the last 200 messages; jitter_ms: standard deviation of those periods
    without the gaps; age_s of the stamp at arrival, newest; lost: by the publisher's numbers; overflow: not written
    for lack of time; repeated: same stamp as the one before."""

    topic: str
    messages: int
    bytes: int
    rate_hz: float
    jitter_ms: float
    gaps: int
    largest_gap_s: float
    age_s: float
    largest_age_s: float
    lost: int
    overflow: int
    repeated: int


class TopicAudit:
    """Of one topic. Times are ROS time in ns. stamped: its messages begin with a header."""

    def __init__(self, topic: str, stamped: bool, rules: AuditRules = AuditRules()) -> None:
        self.topic, self._stamped, self._rules = topic, stamped, rules
        self._periods: deque[int] = deque(maxlen=_WINDOW)
        self._arrivals: deque[int] = deque(maxlen=_WINDOW + 1)
        self._last_ns: int | None = None
        self._last_stamp_ns = 0
        self._sequences: dict[object, int] = {}
        self.restart()

    def restart(self) -> None:
        """A new recording: counts begin at zero, what is known of the stream's rhythm stays."""
        self.messages = self.bytes = self.gaps = self.lost = self.overflow = self.repeated = 0
        self._largest_gap_ns = 0
        self._age_ns = self._largest_age_ns = 0
        self._told: dict[str, int] = {}

    def add(self, receive_ns: int, stamp_ns: int, size: int, publisher: object, sequence: int | None) -> None:
        """sequence: the publisher's number of the message, None where it is not known."""
        self.messages += 1
        self.bytes += size
        self._note_period(receive_ns)
        if self._stamped and stamp_ns > 0:
            self._age_ns = receive_ns - stamp_ns
            self._largest_age_ns = max(self._largest_age_ns, self._age_ns)
            self.repeated += stamp_ns == self._last_stamp_ns
            self._last_stamp_ns = stamp_ns
        if sequence is not None:
            before = self._sequences.get(publisher)
            if before is not None and sequence > before + 1:
                self.lost += sequence - before - 1
            self._sequences[publisher] = sequence

    def _note_period(self, receive_ns: int) -> None:
        self._arrivals.append(receive_ns)
        if self._last_ns is not None:
            period = receive_ns - self._last_ns
            if len(self._periods) >= _REGULAR and self._is_gap(period):
                self.gaps += 1
                self._largest_gap_ns = max(self._largest_gap_ns, period)
            else:
                self._periods.append(period)
        self._last_ns = receive_ns

    def _is_gap(self, period_ns: int) -> bool:
        median = self._median_ns()
        return period_ns > self._rules.gap_periods * median and period_ns - median > self._rules.gap_s * _NS

    def _median_ns(self) -> float:
        return float(np.median(self._periods)) if self._periods else 0.0

    def report(self) -> TopicReport:
        periods, arrivals = np.array(self._periods, float), self._arrivals
        span_ns = arrivals[-1] - arrivals[0] if arrivals else 0
        return TopicReport(
            self.topic,
            self.messages,
            self.bytes,
            (len(arrivals) - 1) * _NS / span_ns if span_ns > 0 else 0.0,
            float(periods.std() / 1e6) if len(periods) else 0.0,
            self.gaps,
            self._largest_gap_ns / _NS,
            self._age_ns / _NS,
            self._largest_age_ns / _NS,
            self.lost,
            self.overflow,
            self.repeated,
        )

    def complaint(self, now_ns: int, required: bool) -> str:
        """ "" while the stream is as it should be. required: a stream that must not be silent."""
        if self._last_ns is None:
            return f"{self.topic}: nothing has come yet" if required else ""
        silent_s = (now_ns - self._last_ns) / _NS
        regular = len(self._periods) >= _REGULAR
        limit_s = max(self._rules.silent_s, 5 * self._median_ns() / _NS if regular else 0.0)
        if required and silent_s > limit_s:
            return f"{self.topic}: silent for {silent_s:.1f} s"
        if required and self._stamped and self._age_ns > self._rules.age_s * _NS:
            return f"{self.topic}: stamps are {self._age_ns / _NS:.2f} s old at arrival (clock offset or a slow link)"
        if required and self._stamped and self._age_ns < -self._rules.age_s * _NS:
            return f"{self.topic}: stamps are {-self._age_ns / _NS:.2f} s in the future; synchronise the clocks"
        return ""

    def news(self) -> str:
        """What has got worse since the last call, in words; "" where nothing has."""
        counts = {"lost on the way": self.lost, "not written, the disk is too slow": self.overflow}
        if self._stamped:
            counts["with the stamp of the one before (a stuck camera?)"] = self.repeated
        parts = [f"{n - self._told.get(k, 0)} messages {k}" for k, n in counts.items() if n > self._told.get(k, 0)]
        if self.gaps > self._told.get("gaps", 0) and self._largest_gap_ns / _NS > 0.2:
            parts.append(f"a gap of up to {self._largest_gap_ns / _NS:.2f} s")
        self._told = {**counts, "gaps": self.gaps}
        return f"{self.topic}: {', '.join(parts)}" if parts else ""

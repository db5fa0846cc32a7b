"""Matched sets of camera frames by exposure stamp. Pure: time comes in with every frame.

A set has one frame of every view, none more than max_skew_s apart, none older than max_age_s. The
newest complete set wins; sets are strictly newer than those before, view by view, and no frame is in two. A camera
that repeats itself, by stamp or by picture, is stuck: what it gives is not fresh.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ..errors import ConfigError, TransportError

_CAPACITY = 16
_FUTURE_NS = 50_000_000
_WINDOW = 64
_STUCK_AFTER = 3
_NS = 1_000_000_000


@dataclass(frozen=True)
class MatchedSet:
    """stamps_ns and payloads in the order of the views; skew_s from its oldest to its newest frame; age_s of its
    oldest."""

    stamps_ns: tuple[int, ...]
    payloads: tuple[Any, ...]
    skew_s: float
    age_s: float


@dataclass
class ViewStatistics:
    """Counts since the start: frames received; late (not newer than a set already given); repeated (same stamp as
    one before); from_future; frozen (the same picture for too long); unmatched (dropped without a partner); used.

    ages_s: of the last frames at arrival; lags_s: of the last used ones behind the earliest of their set.
    same_stamps, same_pictures: how many of the newest frames in a row had the stamp, the picture of the one before."""

    received: int = 0
    used: int = 0
    late: int = 0
    repeated: int = 0
    from_future: int = 0
    frozen: int = 0
    unmatched: int = 0
    last_stamp_ns: int | None = None
    same_stamps: int = 0
    same_pictures: int = 0
    fingerprint: int | None = None
    picture_since_ns: int = 0
    arrivals_ns: deque = field(default_factory=lambda: deque(maxlen=_WINDOW))
    ages_s: deque = field(default_factory=lambda: deque(maxlen=_WINDOW))
    lags_s: deque = field(default_factory=lambda: deque(maxlen=_WINDOW))

    @property
    def rate_hz(self) -> float:
        """Mean rate of arrival over the last frames; 0 before the second."""
        a = self.arrivals_ns
        return (len(a) - 1) * _NS / (a[-1] - a[0]) if len(a) > 1 and a[-1] > a[0] else 0.0

    @property
    def lag_s(self) -> float:
        """Mean time by which this view was exposed after the earliest of its set; nan before the first set."""
        return sum(self.lags_s) / len(self.lags_s) if self.lags_s else float("nan")

    @property
    def dropped(self) -> int:
        return self.received - self.used

    def saw(self, stamp_ns: int, fingerprint: int | None, now_ns: int) -> None:
        """Keep count of what repeats."""
        self.received += 1
        self.arrivals_ns.append(now_ns)
        self.ages_s.append((now_ns - stamp_ns) / _NS)
        self.same_stamps = self.same_stamps + 1 if stamp_ns == self.last_stamp_ns else 0
        if fingerprint is None or fingerprint != self.fingerprint:
            self.same_pictures, self.picture_since_ns = 0, now_ns
        elif not self.same_stamps:
            self.same_pictures += 1
        self.fingerprint = fingerprint


class Synchroniser:
    """views: names, order of the sets; max_same_picture_s: frames whose fingerprint has been the same for longer are
    not fresh; 0: they always are. Raises ConfigError for limits that are not positive. One thread owns it."""

    def __init__(
        self, views: Sequence[str], max_skew_s: float, max_age_s: float, max_same_picture_s: float = 0.0
    ) -> None:
        if not views or max_skew_s <= 0 or max_age_s <= 0:
            raise ConfigError(
                f"synchroniser needs views ({list(views)}), and max_skew_s ({max_skew_s}), max_age_s ({max_age_s}) > 0"
            )
        self.views = tuple(views)
        self._skew_ns, self._age_ns = round(max_skew_s * _NS), round(max_age_s * _NS)
        self._same_ns = round(max_same_picture_s * _NS)
        self._frames: dict[str, dict[int, Any]] = {v: {} for v in self.views}
        self._given_ns: dict[str, int] = dict.fromkeys(self.views, -1)
        self.statistics = {v: ViewStatistics() for v in self.views}
        self.sets, self._last_set_ns = 0, 0

    def add(
        self, view: str, stamp_ns: int, payload: Any, now_ns: int, fingerprint: int | None = None
    ) -> MatchedSet | None:
        """Take a frame that arrived at now_ns (same clock as stamps); the set it completes, if any. fingerprint: of its
        picture (`streams.fingerprint`), None where nobody looks at that.

        Raises TransportError for a view that is not one of `views`.
        """
        if view not in self._frames:
            raise TransportError(f"frame of view {view!r}; legal: {', '.join(self.views)}")
        if not self._admit(view, stamp_ns, now_ns, fingerprint):
            return None
        self._frames[view][stamp_ns] = payload
        found = self._newest_set(now_ns)
        if found is None:
            self._limit(view)
            return None
        return self._give(found, now_ns)

    def _admit(self, view: str, stamp_ns: int, now_ns: int, fingerprint: int | None) -> bool:
        s = self.statistics[view]
        s.saw(stamp_ns, fingerprint, now_ns)
        if stamp_ns in self._frames[view] or stamp_ns == s.last_stamp_ns:
            s.repeated += 1
            return False
        s.last_stamp_ns = stamp_ns
        if stamp_ns > now_ns + _FUTURE_NS:
            s.from_future += 1
            return False
        if stamp_ns <= self._given_ns[view] or now_ns - stamp_ns > self._age_ns:
            s.late += 1
            return False
        if self._frozen(s, now_ns):
            s.frozen += 1
            return False
        return True

    def _frozen(self, s: ViewStatistics, now_ns: int) -> bool:
        same_for_ns = now_ns - s.picture_since_ns
        return bool(self._same_ns) and s.same_pictures >= _STUCK_AFTER and same_for_ns > self._same_ns

    def _newest_set(self, now_ns: int) -> tuple[int, ...] | None:
        """Stamps of the set whose oldest frame is newest."""
        oldest_allowed = now_ns - self._age_ns
        anchors = sorted({t for frames in self._frames.values() for t in frames if t >= oldest_allowed}, reverse=True)
        for anchor in anchors:
            stamps = tuple(
                min((t for t in self._frames[v] if anchor <= t <= anchor + self._skew_ns), default=None)
                for v in self.views
            )
            found = tuple(t for t in stamps if t is not None)
            if len(found) == len(stamps):
                return found
        return None

    def _give(self, stamps: tuple[int, ...], now_ns: int) -> MatchedSet:
        payloads = tuple(self._frames[v][t] for v, t in zip(self.views, stamps))
        for view, stamp in zip(self.views, stamps):
            self._given_ns[view] = stamp
            passed = [t for t in self._frames[view] if t <= stamp]
            self.statistics[view].unmatched += len(passed) - 1
            self.statistics[view].used += 1
            self.statistics[view].lags_s.append((stamp - min(stamps)) / _NS)
            for t in passed:
                del self._frames[view][t]
        self.sets, self._last_set_ns = self.sets + 1, now_ns
        return MatchedSet(stamps, payloads, (max(stamps) - min(stamps)) / _NS, (now_ns - min(stamps)) / _NS)

    def _limit(self, view: str) -> None:
        frames = self._frames[view]
        while len(frames) > _CAPACITY:
            del frames[min(frames)]
            self.statistics[view].unmatched += 1

    def view_complaint(self, view: str, now_ns: int) -> str:
        """ "" while the frames of a view can be used; else why not."""
        s = self.statistics[view]
        if not s.received:
            return "no image yet"
        silent_s = (now_ns - s.arrivals_ns[-1]) / _NS
        if silent_s > self._age_ns / _NS:
            return f"no image for {silent_s:.1f} s"
        if s.same_stamps >= _STUCK_AFTER:
            return f"stuck: the last {s.same_stamps + 1} images have the same stamp"
        if self._frozen(s, s.arrivals_ns[-1]):
            return (
                f"stuck: the same picture to the last bit for {(s.arrivals_ns[-1] - s.picture_since_ns) / _NS:.1f} s "
                "(a frozen or covered camera; for a simulated one without noise: sync.max_same_picture_s: 0)"
            )
        age_s = sum(s.ages_s) / len(s.ages_s)
        if age_s > self._age_ns / _NS:
            return (
                f"images are {age_s:.2f} s old at arrival; legal: {self._age_ns / _NS} s (clock offset or a slow link)"
            )
        if -age_s > _FUTURE_NS / _NS:
            return f"images are stamped {-age_s:.2f} s in the future; synchronise the clocks"
        return ""

    def complaint(self, now_ns: int) -> str:
        """ "" while sets can form; else which view keeps them from forming, and why."""
        for view in self.views:
            if text := self.view_complaint(view, now_ns):
                return f"view {view}: {text}"
        if not self.sets or now_ns - self._last_set_ns > 2 * self._age_ns:
            return (
                f"no set of {', '.join(self.views)} within {self._skew_ns / _NS} s of each other{self._apart()}; "
                "synchronise the cameras or raise sync.max_skew_s"
            )
        return ""

    def _apart(self) -> str:
        """How far the newest frames of the first and the last view are apart, as text."""
        newest = {v: s.last_stamp_ns for v, s in self.statistics.items() if s.last_stamp_ns is not None}
        if len(newest) < 2:
            return ""
        first, last = min(newest, key=newest.__getitem__), max(newest, key=newest.__getitem__)
        return f": the newest of {last} is {(newest[last] - newest[first]) / _NS:.3f} s after that of {first}"

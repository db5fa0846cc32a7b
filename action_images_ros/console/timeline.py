"""What became of each chunk: observed, generated, decoded, then played from when to when, or refused. Pure."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

_KEEP = 200


class Verdict(Enum):
    """Of the controller. UNUSED: it was not enabled, so nobody waited for the chunk."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    UNUSED = "unused"


@dataclass(frozen=True)
class ChunkRecord:
    """One chunk by the time of its observation. All times ROS time, ns; None: not (yet). number: counts chunks.

    generated_ns, decoded_ns: when its action images and its targets arrived here. judged_ns: when the controller took
    or refused it (`verdict`, `reason`). n_steps, dt_s: its targets. played_until_ns: when the next one took over, or
    when the controller left off.
    """

    stamp_ns: int
    number: int = 0
    generated_ns: int | None = None
    decoded_ns: int | None = None
    judged_ns: int | None = None
    verdict: Verdict | None = None
    reason: str = ""
    n_steps: int = 0
    dt_s: float = 0.0
    played_until_ns: int | None = None

    @property
    def end_ns(self) -> int:
        """When its last target is due at the policy's own speed."""
        return self.stamp_ns + round(1e9 * self.dt_s * max(self.n_steps - 1, 0))

    @property
    def steps_passed(self) -> int:
        """Targets that were already due when the controller took the chunk: they are never executed."""
        if self.judged_ns is None or not self.dt_s:
            return 0
        return min(self.n_steps, max(0, int((self.judged_ns - self.stamp_ns) * 1e-9 / self.dt_s) + 1))


class Timeline:
    """The newest chunks, in order of observation. Not safe across threads: its owner locks."""

    def __init__(self) -> None:
        self._records: OrderedDict[int, ChunkRecord] = OrderedDict()
        self._playing: int | None = None
        self.accepted = self.refused = self._seen = 0

    def generated(self, stamp_ns: int, now_ns: int) -> None:
        self._change(stamp_ns, generated_ns=now_ns)

    def decoded(self, stamp_ns: int, now_ns: int, n_steps: int, dt_s: float) -> None:
        self._change(stamp_ns, decoded_ns=now_ns, n_steps=n_steps, dt_s=dt_s)

    def judged(self, stamp_ns: int, now_ns: int, verdict: Verdict, reason: str) -> None:
        """The controller's verdict at now_ns. An accepted chunk takes over from the one that was played."""
        if verdict is Verdict.ACCEPTED:
            self.left_off(now_ns)
            self._playing = stamp_ns
            self.accepted += 1
        self.refused += verdict is Verdict.REFUSED
        self._change(stamp_ns, judged_ns=now_ns, verdict=verdict, reason=reason)

    def left_off(self, now_ns: int) -> None:
        """The controller no longer plays: stopped, held, in fault."""
        if self._playing is not None and self._playing in self._records:
            self._change(self._playing, played_until_ns=now_ns)
        self._playing = None

    def since(self, stamp_ns: int) -> tuple[ChunkRecord, ...]:
        """Chunks that were observed, or were still to be played, at stamp_ns or later."""
        return tuple(r for r in self._records.values() if max(r.stamp_ns, r.played_until_ns or r.end_ns) >= stamp_ns)

    def _change(self, stamp_ns: int, **changes: Any) -> None:
        known = self._records.get(stamp_ns)
        if known is None:
            known, self._seen = ChunkRecord(stamp_ns, self._seen), self._seen + 1
        self._records[stamp_ns] = replace(known, **changes)
        while len(self._records) > _KEEP:
            self._records.popitem(last=False)

"""builtin_interfaces Time and Duration <-> integer nanoseconds."""

from __future__ import annotations

from builtin_interfaces.msg import Duration, Time

_NS = 1_000_000_000


def stamp_to_ns(stamp: Time | Duration) -> int:
    return stamp.sec * _NS + stamp.nanosec


def stamp_from_ns(ns: int) -> Time:
    return Time(sec=int(ns) // _NS, nanosec=int(ns) % _NS)


def duration_from_ns(ns: int) -> Duration:
    return Duration(sec=int(ns) // _NS, nanosec=int(ns) % _NS)

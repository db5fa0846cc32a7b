"""From the device's clock to the host's: offset and drift from the frames themselves.

A frame arrives after its exposure by a delay that varies and is never negative. Over a while, the line below all
(device time, arrival - device time) that lies closest to them is therefore the clock plus the smallest delay: an
edge of their lower convex hull (Moon, Skelly, Towsley 1999). Delays, however long, do not move it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from .frames import ClockDomain

_NS = 1_000_000_000
_BUCKET_NS = _NS // 2
_BUCKETS = 120
_DRIFT_AFTER_NS = 15 * _NS
_LARGEST_DRIFT = 200e-6
_DELAYS = 128
_EARLY_NS = 5_000_000
_IMPOSSIBLE_NS = -50_000_000
_STEPPED_NS, _STEADY_NS, _STEADY_FRAMES = _NS // 2, _NS // 10, 30


@dataclass(frozen=True)
class ClockReport:
    """offset_s: host minus device clock (with the smallest delay) now; drift_ppm: how fast that grows; observed_s: over
    how long; delay_p50_s, delay_max_s: arrival after the stamp, recent frames; doubt: "" or why stamps are not to be
    trusted; restarts: of the device's clock."""

    domain: ClockDomain | None
    offset_s: float
    drift_ppm: float
    observed_s: float
    delay_p50_s: float
    delay_max_s: float
    restarts: int
    doubt: str


class DeviceClock:
    """Stamps for the frames of one camera. Give every frame, in order of arrival.

    `hardware` times are mapped by the estimated line; `global` and `system` times are host times already and are only
    checked: there the line shows what is left of offset and drift.
    """

    def __init__(self) -> None:
        self.domain: ClockDomain | None = None
        self.restarts = 0
        self.begin()

    def begin(self) -> None:
        """Forget what was seen: the device may have started anew."""
        self._points: deque[tuple[int, int]] = deque(maxlen=_BUCKETS)
        self._bucket = -1
        self._first_ns = self._last_device_ns = 0
        self._line = (0, 0, 0.0)
        self._delays: deque[int] = deque(maxlen=_DELAYS)

    def stamp(self, device_ns: int, arrival_ns: int, domain: ClockDomain) -> int:
        """Host time of device_ns, for a frame that arrived at arrival_ns (host time)."""
        if domain is not self.domain:
            self.domain = domain
            self.begin()
        elif self._jumped(device_ns, arrival_ns):
            self.restarts += 1
            self.begin()
        self._observe(device_ns, arrival_ns)
        mapped = self.to_host_ns(device_ns) if domain is ClockDomain.HARDWARE else device_ns
        self._delays.append(arrival_ns - mapped)
        return mapped

    def to_host_ns(self, device_ns: int) -> int:
        """By the estimated line."""
        at_ns, offset_ns, slope = self._line
        return device_ns + offset_ns + round(slope * (device_ns - at_ns))

    def report(self) -> ClockReport:
        at_ns, offset_ns, slope = self._line
        delays = sorted(self._delays) or [0]
        now_offset = offset_ns + slope * (self._last_device_ns - at_ns)
        return ClockReport(
            self.domain,
            now_offset / _NS,
            1e6 * slope,
            (self._last_device_ns - self._first_ns) / _NS,
            delays[len(delays) // 2] / _NS,
            delays[-1] / _NS,
            self.restarts,
            self._doubt(delays),
        )

    def _doubt(self, delays: list[int]) -> str:
        if self.domain is ClockDomain.SYSTEM:
            return "no time from the device: stamps are times of arrival (its driver gives no frame metadata)"
        if delays[len(delays) // 2] < -_EARLY_NS:
            early_ms = -delays[len(delays) // 2] / 1e6
            return f"frames arrive {early_ms:.0f} ms before their stamps: the device's clock is not that of this host"
        if delays[len(delays) // 2] > _STEPPED_NS:
            late_s = delays[len(delays) // 2] / _NS
            return f"frames arrive {late_s:.1f} s after their stamps: a clock was set, or the USB link is too slow"
        return ""

    def _jumped(self, device_ns: int, arrival_ns: int) -> bool:
        """Whether one of the clocks was set: what no delay explains. A long delay alone is no reason: that frame is
        old."""
        if not self._points:
            return False
        if device_ns < self._last_device_ns - _BUCKET_NS or arrival_ns - self.to_host_ns(device_ns) < _IMPOSSIBLE_NS:
            return True
        recent = list(self._delays)[-_STEADY_FRAMES:]
        return (
            len(recent) == _STEADY_FRAMES
            and min(recent) > _STEPPED_NS
            and max(recent) - min(recent) < _STEADY_NS
            and self.domain is ClockDomain.HARDWARE
        )

    def _observe(self, device_ns: int, arrival_ns: int) -> None:
        self._last_device_ns = max(device_ns, self._last_device_ns)
        point = (device_ns, arrival_ns - device_ns)
        bucket = device_ns // _BUCKET_NS
        if bucket > self._bucket:
            self._first_ns = self._first_ns or device_ns
            self._bucket = bucket
            self._points.append(point)
        elif bucket == self._bucket and point[1] < self._points[-1][1]:
            self._points[-1] = point
        else:
            return
        self._line = self._fit()

    def _fit(self) -> tuple[int, int, float]:
        """(device time, offset there, slope): the hull's edge below the middle of the points."""
        points = list(self._points)
        if points[-1][0] - points[0][0] < _DRIFT_AFTER_NS:
            at_ns, offset_ns = min(points, key=lambda p: p[1])
            return at_ns, offset_ns, 0.0
        hull = _lower_hull(points)
        middle = sum(p[0] - points[0][0] for p in points) / len(points) + points[0][0]
        a, b = next((a, b) for a, b in zip(hull, hull[1:]) if b[0] >= middle)
        slope = (b[1] - a[1]) / (b[0] - a[0])
        slope = min(max(slope, -_LARGEST_DRIFT), _LARGEST_DRIFT)
        at_ns = round(middle)
        return at_ns, a[1] + round(slope * (at_ns - a[0])), slope


def _lower_hull(points: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Of points in order of their first coordinate."""
    hull: list[tuple[int, int]] = []
    for p in points:
        while len(hull) > 1 and _turn(hull[-2], hull[-1], p) <= 0:
            hull.pop()
        hull.append(p)
    return hull


def _turn(a: tuple[int, int], b: tuple[int, int], c: tuple[int, int]) -> int:
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])

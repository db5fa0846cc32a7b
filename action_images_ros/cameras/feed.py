"""Keeps one camera going: reads, stamps and checks its frames; reopens it with growing pauses when it is lost."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from ..errors import CameraError, ConfigError
from .clock import ClockReport, DeviceClock
from .frames import Camera, CameraDescription, CameraFrame, RawFrame
from .gate import FrameGate, Gated

_FIRST_S = 5.0
_RESET_AFTER = 2


class FeedState(str, Enum):
    OPENING = "opening"
    STREAMING = "streaming"
    LOST = "lost"


@dataclass(frozen=True)
class Backoff:
    """Pauses before the attempts to reopen: first_s, then each `factor` times longer, at most longest_s."""

    first_s: float = 0.5
    longest_s: float = 8.0
    factor: float = 2.0

    def __post_init__(self) -> None:
        if not (0 < self.first_s <= self.longest_s and self.factor >= 1):
            raise ConfigError(
                f"back-off of {self.first_s} s to {self.longest_s} s by {self.factor} is not one: "
                "0 < first_s <= longest_s and factor >= 1"
            )

    def pause_s(self, attempt: int) -> float:
        """Before attempt 0, 1, ..."""
        return min(self.longest_s, self.first_s * self.factor ** min(attempt, 64))


@dataclass(frozen=True)
class FeedReport:
    """attempts: to open it since its last frame; connections: how often it was opened; reason: why it is lost."""

    state: FeedState
    reason: str
    attempts: int
    connections: int
    description: CameraDescription | None
    clock: ClockReport
    counts: dict[Gated, int]
    lost: int


class CameraFeed:
    """open_camera: opens the device, CameraError where it cannot be; deliver: takes every new frame, in the thread that
    calls `run`; now_ns: host time; silent_s: without a new frame for so long, the camera is lost (its first frame may
    take 5 s).

    A device that is there but gave no frame at all, twice, is reset.
    """

    def __init__(
        self,
        open_camera: Callable[[], Camera],
        deliver: Callable[[CameraFrame], None],
        now_ns: Callable[[], int],
        max_age_s: float,
        silent_s: float = 1.0,
        stamp_offset_s: float = 0.0,
        backoff: Backoff = Backoff(),
    ) -> None:
        self._open_camera, self._deliver, self._now_ns = open_camera, deliver, now_ns
        self._silent_s, self._offset_ns, self._backoff = silent_s, round(1e9 * stamp_offset_s), backoff
        self._clock, self._gate = DeviceClock(), FrameGate(max_age_s)
        self._depth_number, self._given = -1, (-1, 0)
        self._camera: Camera | None = None
        self._state, self._reason, self._attempts, self._connections = FeedState.OPENING, "", 0, 0
        self._barren = 0
        self.description: CameraDescription | None = None

    def open(self) -> CameraDescription:
        """Open the device now, in the calling thread. Raises CameraError."""
        self._camera = self._open_camera()
        self.description = self._camera.description
        self._connections += 1
        self._gate.begin()
        self._clock.begin()
        self._depth_number, self._given = -1, (-1, 0)
        return self.description

    def run(self, stop: threading.Event) -> None:
        """Until `stop` is set; opens the camera where `open` has not."""
        try:
            while not stop.is_set():
                if self._camera is None and not self._reopen(stop):
                    return
                self._read(stop)
                self.close()
        finally:
            self.close()

    def close(self) -> None:
        camera, self._camera = self._camera, None
        if camera is not None:
            try:
                camera.close()
            except CameraError as error:
                self._reason = self._reason or str(error)

    def report(self) -> FeedReport:
        """Of now; from any thread."""
        return FeedReport(
            self._state,
            self._reason,
            self._attempts,
            self._connections,
            self.description,
            self._clock.report(),
            dict(self._gate.counts),
            self._gate.lost,
        )

    def _reopen(self, stop: threading.Event) -> bool:
        """False: `stop` came first."""
        while not stop.wait(self._backoff.pause_s(self._attempts) if self._connections or self._attempts else 0.0):
            self._attempts += 1
            try:
                self.open()
                return True
            except CameraError as error:
                self._reason = str(error)
        return False

    def _read(self, stop: threading.Event) -> None:
        """Until the camera is silent, fails, or `stop`."""
        assert self._camera is not None, "open first"
        heard, new_ns = False, self._now_ns()
        while not stop.is_set():
            patience_s = self._silent_s if heard else max(self._silent_s, _FIRST_S)
            try:
                raw = self._camera.read(patience_s)
                frame = None if raw is None else self._checked(raw)
                now_ns = self._now_ns()
                if frame is not None:
                    heard, new_ns = True, now_ns
                    self._state, self._reason, self._attempts, self._barren = FeedState.STREAMING, "", 0, 0
                    self._deliver(frame)
                elif raw is None or now_ns - new_ns > 1e9 * patience_s:
                    return self._lose(f"no {'' if raw is None else 'new '}frame for {patience_s:g} s", heard)
            except CameraError as error:
                return self._lose(str(error), heard)

    def _lose(self, reason: str, heard: bool) -> None:
        self._state, self._reason = FeedState.LOST, reason
        self._barren = 0 if heard else self._barren + 1
        if self._barren >= _RESET_AFTER:
            self._barren = 0
            assert self._camera is not None, "lost while open"
            try:
                self._camera.reset()
            except CameraError as error:
                self._reason = f"{reason}; its reset failed: {error}"

    def _checked(self, raw: RawFrame) -> CameraFrame | None:
        now_ns, restarts = self._now_ns(), self._clock.restarts
        stamp_ns = self._clock.stamp(raw.device_ns, now_ns, raw.domain) - raw.middle_ns + self._offset_ns
        if self._clock.restarts != restarts:
            self._gate.begin()
        outcome = self._gate.admit(raw.number, raw.device_ns, stamp_ns, now_ns)
        depth = raw.depth if raw.depth_number > self._depth_number else None
        if outcome is Gated.PASSED:
            self._given = (raw.number, stamp_ns)
        elif outcome is not Gated.REPEATED or depth is None or raw.number != self._given[0]:
            return None
        if depth is not None:
            self._depth_number = raw.depth_number
        return CameraFrame(self._given[1], raw.color if outcome is Gated.PASSED else None, depth)

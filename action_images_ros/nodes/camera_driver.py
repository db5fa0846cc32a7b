"""The cell's RealSense cameras as ROS topics: one process, one thread a camera.

Stamps are the middle of the exposure in ROS time. A camera that is lost is reopened with growing pauses; until then its
topics are silent: an old picture never comes again.
"""

from __future__ import annotations

import sys
import threading
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from ..cameras import Backoff, CameraDescription, CameraFeed, CameraFrame, FeedReport, FeedState, Gated
from ..cameras.realsense import RealSenseCamera, load_library, require_connected
from ..cell import Calibrated, Cell, View
from ..errors import ConfigError
from ..geometry import PinholeCamera
from ..ros.camera_publisher import CameraPublisher
from ..ros.main import run_node
from ..ros.managed import ManagedNode, made
from ..ros.monitor import Level, RateMonitor, Report, not_active
from ..ros.parameters import parameter

_JOIN_S = 5.0
_SLOW = 0.9
_SETTLE_S = 5.0
_REMEDY = "look at plug, cable and USB port, at the light, at programs that use the camera too; docs/cameras.md"


@dataclass(frozen=True)
class CameraDriverParameters:
    autostart: bool = parameter(True, "configure and activate at once")
    cell: str = parameter("", "cell file: serial, image_size and driver settings of every camera")
    missing: str = parameter(
        "fail", "a camera that is not there at the start: end with an error, or wait for it", choices=("fail", "wait")
    )
    recordings: str = parameter("", "directory with <serial>.db3 to play in place of the cameras; empty: the cameras")
    max_age_s: float = parameter(0.5, "older frames are not published", minimum=0.01, maximum=10.0)
    silent_s: float = parameter(1.0, "a camera without a frame for so long is reopened", minimum=0.1, maximum=30.0)
    backoff: Backoff = Backoff()


class _Feeding:
    """One camera: its feed, thread, topics and rate."""

    def __init__(self, view: View, feed: CameraFeed, publisher: CameraPublisher) -> None:
        self.view, self.feed, self.publisher = view, feed, publisher
        self.rate, self.published, self.began_s = RateMonitor(100), 0, time.monotonic()
        self.said = (FeedState.OPENING, 0)
        self.camera_of: tuple[CameraDescription, PinholeCamera] | None = None
        self.thread: threading.Thread | None = None

    def camera(self, description: CameraDescription) -> PinholeCamera:
        """The device's own intrinsics: what realsense-ros publishes as camera_info."""
        if self.camera_of is None or self.camera_of[0] is not description:
            pinhole = PinholeCamera(description.K, description.image_size, np.eye(4), description.distortion)
            self.camera_of = (description, pinhole)
        return self.camera_of[1]


class CameraDriverNode(ManagedNode):
    def __init__(self) -> None:
        super().__init__("camera_driver", CameraDriverParameters)
        self._feeding: dict[str, _Feeding] = {}
        self._stop = threading.Event()

    def setup(self) -> None:
        p = self.parameters
        if not p.cell:
            raise ConfigError("camera_driver needs the parameter `cell`: the path of a cell file")
        if self.get_parameter("use_sim_time").value:
            raise ConfigError("camera_driver stamps real exposures in real time; leave use_sim_time false")
        load_library()
        cell = Cell.load(p.cell, Calibrated.OPTIONAL)
        for view in cell.views:
            if view.image_size is None:
                raise ConfigError(f"{p.cell}: view {view.name} has no image_size; write the size of its colour stream")
            feeding = _Feeding(view, self._make_feed(view), CameraPublisher(self, view))
            self._feeding[view.name] = feeding
            self.diagnostics.add(partial(self._report, feeding))

    def _make_feed(self, view: View) -> CameraFeed:
        p = self.parameters
        recording = Path(p.recordings).expanduser() / f"{view.serial}.db3" if p.recordings else None
        return CameraFeed(
            partial(RealSenseCamera, view.name, view.serial, made(view.image_size), view.driver, recording),
            lambda frame: self._publish(self._feeding[view.name], frame),
            self.now_ns,
            p.max_age_s,
            p.silent_s,
            view.driver.stamp_offset_s,
            p.backoff,
        )

    def start(self) -> None:
        self._stop = threading.Event()
        if self.parameters.missing == "fail":
            if not self.parameters.recordings:
                require_connected({f.view.name: f.view.serial for f in self._feeding.values()})
            for feeding in self._feeding.values():
                d = feeding.feed.open()
                self.get_logger().info(f"{feeding.view.name}: {_words(d, feeding.view)}")
        for feeding in self._feeding.values():
            feeding.began_s = time.monotonic()
            feeding.thread = threading.Thread(target=self._run, args=(feeding,), name=feeding.view.name, daemon=True)
            feeding.thread.start()

    def _run(self, feeding: _Feeding) -> None:
        try:
            feeding.feed.run(self._stop)
        except Exception as error:  # noqa: BLE001 - whatever ends this thread must end the node
            self.fail(error)

    def halt(self) -> None:
        self._stop.set()
        for feeding in self._feeding.values():
            if feeding.thread is not None:
                feeding.thread.join(_JOIN_S)
            else:
                feeding.feed.close()
            feeding.thread = None

    def _publish(self, feeding: _Feeding, frame: CameraFrame) -> None:
        feeding.publisher.publish(frame, feeding.camera(made(feeding.feed.description)))
        if frame.color is not None:
            feeding.rate.tick(time.monotonic())
            feeding.published += 1

    def _report(self, feeding: _Feeding) -> Report:
        view = feeding.view
        if feeding.thread is None:
            return not_active(view.name)
        r = feeding.feed.report()
        self._say(feeding, r)
        level, message = self._judge(feeding, r)
        values: dict[str, object] = {
            "serial": view.serial,
            "state": r.state.value,
            "connections": r.connections,
            "rate_hz": feeding.rate.rate_hz,
            "published": feeding.published,
            "lost": r.lost,
            **{k.value: n for k, n in r.counts.items() if k is not Gated.PASSED},
            "clock": r.clock.domain.value if r.clock.domain else "unknown",
            "clock_offset_s": r.clock.offset_s,
            "clock_drift_ppm": r.clock.drift_ppm,
            "clock_observed_s": r.clock.observed_s,
            "clock_restarts": r.clock.restarts,
            "delay_p50_ms": 1e3 * r.clock.delay_p50_s,
            "delay_max_ms": 1e3 * r.clock.delay_max_s,
            "automatic": ", ".join(view.driver.automatic) or "nothing",
        }
        if r.description is not None:
            values |= {"device": _words(r.description, view), "lens_error_px": r.description.lens_error_px}
        limits = {
            "rate_hz": f">= {_SLOW * view.driver.rate_hz:g}",
            "delay_max_ms": f"<= {1e3 * self.parameters.max_age_s:g}",
        }
        return Report(view.name, level, message, values, limits, _REMEDY, view.serial)

    def _judge(self, feeding: _Feeding, r: FeedReport) -> tuple[Level, str]:
        if r.state is not FeedState.STREAMING:
            again = f"; tried {r.attempts} times to open it again" if r.attempts else ""
            return Level.ERROR, f"{r.state.value}: {r.reason or 'not open yet'}{again}"
        if r.clock.doubt:
            return Level.WARN, r.clock.doubt
        wanted, settled = feeding.view.driver.rate_hz, time.monotonic() - feeding.began_s > _SETTLE_S
        if settled and feeding.rate.rate_hz < _SLOW * wanted:
            return Level.WARN, (
                f"{feeding.rate.rate_hz:.1f} images a second, not {wanted}: USB 3? own controller? enough light?"
            )
        return Level.OK, "streaming"

    def _say(self, feeding: _Feeding, r: FeedReport) -> None:
        (state, connections), log = feeding.said, self.get_logger()
        camera = f"{feeding.view.name}: camera {feeding.view.serial}"
        if r.state is FeedState.LOST and (state, connections) != (r.state, r.connections):
            log.warning(f"{camera} is lost: {r.reason}; trying to open it again")
        elif r.connections > max(1, connections):
            log.info(f"{camera} is back (connection {r.connections})")
        feeding.said = (r.state, r.connections)


def _words(d: CameraDescription, view: View) -> str:
    width, height = d.image_size
    return f"{d.name} {d.serial}, USB {d.usb}, firmware {d.firmware}, {width}x{height} at {view.driver.rate_hz} Hz"


def main() -> int:
    return run_node(CameraDriverNode)


if __name__ == "__main__":
    sys.exit(main())

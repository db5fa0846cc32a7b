"""The processes of `bench cameras`: one that publishes as `camera_driver` does, and some that listen as nodes do."""

from __future__ import annotations

import sys
import threading
import time
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection

import numpy as np

from ..cameras import CameraFrame
from ..cell import Calibration, View
from ..geometry import PinholeCamera

_PICTURES = 6
_MATCH_S = 30.0
_SWITCH_INTERVAL_S = 5e-4


@dataclass(frozen=True)
class Case:
    """size (width, height); listeners: processes that each take every image."""

    cameras: int
    size: tuple[int, int]
    rate_hz: float
    listeners: int
    seconds: float


@dataclass(frozen=True)
class Sent:
    """Stamps by topic (ns, monotone), deadlines that were missed, and processor time as a part of one core."""

    stamps_ns: dict[str, list[int]]
    skipped: int
    cpu: float


@dataclass(frozen=True)
class Heard:
    """By topic: (stamp, age at the callback), ns; newest stamps of the matched sets; processor time as a part of one
    core."""

    images: dict[str, list[tuple[int, int]]]
    sets_ns: list[int]
    cpu: float


def views(case: Case) -> tuple[View, ...]:
    width, height = case.size
    K = np.array([[width, 0, width / 2], [0, width, height / 2], [0, 0, 1.0]])
    camera = PinholeCamera(K, case.size, np.eye(4))
    none = Calibration("2026-05-26", "none", 0.0)
    names = [f"view{k}" for k in range(case.cameras)]
    return tuple(View(n, f"/camera/{n}", f"bench-{n}", camera, none) for n in names)


def publish(case: Case, pipe: Connection) -> None:
    """One thread a camera, through the same publisher as camera_driver. Says "ready" when every listener is matched,
    publishes on "go" for case.seconds and one more, answers with Sent."""
    import rclpy
    from rclpy.node import Node

    from .camera_publisher import CameraPublisher
    from .loop import DeadlineLoop

    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    rclpy.init()
    node, rng = Node("bench_cameras"), np.random.default_rng(0)
    width, height = case.size
    pictures = [rng.integers(0, 256, (height, width, 3), np.uint8) for _ in range(_PICTURES)]
    publishers = {v.name: (CameraPublisher(node, v), v) for v in views(case)}
    sent: dict[str, list[int]] = {v: [] for v in publishers}

    def expose(name: str, _: float) -> None:
        publisher, view = publishers[name]
        stamp_ns = time.time_ns()
        picture = pictures[len(sent[name]) % _PICTURES]
        publisher.publish(CameraFrame(stamp_ns, picture), view.camera)
        sent[name].append(stamp_ns)

    _wait_matched([p for v in views(case) for p in node.publishers if p.topic_name == v.image_topic], case.listeners)
    pipe.send("ready")
    pipe.recv()
    errors: list[Exception] = []
    loops = [DeadlineLoop(n, 1.0 / case.rate_hz, partial(expose, n), errors.append) for n in publishers]
    began, worked = time.monotonic(), time.process_time()
    for loop in loops:
        loop.start()
    time.sleep(case.seconds + 1.0)
    for loop in loops:
        loop.stop()
    cpu = (time.process_time() - worked) / (time.monotonic() - began)
    if errors:
        raise errors[0]
    pipe.send(Sent(sent, sum(loop.skipped for loop in loops), cpu))
    pipe.recv()
    rclpy.try_shutdown()


def _wait_matched(publishers, listeners: int) -> None:
    end_s = time.monotonic() + _MATCH_S
    while any(p.get_subscription_count() < listeners for p in publishers):
        if time.monotonic() > end_s:
            raise TimeoutError(f"not every listener was found within {_MATCH_S:g} s")
        time.sleep(0.05)


def listen(case: Case, number: int, pipe: Connection) -> None:
    """Take every image as the denoiser does: best effort, stamps matched to sets, pictures looked at. Answers with
    Heard when told to stop."""
    import rclpy
    from rclpy.executors import SingleThreadedExecutor
    from rclpy.node import Node
    from sensor_msgs.msg import Image

    from ..streams import Synchroniser, fingerprint
    from . import qos
    from .messages import stamp_to_ns

    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    rclpy.init()
    node, seen = Node(f"bench_listener_{number}"), views(case)
    heard: dict[str, list[tuple[int, int]]] = {v.name: [] for v in seen}
    sync, sets_ns = Synchroniser(tuple(heard), 0.05, 0.5, 1.0), []

    def take(name: str, msg: Image) -> None:
        now_ns, stamp_ns = time.time_ns(), stamp_to_ns(msg.header.stamp)
        heard[name].append((stamp_ns, now_ns - stamp_ns))
        found = sync.add(name, stamp_ns, msg, now_ns, fingerprint(msg))
        if found is not None:
            sets_ns.append(max(found.stamps_ns))

    for view in seen:
        node.create_subscription(Image, view.image_topic, lambda m, n=view.name: take(n, m), qos.IMAGE_IN)
    executor, stop = SingleThreadedExecutor(), threading.Event()
    executor.add_node(node)
    pipe.send("ready")
    def await_end() -> None:
        pipe.recv()
        stop.set()

    threading.Thread(target=await_end, daemon=True).start()
    began, worked = None, 0.0
    while not stop.is_set():
        executor.spin_once(timeout_sec=0.1)
        if began is None and any(heard.values()):
            began, worked = time.monotonic(), time.process_time()
    cpu = (time.process_time() - worked) / (time.monotonic() - (began or 0.0))
    pipe.send(Heard(heard, sets_ns, cpu))
    rclpy.try_shutdown()

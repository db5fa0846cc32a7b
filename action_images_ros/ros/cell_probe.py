"""Listens to a running cell for a while, as the policy's nodes do, and says what it heard. Changes nothing."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, Image, JointState

from ..cell import Cell, View
from ..errors import TransportError
from ..streams import JointStateReader, Synchroniser, fingerprint
from . import qos
from .dds import use_profile
from .messages import check_camera_info, stamp_to_ns

_SPIN_S = 0.05
_DISCOVERY_S = 3.0


@dataclass
class ViewHeard:
    """Of one view. info: "" , or why its camera_info does not fit the cell file; infos: how many came."""

    images: int = 0
    infos: int = 0
    info_fault: str = ""
    rate_hz: float = 0.0
    age_p50_s: float = float("nan")
    complaint: str = ""


@dataclass
class Heard:
    """sets, skew_max_s: matched sets and their largest skew; sync_complaint: why none form; states: joint states that
    can be used, states_fault: what is wrong with the others; state_age_s: median, arrival after stamp;
    clock_step_s: how far ROS time went another way than the monotonic clock while listening."""

    seconds: float
    views: dict[str, ViewHeard]
    sets: int = 0
    skew_p50_s: float = float("nan")
    skew_max_s: float = float("nan")
    sync_complaint: str = ""
    states: int = 0
    states_hz: float = 0.0
    states_fault: str = ""
    state_age_s: float = float("nan")
    clock_step_s: float = 0.0
    _skews_s: list[float] = field(default_factory=list)


class _Probe:
    def __init__(self, node: Node, cell: Cell) -> None:
        self._node, self._cell = node, cell
        sync, arm = cell.sync, cell.arm
        self._sync = Synchroniser(cell.view_names, sync.max_skew_s, sync.max_age_s, sync.max_same_picture_s)
        self._reader = JointStateReader(arm.joints, arm.fingers)
        self.heard = Heard(0.0, {v.name: ViewHeard() for v in cell.views})
        self._arrivals_s: list[float] = []
        self._ages_s: list[float] = []
        for view in cell.views:
            node.create_subscription(Image, view.image_topic, partial(self._on_image, view), qos.IMAGE_IN)
            node.create_subscription(CameraInfo, view.info_topic, partial(self._on_info, view), qos.STATE_IN)
        node.create_subscription(JointState, "/joint_states", self._on_states, qos.STATE_IN)

    def now_ns(self) -> int:
        return self._node.get_clock().now().nanoseconds

    @property
    def complete(self) -> bool:
        """Whether everything has been heard of."""
        h = self.heard
        return bool(h.states or h.states_fault) and all(v.images and v.infos for v in h.views.values())

    def _on_image(self, view: View, msg: Image) -> None:
        self.heard.views[view.name].images += 1
        found = self._sync.add(view.name, stamp_to_ns(msg.header.stamp), None, self.now_ns(), fingerprint(msg))
        if found is not None:
            self.heard._skews_s.append(found.skew_s)

    def _on_info(self, view: View, msg: CameraInfo) -> None:
        seen = self.heard.views[view.name]
        seen.infos += 1
        try:
            check_camera_info(msg, view.name, view.camera)
        except TransportError as error:
            seen.info_fault = str(error)

    def _on_states(self, msg: JointState) -> None:
        try:
            state = self._reader.read(msg)
        except TransportError as error:
            self.heard.states_fault = str(error)
            return
        if state is not None:
            self.heard.states += 1
            self._arrivals_s.append(time.monotonic())
            self._ages_s.append(1e-9 * (self.now_ns() - state.stamp_ns))
        elif set(self._cell.arm.joints) <= set(msg.name):
            self.heard.states_fault = f"the gripper's {self._reader.missing} never came"

    def conclude(self, seconds: float) -> Heard:
        h, now_ns = self.heard, self.now_ns()
        h.seconds, h.sets, h.sync_complaint = seconds, self._sync.sets, self._sync.complaint(now_ns)
        if h._skews_s:
            h.skew_p50_s, h.skew_max_s = float(np.median(h._skews_s)), max(h._skews_s)
        for name, s in self._sync.statistics.items():
            seen = h.views[name]
            seen.rate_hz, seen.complaint = s.rate_hz, self._sync.view_complaint(name, now_ns)
            if s.ages_s:
                seen.age_p50_s = float(np.median(s.ages_s))
        if self._arrivals_s:
            h.states_fault = ""
            span_s = self._arrivals_s[-1] - self._arrivals_s[0]
            h.states_hz = (len(self._arrivals_s) - 1) / span_s if span_s else 0.0
            h.state_age_s = float(np.median(self._ages_s))
        return h


def listen(cell: Cell, seconds: float) -> Heard:
    """`seconds` from when everything has been heard of, or after some seconds of waiting for that."""
    use_profile()
    context = Context()
    rclpy.init(context=context)
    node = Node("doctor", context=context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    try:
        probe = _Probe(node, cell)
        began_s = time.monotonic()
        while not probe.complete and time.monotonic() - began_s < _DISCOVERY_S:
            executor.spin_once(timeout_sec=_SPIN_S)
        from_s, from_ns = time.monotonic(), time.time_ns()
        while time.monotonic() - from_s < seconds:
            executor.spin_once(timeout_sec=_SPIN_S)
        passed_s = time.monotonic() - from_s
        heard = probe.conclude(passed_s)
        heard.clock_step_s = 1e-9 * (time.time_ns() - from_ns) - passed_s
        return heard
    finally:
        executor.shutdown()
        node.destroy_node()
        rclpy.try_shutdown(context=context)

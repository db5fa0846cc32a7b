"""Plays the scripted expert's action images into a running graph, in place of a denoiser: a test of the plumbing."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, Image, JointState
from std_srvs.srv import SetBool, Trigger

from action_images_ros.cell import Cell
from action_images_ros.codec import encode
from action_images_ros.control import Fr3Kinematics
from action_images_ros.model.config import ModelConfig
from action_images_ros.model.frames import model_camera
from action_images_ros.ros import qos
from action_images_ros.ros.messages import JointStateReader, image_message, stamp_to_ns, tile_actions
from action_images_ros.types import ActionChunk, RobotState

MAX_WIDTH_M = 0.08


class Operator:
    """A node in a context of its own with what every system test needs: waiting with a deadline, and services."""

    def __init__(self, name: str = "operator") -> None:
        self.context = Context()
        rclpy.init(context=self.context)
        self.node = Node(name, context=self.context)
        self._executor = SingleThreadedExecutor(context=self.context)
        self._executor.add_node(self.node)

    def __enter__(self) -> Operator:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.node.destroy_node()
        rclpy.try_shutdown(context=self.context)

    def until(
        self, condition: Callable[[], bool], what: str, timeout_s: float, alive: Callable[[], None] = lambda: None
    ) -> float:
        """Spin until condition(); the seconds it took. Fails naming `what`."""
        began = time.monotonic()
        while not condition():
            if time.monotonic() - began > timeout_s:
                raise AssertionError(f"waited {timeout_s} s for {what}")
            alive()
            self._executor.spin_once(timeout_sec=0.05)
        return time.monotonic() - began

    def call(self, kind: type, name: str, request: object, timeout_s: float = 10.0):
        client = self.node.create_client(kind, name)
        try:
            self.until(client.service_is_ready, f"service {name}", timeout_s)
            future = client.call_async(request)
            self.until(future.done, f"an answer of {name}", timeout_s)
            return future.result()
        finally:
            self.node.destroy_client(client)

    def enable(self, on: bool = True):
        return self.call(SetBool, "enable", SetBool.Request(data=on))

    def trigger(self, name: str):
        return self.call(Trigger, name, Trigger.Request())


class Watch:
    """The newest joint state, its history, camera stamps and diagnostics."""

    def __init__(self, operator: Operator, cell: Cell) -> None:
        self.state: RobotState | None = None
        self.states: list[tuple[float, RobotState]] = []
        self.camera_stamp_ns = 0
        self.values: dict[str, dict[str, str]] = {}
        self._reader = JointStateReader(cell.arm.joints, cell.arm.fingers)
        node = operator.node
        node.create_subscription(JointState, "/joint_states", self._on_state, qos.STATE_IN)
        node.create_subscription(CameraInfo, cell.views[0].info_topic, self._on_info, qos.STATE_IN)
        node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, qos.DIAGNOSTICS)

    def _on_state(self, msg: JointState) -> None:
        state = self._reader.read(msg)
        if state is not None:
            self.state = state
            self.states.append((time.monotonic(), state))

    def _on_info(self, msg: CameraInfo) -> None:
        self.camera_stamp_ns = stamp_to_ns(msg.header.stamp)

    def _on_diagnostics(self, msg: DiagnosticArray) -> None:
        for status in msg.status:
            self.values[status.name] = {v.key: v.value for v in status.values} | {"message": status.message}

    def controller(self, key: str) -> str:
        return self.values.get("controller: control", {}).get(key, "")

    def fastest_radps(self, since_s: float) -> float:
        """Largest joint speed by differences of position since a monotonic time."""
        recent = [(1e-9 * s.stamp_ns, s.q) for t, s in self.states if t >= since_s]
        if len(recent) < 3:
            return float("inf")
        t, q = np.array([r[0] for r in recent]), np.array([r[1] for r in recent])
        return float(np.abs(np.diff(q, axis=0) / np.maximum(np.diff(t), 1e-4)[:, None]).max())


class ExpertPlayer:
    """Publishes `action_images` for the newest camera stamp every period_s, as a denoiser would."""

    def __init__(
        self, operator: Operator, watch: Watch, cell: Cell, config: ModelConfig, period_s: float = 0.4
    ) -> None:
        self._watch, self._config, self._cell = watch, config, cell
        self._cameras = [model_camera(c, config.image_size).resized(config.action_size) for c in cell.cameras]
        self._kinematics = Fr3Kinematics()
        self.publisher = operator.node.create_publisher(Image, "action_images", qos.TARGETS)
        self._clock = operator.node.get_clock()
        self.expert = None
        self.played: list[ActionChunk] = []
        operator.node.create_timer(period_s, self.play)

    def play(self) -> None:
        w, c = self._watch, self._config
        if self.expert is None or w.state is None or not w.camera_stamp_ns:
            return
        newest = min((s for _, s in w.states[-100:]), key=lambda s: abs(s.stamp_ns - w.camera_stamp_ns))
        pose = self._kinematics.fk(newest.q)
        chunk = self.expert.chunk(pose, min(1.0, newest.gripper_width_m / MAX_WIDTH_M), c.chunk_size, c.dt_s)
        images = encode(chunk.base_T_tcps, chunk.openness, self._cameras, c.encoding)
        self.publisher.publish(image_message(tile_actions(images), "rgb8", w.camera_stamp_ns, "action_images"))
        self.played.append(chunk)

"""The operator's live page. Subscribes, keeps the newest of everything, and passes on what the buttons say.

Images, joint states and chunks are received only while somebody looks. Nothing in the graph waits for this process;
stopping does not need it either: the node `stop_button` does that by itself.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from dataclasses import dataclass
from functools import partial

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import String
from trajectory_msgs.msg import MultiDOFJointTrajectory

from ..cell import Cell
from ..console.access import TOKEN_FILE, Gate, is_local, read_token
from ..console.facts import Status
from ..console.pictures import Pictures
from ..console.robot import UrdfRobot, installed_fr3
from ..console.scene import Scene
from ..console.server import ConsoleServer, ServerConfig
from ..console.state import ConsoleState
from ..console.timeline import Verdict
from ..control import Fr3Kinematics
from ..errors import ActionImagesError, ConfigError
from ..model.config import ModelConfig
from ..ros import qos
from ..ros.main import run_node
from ..ros.managed import ManagedNode, made
from ..ros.messages import JointStateReader, chunk_from_message, image_from_message, stamp_to_ns, untile_actions
from ..ros.monitor import Level, RateMonitor, Report, Window, milliseconds, not_active
from ..ros.newest import Unheard, hear
from ..ros.parameters import parameter
from ..ros.remote import Remote

_LOOK_S = 0.2
_ASK_S = 2.0
_FRUSTUM_HZ, _FRUSTUM_PX = 4.0, 160


@dataclass(frozen=True)
class ConsoleParameters:
    autostart: bool = parameter(True, "configure and activate at once")
    cell: str = parameter("", "cell file: cameras, workspace")
    model: str = parameter("", "model directory; only its config.json is read; empty: no action images are shown")
    host: str = parameter("127.0.0.1", "address of the page; any other than this machine's own needs the token")
    port: int = parameter(8080, "TCP port of the page; 0: any free one", minimum=0, maximum=65535)
    stop_port: int = parameter(8081, "TCP port of the node stop_button; 0: there is none", minimum=0, maximum=65535)
    token_file: str = parameter(TOKEN_FILE, "holds the token; made where it is missing")
    rate_hz: float = parameter(30.0, "most live pictures a second and view", minimum=1.0, maximum=60.0)
    width_px: int = parameter(320, "width of the pictures that are sent", minimum=64, maximum=1920)
    quality: int = parameter(75, "of the JPEG pictures, percent", minimum=10, maximum=100)
    scene: bool = parameter(True, "show the 3D scene")
    scene_rate_hz: float = parameter(15.0, "movements of the arm in the scene a second", minimum=1.0, maximum=60.0)
    urdf: str = parameter("", "URDF of the arm; empty: the FR3 of the package franky-sim, where it is installed")
    meshes: str = parameter("visual", "collision is coarser and lighter", choices=("visual", "collision"))


class ConsoleNode(ManagedNode):
    def __init__(self) -> None:
        super().__init__("console", ConsoleParameters)
        self._server: ConsoleServer | None = None
        self._scene: Scene | None = None
        self._inputs: list = []
        self._watching: list = []
        self._unheard: list = []
        self._clocks: list = []
        self.diagnostics.add(self._report)

    def setup(self) -> None:
        p = self.parameters
        if not p.cell:
            raise ConfigError("console needs the parameter `cell`: the path of a cell file")
        self._cell = Cell.load(p.cell)
        self._config = ModelConfig.load(p.model) if p.model else None
        self._state = ConsoleState(self._cell.name, self._cell.view_names)
        cameras = {v.name: v.camera for v in self._cell.views}
        encoding = {} if self._config is None else {"encoding": self._config.encoding}
        self._pictures = Pictures(cameras, p.width_px, p.quality, **encoding)
        self._reader = JointStateReader(self._cell.arm.joints, self._cell.arm.fingers)
        self._kinematics = Fr3Kinematics()
        self._drawn_s = dict.fromkeys(cameras, 0.0)
        self._rate, self._took, self._unreadable = RateMonitor(200), Window(200), 0
        self._moved_s = 0.0
        self._remote = Remote(self, self._state)
        self._scene = Scene(self._cell, self._robot()) if p.scene else None

    def _robot(self) -> UrdfRobot | None:
        p = self.parameters
        path = p.urdf or installed_fr3()
        if path is None:
            self.get_logger().warning("the scene shows no arm: install franky-sim, or name a URDF (parameter urdf)")
            return None
        return UrdfRobot(path, self._cell.arm.base_frame, p.meshes)

    def start(self) -> None:
        p = self.parameters
        token = "" if is_local(p.host) else read_token(p.token_file)
        scene_port = self._scene.port if self._scene is not None else 0
        self._server = ConsoleServer(
            ServerConfig(p.host, p.port, p.stop_port, scene_port, p.rate_hz), Gate(token),
            lambda: self._state.snapshot(self.now_ns()), self._pictures, self._remote.do,
        )  # fmt: skip
        self._server.start()
        create = self.create_subscription
        self._inputs = [
            create(DiagnosticArray, "/diagnostics", self._on_diagnostics, qos.DIAGNOSTICS),
            create(String, "instruction", self._on_instruction, qos.LATCHED),
            create(String, "control_source", self._on_control_source, qos.LATCHED),
            create(String, "controller_state", self._on_controller_state, qos.EVENTS),
            create(String, "recorder/state", self._on_recorder, qos.LATCHED),
            create(String, "sim_cell/verdict", self._on_cell_verdict, qos.LATCHED),
        ]
        self._clocks = [self.create_timer(_LOOK_S, self._look), self.create_timer(_ASK_S, self._remote.look_around)]
        self._remote.look_around()
        shown = f"?token={token}" if token else ""
        host = "localhost" if is_local(p.host) else p.host
        self.get_logger().info(f"console: http://{host}:{self._server.port}/{shown}")
        threading.Thread(target=_be_nice, name="nice", daemon=True).start()

    def halt(self) -> None:
        for timer in self._clocks:
            self.destroy_timer(timer)
        for subscription in (*self._inputs, *self._watching, *self._unheard):
            self.destroy_subscription(subscription)
        self._clocks, self._inputs, self._watching, self._unheard = [], [], [], []
        if self._server is not None:
            self._server.stop()
        self._server = None

    def teardown(self) -> None:
        if self._scene is not None:
            self._scene.close()
        self._scene = None

    def _look(self) -> None:
        """Receive what comes often while a page is open, and only then."""
        watched = bool(made(self._server).watchers)
        if watched and not self._watching:
            self._clocks.append(self.create_timer(1.0 / self.parameters.rate_hz, self._hear))
            create = self.create_subscription
            group = Unheard()
            self._unheard = [
                create(JointState, "/joint_states", self._on_joint_states, qos.NEWEST_IN, callback_group=group)
            ]
            self._unheard += [
                create(Image, v.image_topic, partial(self._on_image, v.name), qos.NEWEST_IN, callback_group=group)
                for v in self._cell.views
            ]
            self._watching = [
                create(MultiDOFJointTrajectory, "targets", self._on_targets, qos.TARGETS),
                create(String, "chunk_verdicts", self._on_chunk_verdict, qos.STATE),
            ]
            if self._config is not None:
                self._watching += [
                    create(Image, "action_images", self._on_action_images, qos.TARGETS),
                    create(Image, "predicted_video", self._on_predicted_video, qos.TARGETS),
                ]
        elif not watched and self._watching:
            self.destroy_timer(self._clocks.pop())
            for subscription in (*self._watching, *self._unheard):
                self.destroy_subscription(subscription)
            self._watching, self._unheard = [], []

    def _hear(self) -> None:
        for subscription in self._unheard:
            hear(subscription)

    def _on_image(self, view: str, msg: Image) -> None:
        now_s = time.monotonic()
        since_s, self._drawn_s[view] = now_s - self._drawn_s[view], now_s
        try:
            self._pictures.live(view, image_from_message(msg), self._state.chunk)
        except ActionImagesError as error:
            self._complain(error)
            return
        if view == self._cell.views[0].name:
            self._rate.tick(now_s)
        if self._scene is not None and int(now_s * _FRUSTUM_HZ) != int((now_s - since_s) * _FRUSTUM_HZ):
            self._scene.show_picture(view, _smaller(made(self._pictures.small(view))))
        self._took.add(time.monotonic() - now_s)

    def _on_action_images(self, msg: Image) -> None:
        self._state.on_action_images(stamp_to_ns(msg.header.stamp), self.now_ns())
        self._show_tiles(msg, made(self._config).action_size, self._pictures.actions)

    def _on_predicted_video(self, msg: Image) -> None:
        self._show_tiles(msg, made(self._config).image_size, self._pictures.video)

    def _show_tiles(self, msg: Image, size: tuple[int, int], show) -> None:
        c = made(self._config)
        try:
            images = untile_actions(image_from_message(msg), msg.height // size[1], c.views, size)
        except ActionImagesError as error:
            self._complain(error)
            return
        for k, view in enumerate(self._cell.view_names):
            show(view, images[:, k])

    def _on_joint_states(self, msg: JointState) -> None:
        now_s = time.monotonic()
        if now_s - self._moved_s < 0.9 / self.parameters.scene_rate_hz:
            return
        try:
            state = self._reader.read(msg)
        except ActionImagesError as error:
            self._complain(error)
            return
        if state is None:
            return
        self._moved_s = now_s
        tcp = self._kinematics.fk(state.q)
        self._state.on_joints(state.q, state.gripper_width_m, tcp[:3, 3])
        if self._scene is not None:
            arm, half = self._cell.arm, state.gripper_width_m / 2
            self._scene.show_arm({**dict(zip(arm.joints, state.q)), **dict.fromkeys(arm.fingers, half)})

    def _on_targets(self, msg: MultiDOFJointTrajectory) -> None:
        try:
            chunk = chunk_from_message(msg, self._cell.arm.base_frame)
        except ActionImagesError as error:
            self._complain(error)
            return
        if not len(chunk):
            return
        self._state.on_chunk(chunk, self.now_ns())
        if self._scene is not None:
            self._scene.show_chunk(chunk)
            self._scene.show_trail(self._state.trail)

    def _on_chunk_verdict(self, msg: String) -> None:
        try:
            v = json.loads(msg.data)
            self._state.on_chunk_verdict(int(v["stamp_ns"]), int(v["at_ns"]), Verdict(v["verdict"]), str(v["reason"]))
        except (ValueError, KeyError, TypeError) as error:
            self._complain(error)

    def _on_controller_state(self, msg: String) -> None:
        try:
            v = json.loads(msg.data)
            self._state.on_controller(str(v["state"]), str(v["why"]), self.now_ns())
        except (ValueError, KeyError, TypeError) as error:
            self._complain(error)

    def _on_cell_verdict(self, msg: String) -> None:
        try:
            self._state.on_cell_verdict(dict(json.loads(msg.data)), self.now_ns())
        except (ValueError, TypeError) as error:
            self._complain(error)

    def _on_recorder(self, msg: String) -> None:
        try:
            self._state.on_recorder(dict(json.loads(msg.data)))
        except (ValueError, TypeError) as error:
            self._complain(error)

    def _on_instruction(self, msg: String) -> None:
        self._state.on_instruction(msg.data, self.now_ns())

    def _on_control_source(self, msg: String) -> None:
        self._state.on_control_source(msg.data[:40], self.now_ns())

    def _on_diagnostics(self, msg: DiagnosticArray) -> None:
        now_ns = self.now_ns()
        for s in msg.status:
            level = s.level[0] if isinstance(s.level, bytes) else int(s.level)
            values = {v.key: v.value for v in s.values}
            self._state.on_status(Status(s.name, level, s.message, s.hardware_id, values, now_ns))

    def _complain(self, error: Exception) -> None:
        self._unreadable += 1
        self.get_logger().warning(f"cannot be shown: {error}", throttle_duration_sec=5.0)

    def _report(self) -> Report:
        if self._server is None:
            return not_active("page")
        values = {
            "port": self._server.port,
            "pages_open": self._server.watchers,
            "pictures_hz": self._rate.rate_hz if self._server.watchers else 0.0,
            "unreadable": self._unreadable,
            "process_cpu_s": time.process_time(),
            **milliseconds("picture", self._took.spread()),
        }
        return Report("page", Level.OK, "open" if self._server.watchers else "nobody looks", values)


def _smaller(image: np.ndarray) -> np.ndarray:
    step = max(1, image.shape[1] // _FRUSTUM_PX)
    return np.ascontiguousarray(image[::step, ::step])


def _be_nice() -> None:
    """The whole process yields to the control loop (Linux: a value for each thread)."""
    if not sys.platform.startswith("linux"):
        return
    for thread in os.listdir("/proc/self/task"):
        try:
            os.setpriority(os.PRIO_PROCESS, int(thread), 10)
        except OSError:
            continue


def main() -> int:
    return run_node(ConsoleNode)


if __name__ == "__main__":
    sys.exit(main())

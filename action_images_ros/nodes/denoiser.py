"""Camera images, joint states and the instruction in, action images out.

Callbacks keep the newest of everything; one worker thread, at low priority, owns the policy.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

import numpy as np
from sensor_msgs.msg import CameraInfo, Image, JointState
from std_msgs.msg import String
from trajectory_msgs.msg import MultiDOFJointTrajectory

from ..cell import View
from ..control import FR3_HOME_Q, Fr3Kinematics, committed_ahead
from ..engines import ENGINES
from ..engines.options import EngineOptions, Precision
from ..errors import ActionImagesError, ConfigError, EngineError, ModelError, TransportError
from ..model.canvas import Mode
from ..policy import ActionImagePolicy
from ..ros import qos
from ..ros.cells import policy_cell
from ..ros.health import camera_reports
from ..ros.loop import set_thread_nice
from ..ros.main import run_node
from ..ros.managed import Ending, ManagedNode, made
from ..ros.messages import (
    JointStateReader,
    check_camera_info,
    chunk_from_message,
    image_from_message,
    image_message,
    stamp_to_ns,
    tile_actions,
)
from ..ros.messages.chunks import MAX_WIDTH_M
from ..ros.monitor import Level, RateMonitor, Report, Window, milliseconds, not_active
from ..ros.parameters import parameter
from ..ros.strikes import Strikes
from ..ros.trust import CalibrationTrust
from ..streams import MatchedSet, StateHistory, Synchroniser, fingerprint
from ..types import ActionChunk, ActionImages, RobotState, SyncedFrames

_WARM_UPS = 2
_IDLE_S = 0.5
_READY_S = 600.0
_ASK_S = 0.1
_JOIN_S = 2.0
_ENGINES = ("auto", *ENGINES)


@dataclass(frozen=True)
class DenoiserParameters:
    autostart: bool = parameter(True, "configure (load and warm up) and activate at once")
    cell: str = parameter("", "cell file: the calibrated cameras and their topics")
    model: str = parameter("", "model directory")
    engine: str = parameter("auto", "inference engine; auto takes the fastest one that is installed", choices=_ENGINES)
    precision: str = parameter("auto", "of the engine", choices=tuple(p.value for p in Precision))
    threads: int = parameter(0, "processor threads of one inference; 0: the engine's default", minimum=0, maximum=256)
    mode: str = parameter("policy", "joint also imagines the camera images", choices=("policy", "joint"))
    instruction: str = parameter("", "instruction to start with; empty: wait for the topic")
    max_rate_hz: float = parameter(0.0, "most chunks a second; 0: one after the other", minimum=0.0, maximum=50.0)
    committed_steps: int = parameter(
        2, "most action steps that a chunk takes over from what the controller has committed to; or as many as the "
        "model's continued_steps (config.json)", minimum=0, maximum=64,
    )
    max_failures: int = parameter(3, "failed chunks in a row that end the node; 0: no limit", minimum=0, maximum=1000)
    nice: int = parameter(5, "niceness of the inference, so that the control loop goes first", minimum=0, maximum=19)
    seed: int = parameter(0, "seed of the first chunk's noise; the next ones count up", minimum=0, maximum=2**31 - 1)
    wait_s: float = parameter(
        30.0, "end with an error when images or joint states are missing after so long; 0 waits for ever",
        minimum=0.0, maximum=3600.0,
    )  # fmt: skip


@dataclass(frozen=True)
class _Request:
    """Everything that one chunk is made from."""

    frames: SyncedFrames
    state: RobotState
    instruction: str
    committed: ActionChunk | None


class DenoiserNode(ManagedNode):
    def __init__(self) -> None:
        super().__init__("denoiser", DenoiserParameters)
        self._inputs: list = []
        self._worker: threading.Thread | None = None
        self._wake = threading.Condition()
        self._active = self._ending = False
        self.diagnostics.add(self._report)
        self.diagnostics.add(self._report_cameras)

    def setup(self) -> None:
        p = self.parameters
        for name in ("cell", "model"):
            if not getattr(p, name):
                raise ConfigError(f"denoiser needs the parameter `{name}`")
        self._cell = cell = policy_cell(p.cell)
        sync = cell.sync
        self._sync = Synchroniser(cell.view_names, sync.max_skew_s, sync.max_age_s, sync.max_same_picture_s)
        self._reader, self._history = JointStateReader(cell.arm.joints, cell.arm.fingers), StateHistory()
        self._kinematics = Fr3Kinematics()
        self._infos: set[str] = set()
        self._newest: MatchedSet | None = None
        self._skews = Window(200)
        self._committed: ActionChunk | None = None
        self._instruction, self._made = p.instruction.strip(), 0
        self._stages = {k: Window(200) for k in ("frame_age", "generate", "publish", "observation_to_action_images")}
        self._rate, self._doubt, self._strikes = RateMonitor(200), "", Strikes(p.max_failures)
        self._action_images = self.create_publisher(Image, "action_images", qos.TARGETS)
        self._video = self.create_publisher(Image, "predicted_video", qos.TARGETS) if p.mode == "joint" else None
        self._trust = CalibrationTrust(self)
        self._load()

    def _load(self) -> None:
        """Have the worker load and warm up, so that its threads, and only they, run at low priority."""
        ready = threading.Event()
        errors: list[BaseException] = []
        self._ending = False
        self._worker = threading.Thread(target=self._work, args=(ready, errors), name="inference", daemon=True)
        self._worker.start()
        deadline_s = time.monotonic() + _READY_S
        while not ready.wait(_ASK_S):
            if self.ending.is_set():
                raise Ending
            if time.monotonic() > deadline_s:
                raise ModelError(f"{self.parameters.model} was not ready after {_READY_S:g} s")
        if errors:
            self._worker = None
            raise errors[0]

    def start(self) -> None:
        create = self.create_subscription
        self._inputs = [
            create(JointState, "/joint_states", self._on_joint_states, qos.STATE_IN),
            create(String, "instruction", self._on_instruction, qos.LATCHED),
            create(MultiDOFJointTrajectory, "committed", self._on_committed, qos.TARGETS),
        ]
        for view in self._cell.views:
            self._inputs += [
                create(Image, view.image_topic, partial(self._on_image, view), qos.IMAGE_IN),
                create(CameraInfo, view.info_topic, partial(self._on_info, view), qos.STATE_IN),
            ]
        self.wait_for(self._missing, self.parameters.wait_s)
        self.wait_for(lambda: "" if self._instruction else "no instruction; publish one on `instruction`", 0.0)
        with self._wake:
            self._active = True

    def halt(self) -> None:
        with self._wake:
            self._active = False
        for subscription in self._inputs:
            self.destroy_subscription(subscription)
        self._inputs = []

    def teardown(self) -> None:
        with self._wake:
            self._ending = True
            self._wake.notify()
        if self._worker is not None:
            self._worker.join(_JOIN_S)
        self._worker = None

    def _missing(self) -> str:
        """What keeps the first chunk from being made, besides the instruction."""
        for view in self._cell.views:
            if not self._sync.statistics[view.name].received:
                return f"view {view.name}: no image on {view.image_topic}; start its driver or correct the cell file"
            if view.name not in self._infos:
                return f"view {view.name}: no camera_info on {view.info_topic}; have its driver publish it"
        if self._history.newest is None:
            what = self._reader.missing or f"joints {', '.join(self._cell.arm.joints)}"
            return f"no joint states with {what} on /joint_states; start the arm's driver"
        return self._sync.complaint(self.now_ns())

    def _on_info(self, view: View, msg: CameraInfo) -> None:
        try:
            check_camera_info(msg, view.name, view.camera)
        except TransportError as error:
            self.fail(error)
            return
        self._infos.add(view.name)

    def _on_image(self, view: View, msg: Image) -> None:
        found = self._sync.add(view.name, stamp_to_ns(msg.header.stamp), msg, self.now_ns(), fingerprint(msg))
        if found is not None:
            self._skews.add(found.skew_s)
            with self._wake:
                self._newest = found
                self._wake.notify()

    def _on_joint_states(self, msg: JointState) -> None:
        try:
            state = self._reader.read(msg)
        except TransportError as error:
            self.get_logger().warning(str(error), throttle_duration_sec=2.0)
            return
        if state is not None:
            self._history.add(state)

    def _on_instruction(self, msg: String) -> None:
        text = " ".join(msg.data.split())
        if text != self._instruction:
            self.get_logger().info(f"instruction: {text}" if text else "no instruction: waiting for one")
        self._instruction = text

    def _on_committed(self, msg: MultiDOFJointTrajectory) -> None:
        try:
            self._committed = chunk_from_message(msg, self._cell.arm.base_frame)
        except ActionImagesError as error:
            self.get_logger().warning(f"committed refused: {error}", throttle_duration_sec=2.0)

    def _work(self, ready: threading.Event, errors: list[Exception]) -> None:
        """The worker: load, warm up, then one chunk after the other."""
        try:
            set_thread_nice(self.parameters.nice)
            self._warm_up()
        except Exception as error:  # noqa: BLE001 - `_load` raises it where it is handled
            errors.append(error)
            return
        finally:
            ready.set()
        try:
            while (found := self._next_set()) is not None:
                self._attempt(found)
        except Exception as error:  # noqa: BLE001 - whatever ends the worker must end the node
            self.fail(error)

    def _warm_up(self) -> None:
        """The first inferences are slow; they happen here, on black images, and count for nothing."""
        p = self.parameters
        began_s = time.monotonic()
        self._policy = ActionImagePolicy.from_pretrained(
            p.model, p.engine, EngineOptions(p.threads or None, Precision.parse(p.precision))
        )
        arm = self._cell.arm
        self._policy.config.data.require(self._cell.view_names, arm.base_frame, arm.tcp_frame)
        loaded_s = time.monotonic()
        cameras = self._cell.cameras
        black = tuple(np.zeros((c.image_size[1], c.image_size[0], 3), np.uint8) for c in cameras)
        frames = SyncedFrames(self._cell.view_names, black, cameras, (0,) * len(cameras))
        state = RobotState(FR3_HOME_Q, np.zeros(7), MAX_WIDTH_M, 0)
        for _ in range(_WARM_UPS):
            last_s = time.monotonic()
            self._generate(_Request(frames, state, self._instruction or "wait", None), 0)
        now_s = time.monotonic()
        self.get_logger().info(
            f"{p.model} on {self._policy.engine}: loaded in {loaded_s - began_s:.1f} s, warm after "
            f"{now_s - loaded_s:.1f} s, {1e3 * (now_s - last_s):.0f} ms a chunk"
        )

    def _next_set(self) -> MatchedSet | None:
        """The newest set not served yet, once there is an instruction; None at the end."""
        period_s = 1.0 / self.parameters.max_rate_hz if self.parameters.max_rate_hz else 0.0
        with self._wake:
            while not self._ending:
                wait_s = period_s - self._rate.age_s(time.monotonic())
                ready = self._active and self._instruction and self._trust.ok
                if ready and self._newest is not None and wait_s <= 0:
                    found, self._newest = self._newest, None
                    return found
                self._wake.wait(min(_IDLE_S, wait_s) if wait_s > 0 else _IDLE_S)
        return None

    def _attempt(self, found: MatchedSet) -> None:
        """A chunk that the engine spoils is dropped: the arm holds at the end of the last one, the next is tried."""
        try:
            self._serve(found)
            self._strikes.success()
        except EngineError as error:
            self._doubt = self._strikes.failure(error)
            self.get_logger().warning(self._doubt)

    def _serve(self, found: MatchedSet) -> None:
        began_s, stamp_ns = time.monotonic(), min(found.stamps_ns)
        state = self._history.at(stamp_ns)
        if state is None:
            self._doubt = "no joint states around the time of the images; check the clocks of cameras and arm"
            return
        self._rate.tick(began_s)
        self._stages["frame_age"].add(1e-9 * (self.now_ns() - stamp_ns))
        images = tuple(image_from_message(msg) for msg in found.payloads)
        frames = SyncedFrames(self._sync.views, images, self._cell.cameras, found.stamps_ns)
        made = self._generate(_Request(frames, state, self._instruction, self._committed_at(stamp_ns)), self._made)
        generated_s = time.monotonic()
        self._publish(*made)
        self._made += 1
        self._doubt = ""
        self._stages["generate"].add(generated_s - began_s)
        self._stages["publish"].add(time.monotonic() - generated_s)
        self._stages["observation_to_action_images"].add(1e-9 * (self.now_ns() - stamp_ns))

    def _generate(self, r: _Request, count: int) -> tuple[ActionImages, np.ndarray | None]:
        pose = self._kinematics.fk(r.state.q)
        openness = float(np.clip(r.state.gripper_width_m / MAX_WIDTH_M, 0.0, 1.0))
        seed = self.parameters.seed + count
        if self.parameters.mode == "policy":
            return self._policy.generate(r.frames, pose, openness, r.instruction, r.committed, seed), None
        known = r.committed if r.committed is not None else ActionChunk.from_poses(np.zeros((0, 4, 4)), np.zeros(0))
        poses, opens = np.concatenate([pose[None], known.base_T_tcps]), np.concatenate([[openness], known.openness])
        result = self._policy.generate_mode(Mode.JOINT, [r.frames], poses, opens, r.instruction, seed)
        return made(result.action_images), result.video

    def _committed_at(self, stamp_ns: int) -> ActionChunk | None:
        """Targets k dt after the stamp, k = 1..., that the controller will execute in any case."""
        known, model = self._committed, self._policy.config
        most = max(self.parameters.committed_steps, model.continued_steps)
        return None if known is None else committed_ahead(known, stamp_ns, model.dt_s, most)

    def _publish(self, made: ActionImages, video: np.ndarray | None) -> None:
        self._action_images.publish(image_message(tile_actions(made.images), "rgb8", made.stamp_ns, "action_images"))
        if video is not None and self._video is not None:
            self._video.publish(image_message(tile_actions(video), "rgb8", made.stamp_ns, "predicted_video"))

    def _report(self) -> Report:
        if not self._active:
            return not_active("generate")
        complaint = self._trust.complaint or self._doubt or self._sync.complaint(self.now_ns())
        waiting = "" if self._instruction else "waiting for an instruction"
        values: dict[str, object] = {
            "instruction": self._instruction,
            "chunks": self._made,
            "chunks_hz": self._rate.rate_hz,
            "engine": self._policy.engine,
            "sets": self._sync.sets,
            "dropped": self._strikes.total,
        }
        for name, window in self._stages.items():
            values |= milliseconds(name, window.spread())
        remedy = "see the statuses of the cameras and the arm; they name what is missing"
        level = Level.WARN if complaint else Level.OK
        return Report("generate", level, complaint or waiting or "ok", values, remedy=remedy)

    def _report_cameras(self) -> Iterable[Report]:
        return camera_reports(self._cell, self._sync, self._skews, self.now_ns()) if self._active else ()


def main() -> int:
    # Idle compute threads must not spin beside a control loop; libgomp reads this when it is first loaded.
    os.environ.setdefault("GOMP_SPINCOUNT", "0")
    return run_node(DenoiserNode)


if __name__ == "__main__":
    sys.exit(main())

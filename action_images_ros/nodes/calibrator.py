"""Calibrates the cameras of a cell, live: boards seen while a person guides the arm, or while it drives by itself.

Callbacks keep the newest of everything; one worker thread owns the calibration and draws the live pictures; the
motion thread drives, in mode `propose` and only while enabled.
"""

from __future__ import annotations

import datetime
import json
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from sensor_msgs.msg import CameraInfo, Image, JointState
from std_msgs.msg import String
from std_srvs.srv import SetBool, Trigger

from ..calibration import Correction, Intrinsics, Noise, Options
from ..calibration.desk import CalibrationDesk
from ..calibration.session import CalibrationSession
from ..calibration.stillness import StillWatcher
from ..calibration.turns import Capture, Turn, Turns
from ..cell import Calibrated, Cell
from ..control import Fr3Kinematics, Workspace
from ..errors import CalibrationError, ConfigError, TransportError
from ..ros import commands, qos
from ..ros.calibration_motion import CalibrationMotion
from ..ros.calibration_rig import boards, live_rig, watched_cameras
from ..ros.jobs import Jobs
from ..ros.launch_arguments import COMMAND_INTERFACES
from ..ros.main import run_node
from ..ros.managed import ManagedNode, made
from ..ros.messages import JointStateReader, image_from_message, image_message, stamp_to_ns
from ..ros.monitor import Level, Report, not_active
from ..ros.parameters import parameter
from ..streams import MatchedSet, Synchroniser
from ..types import RobotState

_ANSWER_S = 120.0
_IDLE_S = 0.1
_JOIN_S = 5.0
_SEED = 0


@dataclass(frozen=True)
class CalibratorParameters:
    autostart: bool = parameter(True, "configure and activate at once; motion still needs the service `enable`")
    cell: str = parameter("", "cell file: fixed cameras with topic and serial number, arm, workspace")
    gripper_board: str = parameter("", "board on the gripper, e.g. charuco:6x4:45/31mm:4X4_50; empty: none")
    table_board: str = parameter("", "board on the table, e.g. charuco:7x5:45/31mm:4X4_50+20; empty: none")
    wrist: str = parameter("", "cameras on the arm: NAME=TOPIC@SERIAL, commas between several")
    arm: str = parameter("fr3", "name or serial number of the arm, kept in the result")
    mode: str = parameter("guide", "who moves the arm: a person by hand, or the node", choices=("guide", "propose"))
    capture: str = parameter("when_still", "when poses are taken", choices=tuple(c.value for c in Capture))
    poses: int = parameter(20, "poses to take", minimum=8, maximum=200)
    settle_s: float = parameter(0.6, "how long the arm must rest before a pose is taken", minimum=0.1, maximum=10.0)
    still_rad: float = parameter(0.003, "motion of a joint that ends a rest", minimum=1e-4, maximum=0.1)
    speed_rad_s: float = parameter(0.2, "of the fastest joint, when the node drives", minimum=0.02, maximum=1.0)
    command_interface: str = parameter(
        "joint_trajectory", "what the arm's controller listens to", choices=COMMAND_INTERFACES
    )
    intrinsics: str = parameter("checked", "what is done about lenses", choices=tuple(i.value for i in Intrinsics))
    joint_offsets: str = parameter("off", "correct joint offsets", choices=tuple(c.value for c in Correction))
    joint_noise_deg: float = parameter(0.05, "expected scatter of each joint reading", minimum=1e-3, maximum=2.0)
    out: str = parameter("", "folder for the result; empty: calibrations/<date> in the working directory")
    live_rate_hz: float = parameter(2.0, "live pictures a second and view", minimum=0.1, maximum=15.0)
    wait_s: float = parameter(
        30.0, "end with an error when cameras or joint states are missing after so long; 0 waits for ever",
        minimum=0.0, maximum=3600.0,
    )  # fmt: skip


class CalibratorNode(ManagedNode):
    def __init__(self) -> None:
        super().__init__("calibrator", CalibratorParameters)
        self._inputs: list = []
        self._worker: threading.Thread | None = None
        self._motion: CalibrationMotion | None = None
        self.diagnostics.add(self._report)

    def setup(self) -> None:
        p = self.parameters
        if not p.cell:
            raise ConfigError("calibrator needs the parameter `cell`: the path of a cell file")
        self._cell = cell = Cell.load(p.cell, Calibrated.OPTIONAL)
        self._cameras, self._boards = watched_cameras(cell, p.wrist), boards(p.gripper_board, p.table_board)
        if not self._boards:
            raise ConfigError("calibrator needs a board: gripper_board or table_board, e.g. charuco:6x4:45/31mm:4X4_50")
        self._arm = Fr3Kinematics()
        w = cell.workspace
        self._space = Workspace(w.box_min_m, w.box_max_m, w.keep_out_boxes_m, w.table_z_m)
        self._names = commands.Names(cell.arm.joints, cell.arm.fingers, cell.arm.base_frame)
        self._sync = Synchroniser(tuple(self._cameras), cell.sync.max_skew_s, max(cell.sync.max_age_s, 1.0))
        self._reader = JointStateReader(cell.arm.joints, cell.arm.fingers)
        self._still = StillWatcher(p.settle_s, p.still_rad)
        self._infos: dict[str, CameraInfo] = {}
        self._newest: tuple[RobotState, float] | None = None
        self._set: MatchedSet | None = None
        self._last: MatchedSet | None = None
        self._jobs = Jobs(_ANSWER_S)
        self._ending, self._note = threading.Event(), ""
        self._desk: CalibrationDesk | None = None
        self._turns = Turns(Capture(p.capture), p.poses)
        self._told = ""
        self._state: tuple | None = None
        self._live = {v: self.create_publisher(Image, f"calibrator/live/{v}", qos.IMAGE_OUT) for v in self._cameras}
        self._status = self.create_publisher(String, "calibrator/status", qos.LATCHED)
        undo = lambda: self._say(f"pose {made(self._desk).undo()} taken back")  # noqa: E731
        jobs = {"capture": self._capture_now, "undo": undo, "solve": self._solve, "save": self._save}
        for name, job in jobs.items():
            self.create_service(Trigger, f"calibrator/{name}", partial(self._serve, job))
        self.create_service(SetBool, "calibrator/enable", self._on_enable)

    def start(self) -> None:
        p, create = self.parameters, self.create_subscription
        self._inputs = [create(JointState, "/joint_states", self._on_joint_states, qos.STATE_IN)]
        for name, camera in self._cameras.items():
            self._inputs += [
                create(Image, camera.image_topic, partial(self._on_image, name), qos.IMAGE_IN),
                create(CameraInfo, camera.info_topic, partial(self._on_info, name), qos.STATE_IN),
            ]
        self.wait_for(self._missing, p.wait_s)
        if p.mode == "propose":
            self._motion = CalibrationMotion(
                self, p.command_interface, self._names, self._arm, p.speed_rad_s, lambda: self._newest, self._say
            )
        self._ending.clear()
        self._worker = threading.Thread(target=self._work, name="calibration", daemon=True)
        self._worker.start()

    def halt(self) -> None:
        if self._motion is not None:
            self._motion.stop()
        if self._worker is not None:
            self._ending.set()
            self._worker.join(_JOIN_S)
        for subscription in self._inputs:
            self.destroy_subscription(subscription)
        self._inputs, self._motion, self._worker = [], None, None

    def _missing(self) -> str:
        for name, camera in self._cameras.items():
            if not self._sync.statistics[name].received:
                return f"view {name}: no image on {camera.image_topic}; start its camera or correct the cell file"
            if name not in self._infos:
                return f"view {name}: no camera_info on {camera.info_topic}; have its driver publish it"
        if self._newest is None:
            what = self._reader.missing or f"joints {', '.join(self._names.joints)}"
            return f"no joint states with {what} on /joint_states; start the arm's driver"
        return ""

    def _on_info(self, view: str, msg: CameraInfo) -> None:
        before = self._infos.setdefault(view, msg)
        if (before.width, before.height, *before.k) != (msg.width, msg.height, *msg.k):
            topic = self._cameras[view].info_topic
            self.fail(TransportError(f"view {view}: {topic} says two different things; two cameras publish there"))

    def _on_image(self, view: str, msg: Image) -> None:
        found = self._sync.add(view, stamp_to_ns(msg.header.stamp), msg, self.now_ns())
        if found is not None:
            self._set = self._last = found

    def _on_joint_states(self, msg: JointState) -> None:
        try:
            state = self._reader.read(msg)
        except TransportError as error:
            self.get_logger().warning(str(error), throttle_duration_sec=2.0)
            return
        if state is not None:
            self._still.add(state.q, state.stamp_ns)
            self._newest = (state, time.monotonic())

    def _serve(self, job: Callable[[], str], request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        """Have the worker do it."""
        if self._desk is None:
            response.success, response.message = False, "not ready: " + (self._missing() or "starting")
        else:
            response.success, response.message = self._jobs.ask(job)
        return response

    def _on_enable(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        if self._motion is None:
            response.message = "the node drives only in mode propose; in mode guide, move the arm by hand"
        elif not request.data:
            self._motion.give_up()
            response.success, response.message = True, "stopped"
        elif self._desk is None:
            response.message = "not ready: " + (self._missing() or "starting")
        else:
            self._turns.begin()
            self._motion.enabled = True
            response.success, response.message = True, "driving slowly; calibrator/enable false stops it"
        return response

    def _work(self) -> None:
        """The worker: live pictures, captures, proposals, services."""
        try:
            while self._missing():
                if self._ending.wait(_IDLE_S):
                    return
            self._open_desk()
            drawn_s = 0.0
            while not self._ending.is_set():
                self._jobs.do()
                found, self._set = self._set, None
                if found is not None:
                    self._consider(found)
                    if time.monotonic() - drawn_s >= 1.0 / self.parameters.live_rate_hz:
                        drawn_s = time.monotonic()
                        self._draw(found)
                self._next_motion()
                self._tell()
                self._ending.wait(0.02 if found is not None else _IDLE_S)
        except Exception as error:  # noqa: BLE001 - whatever ends the worker must end the node
            self.fail(error)

    def _open_desk(self) -> None:
        p = self.parameters
        rig = live_rig(self._cell, self._cameras, self._infos, self._boards, p.arm)
        box = self._cell.workspace
        x, y, z = (float(v) for v in np.mean([box.box_min_m, box.box_max_m], axis=0))
        noise, fixes = Noise(joint_sd_deg=p.joint_noise_deg), Correction(p.joint_offsets)
        options = Options(Intrinsics(p.intrinsics), fixes, noise=noise, workspace_m=(x, y, z))
        session = CalibrationSession(rig, self._arm, box, options, clear=self._clear)
        folder = Path(p.out) if p.out else Path("calibrations") / f"{datetime.datetime.now():%Y%m%d-%H%M%S}"
        self._rng = np.random.default_rng(_SEED)
        self._desk = CalibrationDesk(session, p.poses, folder)
        begin = "guide the arm; each rest is a pose" if p.mode == "guide" else "put a board in view, then enable"
        self._say(f"cameras {', '.join(self._cameras)}; boards {', '.join(self._boards)}; {begin}")

    def _clear(self, q: np.ndarray) -> np.ndarray:
        """Which of q (N, 7) keep the forearm out of table and keep-out boxes."""
        return np.array([not self._space.arm_violation(self._arm.joint_origins(row)[None]) for row in q], bool)

    def _consider(self, found: MatchedSet) -> None:
        """Take a pose where this set shows a rest that has not been tried."""
        motion = self._motion
        if motion is not None and (motion.busy or not motion.enabled) or made(self._desk).result is not None:
            return
        if self._turns.at(self._still.rest_ns) is Turn.TAKE and all(map(self._still.shows_rest, found.stamps_ns)):
            self._say(self._take(found)[1])

    def _take(self, found: MatchedSet) -> tuple[bool, str]:
        reading, rest_ns = self._still.reading, self._still.rest_ns
        if reading is None:
            return False, "not taken: the arm has just moved"
        images = {v: image_from_message(m).copy() for v, m in zip(self._sync.views, found.payloads)}
        taken = made(self._desk).take(images, reading, np.zeros(7), round(np.mean(found.stamps_ns)))
        self._turns.tried(rest_ns, taken.accepted)
        desk = made(self._desk)
        text = f"pose {len(desk.session.samples)} of {desk.wanted}: seen by {', '.join(taken.sees)}"
        return taken.accepted, text if taken.accepted else f"not taken: {taken.reason}"

    def _capture_now(self) -> str:
        """From the newest set, if it shows the arm at rest."""
        found = self._last
        if found is None or not all(self._still.shows_rest(t) for t in found.stamps_ns):
            raise CalibrationError(f"the arm has not rested for {self.parameters.settle_s:g} s in the newest pictures")
        accepted, text = self._take(found)
        if not accepted:
            raise CalibrationError(text)
        return self._say(text)

    def _solve(self) -> str:
        if self._motion is not None:
            self._motion.give_up()
        result = made(self._desk).solve()
        parts = [
            f"{name} +-{v.workspace_sd_mm:.2f} mm, left out {v.held_out_mm[0]:.2f} mm {v.held_out_deg[0]:.2f} deg, "
            f"reprojection {v.reproj_rms_px:.2f} px"
            for name, v in result.views.items()
        ]
        return self._say(f"solved from {result.poses} poses, {len(result.outliers)} outliers: {'; '.join(parts)}")

    def _save(self) -> str:
        date = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
        return self._say("wrote " + ", ".join(str(f) for f in made(self._desk).save(date, self._cell)))

    def _next_motion(self) -> None:
        """In mode propose, when a rest has been tried: the next pose, or the end."""
        motion, desk = self._motion, made(self._desk)
        if motion is None or not motion.enabled or motion.busy or self._turns.at(self._still.rest_ns) is not Turn.GO_ON:
            return
        try:
            if desk.enough:
                self._solve()
                return
            if self._turns.in_vain(len(desk.session.samples)):
                raise CalibrationError("too many poses told nothing new; put the boards better in view, then enable")
            proposal = desk.session.propose(made(self._newest)[0].q, self._rng)
        except CalibrationError as error:
            motion.give_up()
            self._say(f"stopped: {error}")
            return
        motion.go(proposal.q)
        self._say(f"going to the next pose: {proposal.why}")

    def _draw(self, found: MatchedSet) -> None:
        """Live pictures, for those who look."""
        for view, msg in zip(self._sync.views, found.payloads):
            if self._live[view].get_subscription_count():
                image = image_from_message(msg)
                picture = made(self._desk).picture(view, image, made(self._desk).look(image), self._note)
                self._live[view].publish(image_message(picture, "rgb8", stamp_to_ns(msg.header.stamp), view))

    def _say(self, text: str) -> str:
        if text != self._note:
            self.get_logger().info(text)
        self._note = text
        return text

    def _tell(self) -> None:
        """Publish the status when it has changed."""
        desk, enabled = made(self._desk), self._motion is not None and self._motion.enabled
        state = (len(desk.session.samples), self._note, enabled, desk.result)
        if state != self._state:
            self._state = state
            status = {"mode": self.parameters.mode, "driving": enabled, "note": self._note, **desk.status()}
            self._told = json.dumps(status)
            self._status.publish(String(data=self._told))

    def _report(self) -> Report:
        if self._worker is None:
            return not_active("calibration")
        complaint = self._missing()
        if complaint or not self._told:
            return Report("calibration", Level.WARN, complaint or "starting", {}, remedy="start what is missing")
        status = json.loads(self._told)
        values = {"poses": status["poses"], "wanted": status["wanted"], "missing": "; ".join(status["missing"])}
        for view, row in status["views"].items():
            values |= {f"{view}_{k}": v for k, v in row.items()}
        return Report("calibration", Level.OK, self._note, values)


def main() -> int:
    return run_node(CalibratorNode)


if __name__ == "__main__":
    sys.exit(main())

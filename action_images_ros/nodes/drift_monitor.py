"""Watches in normal operation whether a fixed camera was knocked, by the arm's outline in its pictures.

A process of its own, at low priority: nothing here may delay the control loop. It says `calibration_ok`; where that
is false the denoiser makes no chunks, and the controller holds.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import threading
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import Bool, String
from std_srvs.srv import Trigger

from ..calibration.drift import DriftConfig, DriftMonitor, DriftState, DriftStatus
from ..calibration.robot_model import RobotModel
from ..cell import Cell
from ..errors import ConfigError, TransportError
from ..ros import qos
from ..ros.main import run_node
from ..ros.managed import ManagedNode
from ..ros.messages import JointStateReader, image_from_message, stamp_to_ns
from ..ros.monitor import Level, Report, not_active
from ..ros.parameters import parameter
from ..streams import StateHistory

_IDLE_S = 0.2
_JOIN_S = 5.0
_LEVELS = {
    DriftStatus.LEARNING: Level.OK,
    DriftStatus.BLIND: Level.WARN,
    DriftStatus.STEADY: Level.OK,
    DriftStatus.MOVED: Level.ERROR,
}

_NOTHING = DriftState(DriftStatus.LEARNING, np.zeros(6), np.zeros((6, 6)), "no picture of a moving arm yet")


@dataclass(frozen=True)
class DriftMonitorParameters:
    autostart: bool = parameter(True, "configure and activate at once")
    cell: str = parameter("", "cell file: the calibrated cameras")
    robot: str = parameter("", "URDF of the arm with collision meshes (STL); empty: the FR3 of the package franky_sim")
    rate_hz: float = parameter(1.0, "pictures a second and view that are looked at", minimum=0.1, maximum=10.0)
    limit_mm: float = parameter(5.0, "displacement of a camera that is an alarm", minimum=0.5, maximum=100.0)
    limit_deg: float = parameter(0.5, "turn of a camera that is an alarm", minimum=0.05, maximum=20.0)
    on_alarm: str = parameter("hold", "hold: no more chunks until reset; warn: only say so", choices=("hold", "warn"))
    nice: int = parameter(10, "niceness of this process", minimum=0, maximum=19)


class DriftMonitorNode(ManagedNode):
    def __init__(self) -> None:
        super().__init__("drift_monitor", DriftMonitorParameters)
        self._inputs: list = []
        self._worker: threading.Thread | None = None
        self.diagnostics.add(self._report)

    def setup(self) -> None:
        p = self.parameters
        if not p.cell:
            raise ConfigError("drift_monitor needs the parameter `cell`: the path of a cell file")
        self._cell = cell = Cell.load(p.cell)
        self._robot = RobotModel.from_urdf(p.robot or fr3_urdf(), cell.arm.joints, cell.arm.base_frame)
        self._reader, self._history = JointStateReader(cell.arm.joints, cell.arm.fingers), StateHistory()
        self._lock, self._wake = threading.Lock(), threading.Event()
        self._pending: dict[str, Image] = {}
        self._looked_ns: dict[str, int] = dict.fromkeys(cell.view_names, 0)
        self._ok = self.create_publisher(Bool, "calibration_ok", qos.LATCHED)
        self._drift = self.create_publisher(String, "drift_monitor/state", qos.LATCHED)
        self.create_service(Trigger, "drift_monitor/reset", self._on_reset)
        self._begin()

    def _begin(self) -> None:
        """Learn the outlines anew; no alarm."""
        p, box = self.parameters, self._cell.workspace
        middle = np.array([0.5 * (a + b) for a, b in zip(box.box_min_m, box.box_max_m)])
        config = DriftConfig(knock_mm=p.limit_mm, knock_deg=p.limit_deg)
        self._monitors = {v.name: DriftMonitor(v.name, v.camera, self._robot, middle, config) for v in self._cell.views}
        self._states: dict[str, DriftState] = {}
        self._pictures = 0
        self._alarms: dict[str, str] = {}

    def start(self) -> None:
        os.setpriority(os.PRIO_PROCESS, 0, self.parameters.nice)
        create = self.create_subscription
        self._inputs = [create(JointState, "/joint_states", self._on_joint_states, qos.STATE_IN)]
        for view in self._cell.views:
            self._inputs.append(create(Image, view.image_topic, partial(self._on_image, view.name), qos.IMAGE_IN))
        self._ending = threading.Event()
        self._worker = threading.Thread(target=self._work, name="drift", daemon=True)
        self._worker.start()
        self._say()
        self.get_logger().info(
            f"watching {', '.join(self._cell.view_names)}: alarm at {self.parameters.limit_mm:g} mm or "
            f"{self.parameters.limit_deg:g} deg"
        )

    def halt(self) -> None:
        if self._worker is not None:
            self._ending.set()
            self._worker.join(_JOIN_S)
        for subscription in self._inputs:
            self.destroy_subscription(subscription)
        self._inputs, self._worker = [], None

    def _on_joint_states(self, msg: JointState) -> None:
        try:
            state = self._reader.read(msg)
        except TransportError as error:
            self.get_logger().warning(str(error), throttle_duration_sec=5.0)
            return
        if state is not None:
            self._history.add(state)

    def _on_image(self, view: str, msg: Image) -> None:
        stamp_ns = stamp_to_ns(msg.header.stamp)
        if stamp_ns - self._looked_ns[view] >= 1e9 / self.parameters.rate_hz:
            self._looked_ns[view] = stamp_ns
            self._pending[view] = msg
            self._wake.set()

    def _work(self) -> None:
        try:
            while not self._ending.is_set():
                self._wake.wait(_IDLE_S)
                self._wake.clear()
                for view, msg in list(self._pending.items()):
                    newest = self._history.newest
                    if newest is not None and newest.stamp_ns >= stamp_to_ns(msg.header.stamp):
                        if self._pending.get(view) is msg:
                            del self._pending[view]
                        self._look(view, msg)
        except Exception as error:  # noqa: BLE001 - whatever ends the worker must end the node
            self.fail(error)

    def _look(self, view: str, msg: Image) -> None:
        stamp_ns = stamp_to_ns(msg.header.stamp)
        state = self._history.at(stamp_ns)
        self._pictures += 1
        if state is None:
            return
        with self._lock:
            found = self._monitors[view].add(image_from_message(msg), state.q, stamp_ns, state.dq)
            self._states[view] = found or self._states.get(view) or _NOTHING
            if found is not None and found.status is DriftStatus.MOVED and view not in self._alarms:
                self._alarms[view] = found.text
                self.get_logger().error(found.text)
            self._say()

    def _say(self) -> None:
        """Publish where every camera stands, and whether the calibration holds."""
        hold = bool(self._alarms) and self.parameters.on_alarm == "hold"
        self._ok.publish(Bool(data=not hold))
        views = {
            view: {
                "status": s.status.value,
                "moved_mm": round(s.translation_mm, 2),
                "turned_deg": round(s.rotation_deg, 3),
                "text": s.text,
            }
            for view, s in self._states.items()
        }
        state = {"ok": not hold, "pictures": self._pictures, "alarms": self._alarms, "views": views}
        self._drift.publish(String(data=json.dumps(state)))

    def _on_reset(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        """After the camera was put back or found in place."""
        with self._lock:
            self._begin()
            self._say()
        response.success, response.message = True, "no alarm; learning where the arm's outline is"
        return response

    def _report(self) -> Report:
        if self._worker is None:
            return not_active("drift")
        with self._lock:
            states, alarms = dict(self._states), dict(self._alarms)
        values: dict[str, object] = {}
        for view, s in states.items():
            values |= {f"{view}_status": s.status.value, f"{view}_moved_mm": s.translation_mm}
            values[f"{view}_turned_deg"] = s.rotation_deg
        level = max([Level.OK, *(_LEVELS[s.status] for s in states.values())])
        texts = list(alarms.values()) or [s.text for s in states.values()] or ["no picture of a moving arm yet"]
        remedy = "put the camera back, or calibrate anew; then call drift_monitor/reset"
        return Report("drift", Level.ERROR if alarms else level, "; ".join(texts), values, remedy=remedy)


def fr3_urdf() -> Path:
    """The FR3 of the package franky_sim. Raises ConfigError where it is not installed."""
    spec = importlib.util.find_spec("franky_sim")
    folders = list(spec.submodule_search_locations or []) if spec is not None else []
    path = Path(folders[0]) / "assets" / "fr3.urdf" if folders else None
    if path is None or not path.is_file():
        raise ConfigError(
            "drift_monitor needs the arm's shape: give the parameter `robot` (a URDF with collision meshes), or "
            "install the FR3's (pip install franky-sim), or start without it (drift_monitor:=false)"
        )
    return path


def main() -> int:
    return run_node(DriftMonitorNode)


if __name__ == "__main__":
    sys.exit(main())

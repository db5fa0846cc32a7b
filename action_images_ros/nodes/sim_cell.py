"""The simulated cell as a real one looks from outside: cameras, joint states, command topics.

It moves only by its command topics, or only by libfranka's protocol, and knows nothing of the policy. Three threads:
callbacks, physics with joint states in real time, and rendering, which never delays the other two.
"""

from __future__ import annotations

import json
import math
import queue
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from sensor_msgs.msg import CameraInfo, Image, JointState
from std_msgs.msg import Float64MultiArray, String
from std_srvs.srv import Trigger

from ..cell import Calibrated, Cell
from ..control import Fr3Kinematics
from ..errors import ActionImagesError, SimError
from ..ros import commands, qos
from ..ros.loop import DeadlineLoop
from ..ros.main import run_node
from ..ros.managed import ManagedNode, made
from ..ros.messages import camera_info_message, image_message, joint_state_message
from ..ros.monitor import Level, RateMonitor, Report, Window, milliseconds, not_active
from ..ros.parameters import parameter
from ..ros.setpoint import JointSetpoint
from ..ros.sim_commands import SimCommands
from ..ros.sim_faults import SimFaults
from ..ros.sim_rendering import Exposure, RenderThread, SensorNoise
from ..ros.sim_stage import CalibrationStage, PolicyStage, Stage
from ..sim import fci
from ..sim.scene import Scene
from ..sim.tasks import Judge, Outcome, Verdict, make_task

_TIMESTEP_S = 0.002
_MAX_BEHIND_S = 0.1
_VERDICT_PERIOD_S = 0.5
_THINGS_PERIOD_S = 0.1
_RESET_TIMEOUT_S = 5.0
_SETTLE_S = 0.5
_REAL_TIME = 0.95


@dataclass(frozen=True)
class SimCellParameters:
    autostart: bool = parameter(True, "configure and activate at once")
    cell: str = parameter("", "cell file; the simulated cameras are put where it says they are")
    calibration_scene: str = parameter(
        "", "file with true cameras, lenses and boards, to calibrate in; the cell file then tells only the arm's names"
    )
    arm_address: str = parameter(
        "",
        "loopback address on which libfranka's protocol is served; the arm then moves by nothing else, and its joint "
        "states are the client's",
    )
    task: str = parameter("reach_target", "task of which scenes are drawn and judged")
    split: str = parameter("test", "scenes of training or of test", choices=("train", "test"))
    seed: int = parameter(0, "seed of the scenes", minimum=0, maximum=2**31 - 1)
    camera_rate_hz: float = parameter(10.0, "images a second of every view", minimum=0.5, maximum=60.0)
    noise_sd: float = parameter(1.0, "sensor noise of the images, grey levels", minimum=0.0, maximum=50.0)
    state_rate_hz: float = parameter(100.0, "joint states a second", minimum=20.0, maximum=500.0)
    priority: int = parameter(
        5,
        "SCHED_FIFO priority of the physics, where the system allows it; 0 does not ask",
        minimum=0,
        maximum=90,
    )
    timeout_s: float = parameter(
        60.0, "simulated seconds after which an episode has failed", minimum=1.0, maximum=3600.0
    )


class SimCellNode(ManagedNode):
    def __init__(self) -> None:
        super().__init__("sim_cell", SimCellParameters)
        self._loop: DeadlineLoop | None = None
        self._renderer: RenderThread | None = None
        self._inbox: queue.SimpleQueue = queue.SimpleQueue()
        self._episode, self._verdict = -1, Verdict(Outcome.PENDING)
        self._judge: Judge | None = None
        self._settling: tuple[float, threading.Event] | None = None
        self._served: fci.ServedArm | None = None
        self.diagnostics.add(self._report)

    def setup(self) -> None:
        p = self.parameters
        if not p.cell:
            raise SimError("sim_cell needs the parameter `cell`: the path of a cell file")
        self._task = make_task(p.task)
        if p.calibration_scene:
            self._cell_file = Cell.load(p.cell, Calibrated.OPTIONAL)
            self._stage: Stage = CalibrationStage(p.calibration_scene, self._task, p.seed)
        else:
            self._cell_file = Cell.load(p.cell)
            self._stage = PolicyStage(self._cell_file, self._task, p.split, p.seed, p.cell)
        self._sim = self._stage.physics()
        self._scene = self._stage.draw(0, self._sim)
        self._sim.reset(self._scene)
        self._setpoint, self._kinematics = JointSetpoint(self._sim.q), Fr3Kinematics()
        arm = self._cell_file.arm
        self._names = commands.Names(arm.joints, arm.fingers, arm.base_frame)
        self._faults = SimFaults(self, self._kinematics.limits)
        self._advertise()
        if p.arm_address:
            self._served = fci.serve(self._sim, p.arm_address)
        else:
            SimCommands(
                self, self._names, self._kinematics, self._setpoint, self._sim.set_gripper_target, self._command
            )
        self.create_service(Trigger, "sim_cell/reset_scene", self._on_reset)

    def _advertise(self) -> None:
        views = self._stage.views.values()
        self._images = {v.name: self.create_publisher(Image, v.image_topic, qos.IMAGE_OUT) for v in views}
        self._infos = {v.name: self.create_publisher(CameraInfo, v.info_topic, qos.STATE) for v in views}
        self._states = self.create_publisher(JointState, "/joint_states", qos.STATE)
        self._verdicts = self.create_publisher(String, "sim_cell/verdict", qos.LATCHED)
        self._things = self.create_publisher(Float64MultiArray, "sim_cell/things", qos.STATE)

    def _command(self, act: Callable[[float], None]) -> None:
        """Do it in the physics thread at the instant of its arrival; not while a new scene is being set up, when
        commands are for the old one."""
        if self._faults.hears:
            self._inbox.put((time.monotonic(), lambda at_s: act(at_s) if self._settling is None else None))

    def start(self) -> None:
        p = self.parameters
        self._began_s = self._next_exposure_s = time.monotonic()
        self._simulated_s, self._lost_s, self._verdict_s, self._things_s = 0.0, 0.0, 0.0, 0.0
        self._arrived: deque[tuple[float, Callable[[float], None]]] = deque()
        self._rates = {"joint_states": RateMonitor(), "images": RateMonitor(200)}
        self._rendering, self._dropped = Window(200), 0
        self._noise = SensorNoise(p.noise_sd, p.seed)
        self._renderer = RenderThread(self._stage.mirror, self._publish_view, self._rendered, self.fail)
        period_s, work = (1.0 / p.state_rate_hz, self._tick) if self._served is None else (fci.CYCLE_S, self._cycle)
        self._cycles = 0
        self._loop = DeadlineLoop("physics", period_s, work, self.fail, p.priority)
        self._loop.start()
        self._renderer.start()
        self.get_logger().info(
            f"cell {self._cell_file.name}: {p.task}, views {', '.join(self._stage.views)}, "
            f"{p.camera_rate_hz:g} images/s, {p.state_rate_hz:g} joint states/s"
        )

    def halt(self) -> None:
        if self._loop is not None:
            self._loop.stop()
        if self._renderer is not None:
            self._renderer.stop()
        self._loop = self._renderer = None

    def teardown(self) -> None:
        if self._served is not None:
            self._served.close()
        self._served = None

    def _cycle(self, now_s: float) -> None:
        """One millisecond of the robot; the cell's other business comes round with the joint states."""
        made(self._served).cycle()
        self._simulated_s += fci.CYCLE_S
        self._cycles += 1
        if self._cycles % round(1.0 / (fci.CYCLE_S * self.parameters.state_rate_hz)) == 0:
            self._tick(now_s)

    def _tick(self, now_s: float) -> None:
        """One period of physics: commands, time, joint states, exposure, verdict."""
        while not self._inbox.empty():
            self._arrived.append(self._inbox.get())
        if self._served is None:
            self._advance(now_s)
        else:
            self._obey(now_s)
        stamp_ns = self.now_ns()
        if self._served is None and self._faults.joint_states:
            state = self._faults.told(self._stage.reported(self._sim.robot_state(stamp_ns)))
            self._states.publish(joint_state_message(state, self._names.fingers))
            self._rates["joint_states"].tick(now_s)
        self._faults.publish()
        if now_s >= self._next_exposure_s:
            period_s = 1.0 / self.parameters.camera_rate_hz
            self._next_exposure_s += period_s * max(1, math.ceil((now_s - self._next_exposure_s) / period_s))
            self._dropped += not made(self._renderer).expose(Exposure(self._scene, self._sim.snapshot(), stamp_ns))
        if self._settling is not None and now_s >= self._settling[0]:
            self._settling[1].set()
            self._settling = None
        if self._judge is not None:
            self._judge_now(now_s)
        if now_s - self._things_s >= _THINGS_PERIOD_S and self._things.get_subscription_count():
            self._things_s = now_s
            row = [float(self._episode), *self._sim.thing_states().ravel()]
            self._things.publish(Float64MultiArray(data=row))

    def _advance(self, now_s: float) -> None:
        """Bring simulated time to real time; what is more than 0.1 s behind is given up and reported."""
        behind_s = now_s - self._began_s - self._lost_s - self._simulated_s
        if behind_s > _MAX_BEHIND_S:
            self._lost_s += behind_s - _MAX_BEHIND_S
            behind_s = _MAX_BEHIND_S
        ros_s, steps = 1e-9 * self.now_ns(), int(behind_s / _TIMESTEP_S)
        for k in range(steps):
            at_s = now_s - behind_s + k * _TIMESTEP_S
            self._obey(at_s)
            held = self._faults.held(self._sim.q)
            if held is not None:
                self._setpoint.jump(held, at_s)
            try:
                self._sim.set_joint_target(self._setpoint.at(at_s))
            except SimError as error:
                self._setpoint.jump(self._sim.q, at_s)
                self.get_logger().warning(f"refused: {error}", throttle_duration_sec=1.0)
            self._sim.step(_TIMESTEP_S)
            self._simulated_s += _TIMESTEP_S
            if self._faults.due(self._simulated_s):
                self._faults.witness(ros_s + at_s - now_s, self._simulated_s, self._sim.robot_state(0))

    def _obey(self, at_s: float) -> None:
        """Take the commands that have arrived until then."""
        while self._arrived and self._arrived[0][0] <= at_s:
            arrived_s, act = self._arrived.popleft()
            try:
                act(max(arrived_s, at_s - _TIMESTEP_S))
            except ActionImagesError as error:
                self.get_logger().warning(f"refused: {error}", throttle_duration_sec=1.0)

    def _judge_now(self, now_s: float) -> None:
        before = self._verdict.outcome
        self._verdict = made(self._judge).update(self._sim.time_s, self._sim)
        if self._verdict.outcome is not before or now_s - self._verdict_s >= _VERDICT_PERIOD_S:
            self._verdict_s = now_s
            if before is Outcome.PENDING:
                self._publish_verdict()

    def _publish_verdict(self) -> None:
        verdict = {
            "episode": self._episode,
            "task": self.parameters.task,
            "outcome": self._verdict.outcome.value,
            "reason": self._verdict.reason,
            "time_s": round(self._sim.time_s, 3),
            "real_time_factor": round(self._real_time_factor(), 3),
        }
        self._verdicts.publish(String(data=json.dumps(verdict)))

    def _real_time_factor(self) -> float:
        elapsed = time.monotonic() - self._began_s
        return self._simulated_s / elapsed if elapsed > 0.5 else 1.0

    def _on_reset(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        """Next episode: the scene is drawn here, put in place between two physics periods."""
        if self._loop is None:
            response.success, response.message = False, "sim_cell is not active"
            return response
        if not self._stage.episodes:
            response.success, response.message = False, "a calibration scene has no episodes"
            return response
        try:
            scene = self._stage.draw(self._episode + 1, self._sim)
        except ActionImagesError as error:
            response.success, response.message = False, str(error)
            return response
        done = threading.Event()
        self._inbox.put((0.0, lambda now_s: self._apply(scene, now_s, done)))
        response.success = done.wait(_RESET_TIMEOUT_S)
        response.message = json.dumps(
            {
                "episode": self._episode,
                "task": self.parameters.task,
                "instruction": scene.instruction,
                "wrong_instructions": list(scene.wrong_instructions),
                "q_start": [float(x) for x in scene.q_start],
            }
        )
        return response

    def _apply(self, scene: Scene, now_s: float, done: threading.Event) -> None:
        self._scene = scene
        if self._served is None:
            self._sim.reset(scene)
        else:
            self._sim.change_scene(scene)
        self._setpoint.jump(self._sim.q, now_s)
        self._episode += 1
        self._judge = self._task.judge(scene, self.parameters.timeout_s)
        self._verdict = Verdict(Outcome.PENDING)
        self._publish_verdict()
        # Only a simulated arm can jump: until the others have seen it, nobody's commands are for this scene.
        self._settling = (now_s + _SETTLE_S, done)

    def _publish_view(self, view: str, image: np.ndarray, stamp_ns: int) -> None:
        if not self._faults.images:
            return
        spec = self._stage.views[view]
        image = self._noise.add(image)
        self._images[view].publish(image_message(image, "rgb8", stamp_ns, spec.frame_id))
        self._infos[view].publish(camera_info_message(spec.camera, stamp_ns, spec.frame_id))

    def _rendered(self, now_s: float, took_s: float) -> None:
        self._rates["images"].tick(now_s)
        self._rendering.add(took_s)

    def _report(self) -> Report:
        if self._loop is None:
            return not_active("cell")
        factor = self._real_time_factor()
        values = {
            "real_time_factor": factor,
            "lost_s": self._lost_s,
            "images_dropped": self._dropped,
            **{f"{k}_hz": r.rate_hz for k, r in self._rates.items()},
            **milliseconds("render", self._rendering.spread()),
            **milliseconds("period_error", self._loop.period_errors()),
        }
        slow = factor < _REAL_TIME
        return Report(
            "cell", Level.WARN if slow else Level.OK, "slower than real time" if slow else "in real time", values,
            {"real_time_factor": f">= {_REAL_TIME}"},
            "close other programs, or lower camera_rate_hz; everything else goes by the same slow clock",
        )  # fmt: skip


def main() -> int:
    return run_node(SimCellNode)


if __name__ == "__main__":
    sys.exit(main())

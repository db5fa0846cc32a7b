"""The scripted expert of the simulated cell, as a node: it shows how a task is done, through the same controller.

It knows the scene, as no policy does: it draws the scene of the cell's episode again from the same seed, and is told
where things have got to.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass

import numpy as np
from rclpy.timer import Timer
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray, String
from trajectory_msgs.msg import MultiDOFJointTrajectory

from ..cell import Cell
from ..control import Fr3Kinematics
from ..errors import ConfigError, TransportError
from ..ros import qos
from ..ros.main import run_node
from ..ros.managed import ManagedNode
from ..ros.messages import JointStateReader, chunk_message
from ..ros.messages.chunks import MAX_WIDTH_M
from ..ros.monitor import Level, Report, not_active
from ..ros.parameters import parameter
from ..ros.sim_stage import PolicyStage
from ..sim.expert import Expert
from ..sim.props import STATE_SIZE
from ..sim.tasks import make_task
from ..types import RobotState

SOURCE = "expert"


@dataclass(frozen=True)
class ExpertParameters:
    autostart: bool = parameter(True, "configure and activate at once")
    cell: str = parameter("", "cell file, the same as sim_cell's")
    task: str = parameter("reach_target", "the same as sim_cell's")
    split: str = parameter("test", "the same as sim_cell's", choices=("train", "test"))
    seed: int = parameter(0, "the same as sim_cell's", minimum=0, maximum=2**31 - 1)
    dt_s: float = parameter(0.4, "spacing of the targets", minimum=0.05, maximum=5.0)
    chunk_size: int = parameter(9, "targets of a chunk, the present pose included", minimum=2, maximum=200)
    rate_hz: float = parameter(2.5, "chunks a second", minimum=0.1, maximum=50.0)


class ExpertNode(ManagedNode):
    def __init__(self) -> None:
        super().__init__("expert", ExpertParameters)
        self._inputs: list = []
        self._beat: Timer | None = None
        self._expert: Expert | None = None
        self._state: RobotState | None = None
        self._episode, self._sent, self._seen = -1, 0, False
        self.diagnostics.add(self._report)

    def setup(self) -> None:
        p = self.parameters
        if not p.cell:
            raise ConfigError("expert needs the parameter `cell`: the path of a cell file")
        self._cell, task = Cell.load(p.cell), make_task(p.task)
        self._task, self._stage = task, PolicyStage(self._cell, task, p.split, p.seed, p.cell)
        self._sim, self._kinematics = self._stage.physics(), Fr3Kinematics()
        self._reader = JointStateReader(self._cell.arm.joints, self._cell.arm.fingers)
        self._targets = self.create_publisher(MultiDOFJointTrajectory, "targets", qos.TARGETS)
        self._source = self.create_publisher(String, "control_source", qos.LATCHED)

    def start(self) -> None:
        self._source.publish(String(data=SOURCE))
        self._inputs = [
            self.create_subscription(JointState, "/joint_states", self._on_joint_states, qos.STATE_IN),
            self.create_subscription(String, "sim_cell/verdict", self._on_verdict, qos.LATCHED),
            self.create_subscription(Float64MultiArray, "sim_cell/things", self._on_things, qos.STATE),
        ]
        self._beat = self.create_timer(1.0 / self.parameters.rate_hz, self._show)

    def halt(self) -> None:
        if self._beat is not None:
            self.destroy_timer(self._beat)
        for subscription in self._inputs:
            self.destroy_subscription(subscription)
        self._beat, self._inputs, self._expert = None, [], None

    def _on_joint_states(self, msg: JointState) -> None:
        try:
            self._state = self._reader.read(msg) or self._state
        except TransportError as error:
            self.get_logger().warning(str(error), throttle_duration_sec=2.0)

    def _on_verdict(self, msg: String) -> None:
        verdict = json.loads(msg.data)
        if verdict["outcome"] != "pending":
            self._expert = None
        elif verdict["episode"] != self._episode:
            self._episode, self._seen = verdict["episode"], False
            self._expert = self._task.expert(self._stage.draw(self._episode, self._sim))

    def _on_things(self, msg: Float64MultiArray) -> None:
        if self._expert is not None and msg.data[0] == self._episode:
            self._expert = self._expert.seeing(np.array(msg.data[1:]).reshape(-1, STATE_SIZE))
            self._seen = True

    def _show(self) -> None:
        if self._expert is None or self._state is None or not self._seen:
            return
        p, openness = self.parameters, float(np.clip(self._state.gripper_width_m / MAX_WIDTH_M, 0.0, 1.0))
        chunk = self._expert.chunk(self._kinematics.fk(self._state.q), openness, p.chunk_size, p.dt_s)
        self._targets.publish(chunk_message(chunk.stamped(self._state.stamp_ns, p.dt_s), self._cell.arm.base_frame))
        self._sent += 1

    def _report(self) -> Report:
        if self._beat is None:
            return not_active("show")
        doing = "shows" if self._expert is not None else "rests"
        return Report("show", Level.OK, doing, {"episode": self._episode, "chunks": self._sent})


def main() -> int:
    return run_node(ExpertNode)


if __name__ == "__main__":
    sys.exit(main())

"""What can go wrong in the simulated cell when somebody asks for it, and what an onlooker with a stop watch sees."""

from __future__ import annotations

from enum import Enum

import numpy as np
from std_msgs.msg import Float64MultiArray, String

from ..control import JointLimits
from ..errors import SimError, one_of
from ..types import RobotState
from . import qos

FAULT_TOPIC = "sim_cell/fault"
TRUTH_TOPIC = "sim_cell/truth"
TRUTH_COLUMNS = 16
TRUTH_PERIOD_S = 0.01
_JOINT, _FROM_END_RAD = 5, 0.004


class SimFault(Enum):
    """NO_IMAGES: cameras deliver nothing. NO_JOINT_STATES: the arm's driver is mute. BLOCKED: something holds the arm
    where it is. JOINT_AT_END: joint 6 is said to be at the end of its range. SPLIT: neither side of the network
    hears the other."""

    NONE = "none"
    NO_IMAGES = "no_images"
    NO_JOINT_STATES = "no_joint_states"
    BLOCKED = "blocked"
    JOINT_AT_END = "joint_at_end"
    SPLIT = "split"


class SimFaults:
    """Listens on FAULT_TOPIC; publishes the arm's true motion on TRUTH_TOPIC while somebody listens there.

    One row of truth a 10 ms of simulated time, several rows a message: ROS time (s), simulated time (s), q (7,), dq
    (7,). It is an onlooker's, no part of a robot: faults do not touch it.
    """

    def __init__(self, node, limits: JointLimits) -> None:
        self.fault = SimFault.NONE
        self._limits, self._node = limits, node
        self._held: np.ndarray | None = None
        self._rows: list[float] = []
        self._next_s = 0.0
        self._truth = node.create_publisher(Float64MultiArray, TRUTH_TOPIC, qos.TRUTH)
        node.create_subscription(String, FAULT_TOPIC, self._on_fault, qos.LATCHED)

    def _on_fault(self, msg: String) -> None:
        try:
            one_of("fault", msg.data, [f.value for f in SimFault], SimError)
        except SimError as error:
            self._node.get_logger().warning(str(error))
            return
        self.fault = SimFault(msg.data)
        self._node.get_logger().info(f"fault: {msg.data}")

    @property
    def images(self) -> bool:
        return self.fault not in (SimFault.NO_IMAGES, SimFault.SPLIT)

    @property
    def joint_states(self) -> bool:
        return self.fault not in (SimFault.NO_JOINT_STATES, SimFault.SPLIT)

    @property
    def hears(self) -> bool:
        """Whether commands arrive."""
        return self.fault is not SimFault.SPLIT

    def held(self, q: np.ndarray) -> np.ndarray | None:
        """Where the arm is held, (7,) rad, or None. q: where it is now."""
        if self.fault is not SimFault.BLOCKED:
            self._held = None
        elif self._held is None:
            self._held = np.array(q)
        return self._held

    def told(self, state: RobotState) -> RobotState:
        """The state as the arm's driver tells it."""
        if self.fault is SimFault.JOINT_AT_END:
            state.q[_JOINT] = self._limits.q_max[_JOINT] - _FROM_END_RAD
        return state

    def witness(self, ros_s: float, sim_s: float, state: RobotState) -> None:
        """Note the true state; call at least every TRUTH_PERIOD_S of simulated time."""
        self._rows += [ros_s, sim_s, *state.q.tolist(), *state.dq.tolist()]

    def due(self, sim_s: float) -> bool:
        """Whether a row is due at this simulated time."""
        if sim_s < self._next_s - 1e-9:
            return False
        self._next_s = sim_s + TRUTH_PERIOD_S
        return True

    def publish(self) -> None:
        """Send the rows noted since the last call."""
        if self._rows and self._truth.get_subscription_count():
            self._truth.publish(Float64MultiArray(data=self._rows))
        self._rows = []

"""The simulated cell's arm behind libfranka's protocol, so that a real client drives it, cycle by cycle.

Needs franky-sim with pinocchio. One `cycle` is one millisecond of the robot: the client's answer to the last state is
taken, physics goes on, the next state is sent. The arm inside is the cell's own, with its position servos: a velocity
is integrated into their set point, as the real arm's motion generator does. Joint positions and velocities are served;
torques and Cartesian motions are not.
"""

from __future__ import annotations

import itertools
import logging

import numpy as np

from ..errors import SimError, pip_install
from .cell import MAX_GRIPPER_WIDTH_M, SimCell

CYCLE_S = 1e-3
_PHYSICS_EVERY = 2
_DERIVATIVE_SHARE = 0.2


def serve(cell: SimCell, address: str) -> ServedArm:
    """A server on address (ports 1337, 1338) that is listening. Raises SimError where it cannot be."""
    try:
        import franky_sim
    except ImportError as error:
        raise SimError(
            f"the simulated cell cannot be served by libfranka's protocol: {error}; install the extra: "
            f"{pip_install('arm-sim')}"
        ) from error
    logging.getLogger("franky_sim").setLevel(logging.ERROR)
    return ServedArm(franky_sim, cell, address)


class ServedArm:
    """Use `serve`. From one thread, the one that owns the cell."""

    def __init__(self, franky_sim, cell: SimCell, address: str) -> None:
        self._robot = _make_robot(franky_sim, cell)
        self._simulator = _make_simulator(franky_sim, cell, self._robot)
        self._server = franky_sim.SimulationServer(self._simulator, [address])
        self._simulator.init()
        try:
            self._server.init()
        except OSError as error:
            raise SimError(
                f"{address} cannot be listened on ({error}); is another simulated arm there? Choose another loopback "
                "address, such as 127.0.0.3"
            ) from error

    @property
    def connected(self) -> bool:
        return bool(self._robot.server.tcp_connected)

    def cycle(self) -> None:
        """One millisecond of the robot."""
        self._server.run_once(realtime=False)

    def close(self) -> None:
        self._server.cleanup()
        self._simulator.cleanup()


def _make_simulator(franky_sim, cell: SimCell, robot):
    class CellSimulator(franky_sim.BaseSimulator):
        _count = itertools.count()

        def _get_robots(self) -> list:
            return [robot]

        def _step(self) -> None:
            if next(self._count) % _PHYSICS_EVERY == 0:
                cell.step(_PHYSICS_EVERY * CYCLE_S)

    return CellSimulator()


def _make_robot(franky_sim, cell: SimCell):
    from franky_sim.base_simulator import InnerRobotState
    from franky_sim.franka_robot_state import FrankaRobotState

    class CellRobot(franky_sim.BaseRobot):
        """Its state is made from the cell alone: the base class differentiates everything that a client might command,
        at ten times the cost."""

        def __init__(self) -> None:
            super().__init__()
            zero = np.zeros(7)
            self._q_d, self._dq_d, self._ddq_d = cell.q, zero, zero

        def _get_state(self) -> InnerRobotState:
            state = cell.robot_state(0)
            return InnerRobotState(tuple(state.q), tuple(state.dq), (0.0,) * 7)

        def _torque_control(self, torques: np.ndarray) -> None: ...

        def torque_control(self, torques, has_new_command: bool = True) -> None:
            """Not served: the set point stays."""
            self._goes_to(self._q_d)

        def joint_position_control(self, target_q, has_new_command: bool = True) -> None:
            self._goes_to(np.asarray(target_q, float))

        def joint_velocity_control(self, target_dq, has_new_command: bool = True) -> None:
            self._goes_to(self._q_d + CYCLE_S * np.asarray(target_dq, float))

        def cartesian_position_control(self, target_pose, target_elbow_config, has_new_command: bool = True) -> None:
            self._goes_to(self._q_d)

        def cartesian_velocity_control(self, target_vel, target_elbow_config, has_new_command: bool = True) -> None:
            self._goes_to(self._q_d)

        def _goes_to(self, q: np.ndarray) -> None:
            q = np.clip(q, cell.joint_range[:, 0], cell.joint_range[:, 1])
            dq = (q - self._q_d) / CYCLE_S
            self._ddq_d = (1 - _DERIVATIVE_SHARE) * self._ddq_d + _DERIVATIVE_SHARE * (dq - self._dq_d) / CYCLE_S
            self._q_d, self._dq_d = q, dq
            cell.set_joint_target(q)

        def set_hand_goal(self, width: float, max_velocity: float, max_force: float) -> None:
            cell.set_gripper_target(float(np.clip(width, 0.0, MAX_GRIPPER_WIDTH_M)))

        def _get_hand_width(self) -> float:
            return cell.gripper_width_m

        def _post_step(self) -> None: ...

        @property
        def state(self) -> FrankaRobotState:
            inner = self._get_state()
            pose = tuple(cell.base_T_tcp.flatten(order="F"))
            return FrankaRobotState(
                q=inner.q, dq=inner.dq, q_d=tuple(self._q_d), dq_d=tuple(self._dq_d), ddq_d=tuple(self._ddq_d),
                O_T_EE=pose, O_T_EE_d=pose, O_T_EE_c=pose, control_command_success_rate=1.0,
            )  # fmt: skip

    return CellRobot()

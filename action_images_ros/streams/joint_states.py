"""sensor_msgs/JointState -> RobotState, by joint name."""

from __future__ import annotations

import numpy as np

from ..errors import TransportError
from ..types import RobotState

_NS = 1_000_000_000


class JointStateReader:
    """Assembles states from messages in any joint order; the fingers may come in messages of their own.

    joints: 7 names, base to flange; fingers: 2 names.
    """

    def __init__(self, joints: tuple[str, ...], fingers: tuple[str, ...]) -> None:
        self._joints, self._fingers = tuple(joints), tuple(fingers)
        self._width_m: float | None = None

    @property
    def missing(self) -> str:
        """ "" once the gripper's width is known, else what no message has brought yet."""
        return "" if self._width_m is not None else f"joints {', '.join(self._fingers)}"

    def read(self, msg) -> RobotState | None:
        """The arm's state; None for a message without all arm joints, or while the gripper's width is unknown.

        Raises TransportError for lengths that differ, some but not all arm joints, values that are not
        finite or a stamp of zero.
        """
        if len(msg.position) != len(msg.name) or len(msg.velocity) not in (0, len(msg.name)):
            raise TransportError(
                f"joint_states has {len(msg.name)} names, {len(msg.position)} positions, {len(msg.velocity)} velocities"
            )
        index = {name: i for i, name in enumerate(msg.name)}
        if all(f in index for f in self._fingers):
            width = sum(msg.position[index[f]] for f in self._fingers)
            if not np.isfinite(width):
                raise TransportError(f"gripper position is {width}")
            self._width_m = max(0.0, float(width))
        missing = [j for j in self._joints if j not in index]
        if len(missing) == len(self._joints):
            return None
        if missing:
            raise TransportError(f"joint_states lacks {', '.join(missing)}; it has {', '.join(msg.name)}")
        return self._state(msg, [index[j] for j in self._joints])

    def _state(self, msg, order: list[int]) -> RobotState | None:
        q = np.array([msg.position[i] for i in order])
        dq = np.array([msg.velocity[i] for i in order]) if len(msg.velocity) else np.zeros(len(order))
        if not (np.all(np.isfinite(q)) and np.all(np.isfinite(dq))):
            raise TransportError(f"joint_states is not finite: position {q.tolist()}, velocity {dq.tolist()}")
        stamp_ns = msg.header.stamp.sec * _NS + msg.header.stamp.nanosec
        if stamp_ns == 0:
            raise TransportError("joint_states has no stamp; its publisher must stamp it with ROS time")
        return None if self._width_m is None else RobotState(q, dq, self._width_m, stamp_ns, self._joints)

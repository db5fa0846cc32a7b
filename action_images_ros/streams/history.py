"""What the arm's state was at a given moment. Pure."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque

from ..types import RobotState


class StateHistory:
    """The last `size` states in order of their stamps; a state that is not newer than the last one is ignored.

    at: linear between the two states around a stamp; the nearest one up to max_gap_s outside.
    """

    def __init__(self, size: int = 400, max_gap_s: float = 0.1) -> None:
        self._states: deque[RobotState] = deque(maxlen=size)
        self._gap_ns = round(1e9 * max_gap_s)

    @property
    def newest(self) -> RobotState | None:
        return self._states[-1] if self._states else None

    def add(self, state: RobotState) -> None:
        if not self._states or state.stamp_ns > self._states[-1].stamp_ns:
            self._states.append(state)

    @property
    def max_gap_s(self) -> float:
        return 1e-9 * self._gap_ns

    def all(self) -> tuple[RobotState, ...]:
        """Oldest first."""
        return tuple(self._states)

    def clear(self) -> None:
        self._states.clear()

    def at(self, stamp_ns: int) -> RobotState | None:
        """The state at a stamp; None where none is near enough to tell."""
        states = list(self._states)
        k = bisect_left(states, stamp_ns, key=lambda s: s.stamp_ns)
        after = states[k] if k < len(states) else None
        before = states[k - 1] if k > 0 else None
        if after is not None and after.stamp_ns == stamp_ns:
            return after
        if before is None or after is None:
            near = before or after
            return near if near is not None and abs(near.stamp_ns - stamp_ns) <= self._gap_ns else None
        if after.stamp_ns - before.stamp_ns > 2 * self._gap_ns:
            return None
        u = (stamp_ns - before.stamp_ns) / (after.stamp_ns - before.stamp_ns)
        return RobotState(
            (1 - u) * before.q + u * after.q,
            (1 - u) * before.dq + u * after.dq,
            (1 - u) * before.gripper_width_m + u * after.gripper_width_m,
            stamp_ns,
            after.names,
        )

"""Since when the arm rests. Fed with joint readings; time comes with them."""

from __future__ import annotations

import numpy as np

from ..errors import CalibrationError


class StillWatcher:
    """The arm rests when no joint has moved by more than moved_rad for settle_s."""

    def __init__(self, settle_s: float = 0.6, moved_rad: float = 0.003):
        if not (settle_s > 0 and moved_rad > 0):
            raise CalibrationError(f"settle_s is {settle_s} and moved_rad {moved_rad}; legal: more than 0")
        self._settle_ns, self._moved = round(1e9 * settle_s), moved_rad
        self._place: np.ndarray | None = None
        self._since_ns = self._newest_ns = 0
        self._sum, self._count = np.zeros(7), 0

    def add(self, q: np.ndarray, stamp_ns: int) -> None:
        """q (7,) rad at stamp_ns; readings that are not newer than the last are ignored."""
        if self._place is not None and stamp_ns <= self._newest_ns:
            return
        self._newest_ns = stamp_ns
        if self._place is None or np.abs(q - self._place).max() > self._moved:
            self._place, self._since_ns = np.array(q, float), stamp_ns
            self._sum, self._count = np.zeros(7), 0
        if stamp_ns - self._since_ns >= self._settle_ns:
            self._sum, self._count = self._sum + q, self._count + 1

    @property
    def rest_ns(self) -> int | None:
        """When the present rest began; None while the arm moves, or has only just stopped."""
        if self._place is None or self._newest_ns - self._since_ns < self._settle_ns:
            return None
        return self._since_ns

    @property
    def reading(self) -> np.ndarray | None:
        """Mean reading (7,) rad of the present, settled rest."""
        return self._sum / self._count if self._count else None

    def shows_rest(self, stamp_ns: int) -> bool:
        """Whether a picture exposed at stamp_ns shows the arm in its present, settled rest."""
        rest = self.rest_ns
        return rest is not None and rest + self._settle_ns <= stamp_ns <= self._newest_ns

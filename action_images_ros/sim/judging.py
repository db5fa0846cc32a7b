"""A judge for tasks in which one thing of several has to be brought into a state and kept there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .scene import Scene
from .tasks import Outcome, Situation, Verdict


@dataclass(frozen=True)
class Standing:
    """done: for each thing that may be asked for, whether it is as asked now. far: how far the asked one is from it, in
    words. spoilt: why it never can be; empty otherwise."""

    done: tuple[bool, ...]
    far: str
    spoilt: str = ""


class KeptJudge:
    """SUCCESS when the asked thing has been as asked for dwell_s; FAILURE when another one has, at timeout_s, or when
    the task is spoilt.

    Times are simulation seconds, never decreasing; the first update starts the timeout. Once decided, the verdict
    stays. names: of the things, for the reason.
    """

    def __init__(self, scene: Scene, measure: Callable[[Situation], Standing], names: tuple[str, ...], dwell_s: float,
                 timeout_s: float):
        self._target, self._measure, self._names = scene.target, measure, names
        self._dwell_s, self._timeout_s = dwell_s, timeout_s
        self._since = np.full(len(names), np.inf)
        self._start_s: float | None = None
        self._verdict = Verdict(Outcome.PENDING)

    def update(self, time_s: float, cell: Situation) -> Verdict:
        if self._verdict.outcome is Outcome.PENDING:
            self._start_s = time_s if self._start_s is None else self._start_s
            self._verdict = self._decide(time_s, time_s - self._start_s, self._measure(cell))
        return self._verdict

    def _decide(self, time_s: float, elapsed_s: float, standing: Standing) -> Verdict:
        self._since = np.where(standing.done, np.minimum(self._since, time_s), np.inf)
        kept = np.flatnonzero(time_s - self._since >= self._dwell_s - 1e-9)
        if self._target in kept:
            return Verdict(Outcome.SUCCESS, f"{self._names[self._target]}: {standing.far}")
        if len(kept):
            return Verdict(Outcome.FAILURE, f"wrong one: {self._names[int(kept[0])]}")
        if standing.spoilt:
            return Verdict(Outcome.FAILURE, standing.spoilt)
        if elapsed_s >= self._timeout_s:
            return Verdict(Outcome.FAILURE, f"timeout after {self._timeout_s:g} s, {standing.far}")
        return self._verdict

"""Which chunk counts, and where in time it belongs.

A chunk is placed by the stamp of its observation: target k belongs k dt after it, on the clock of
what the arm has really been playing since (`PlaybackClock`): at speed_factor 0.2 that clock runs at a
fifth, while the arm rests it stands still, so a first chunk is not cut although it took time to
compute, and a chunk that arrives while the arm moves loses exactly what the arm has done meanwhile.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from dataclasses import dataclass
from enum import Enum

import numpy as np

from ..errors import ControlError
from ..types import ActionChunk
from .config import ChunkRules
from .credible import usable
from .rotation import pose_distance
from .trajectory import PosePath

_FUTURE_S = 0.05
_LEVER_M = 0.1
_CANDIDATES = 13
_SHIFT_COST_MPS = 0.02
_SIGMA_FLOOR_M = 1e-3
_LONGEST_LAG_S = 0.3
_LEAST_LEFT = 0.25
_MOST_STEPS = 200  # planning must stay well inside one command deadline
_LEGAL_DT_S = (0.01, 10.0)


class Refusal(Enum):
    """Why a chunk was refused as a whole."""

    NOT_ENABLED = "not_enabled"
    NOT_READY = "not_ready"
    MALFORMED = "malformed"
    UNSTAMPED = "unstamped"
    EMPTY = "empty"
    NOT_FINITE = "not_finite"
    DUPLICATE = "duplicate"
    OUT_OF_ORDER = "out_of_order"
    FROM_FUTURE = "from_future"
    TOO_OLD = "too_old"
    BEFORE_ENABLE = "before_enable"
    PASSED = "passed"
    NOT_CREDIBLE = "not_credible"
    JUMPS = "jumps"
    STARTS_TOO_FAR = "starts_too_far"
    OUTSIDE_WORKSPACE = "outside_workspace"
    UNREACHABLE = "unreachable"
    TOO_FAST = "too_fast"


class ChunkRefused(ControlError):
    """A chunk that must not move the arm; `refusal` is the machine-readable reason."""

    def __init__(self, refusal: Refusal, message: str) -> None:
        super().__init__(message)
        self.refusal = refusal


class PlaybackClock:
    """ROS time -> path time and command, from what was really played. Remembers the last `memory_s` seconds."""

    def __init__(self, memory_s: float, rate_hz: float) -> None:
        self._stamps: deque[int] = deque(maxlen=int(memory_s * rate_hz) + 2)
        self._path_s: deque[float] = deque(maxlen=self._stamps.maxlen)
        self._poses: deque[np.ndarray] = deque(maxlen=self._stamps.maxlen)

    def clear(self) -> None:
        self._stamps.clear()
        self._path_s.clear()
        self._poses.clear()

    def advance(self, now_ns: int, path_s: float, base_T_tcp: np.ndarray) -> None:
        """Note what is played at now_ns, and the pose (4, 4) commanded; neither time may decrease."""
        self._stamps.append(now_ns)
        self._path_s.append(path_s)
        self._poses.append(base_T_tcp)

    def commands_before(self, stamp_ns: int, window_s: float) -> np.ndarray:
        """Poses (M, 4, 4), M >= 1, commanded in the last window_s seconds before a stamp."""
        first = max(0, bisect_right(self._stamps, stamp_ns - int(1e9 * window_s)) - 1)
        last = max(0, bisect_right(self._stamps, stamp_ns) - 1)
        return np.array([self._poses[k] for k in range(first, last + 1)])

    def at(self, stamp_ns: int) -> float | None:
        """Path time that was played at a stamp (linear between ticks); None when that is no longer known."""
        if not self._stamps or stamp_ns < self._stamps[0]:
            return None
        if stamp_ns >= self._stamps[-1]:
            return self._path_s[-1]
        k = bisect_right(self._stamps, stamp_ns) - 1
        a, b = self._stamps[k], self._stamps[k + 1]
        u = (stamp_ns - a) / (b - a) if b > a else 1.0
        return self._path_s[k] + u * (self._path_s[k + 1] - self._path_s[k])


@dataclass(frozen=True)
class Latency:
    """Observation to arrival of the chunks received so far, warm-up excluded; seconds."""

    count: int = 0
    last_s: float = 0.0
    mean_s: float = 0.0
    p95_s: float = 0.0
    max_s: float = 0.0


class LatencyMeter:
    """Statistics over the last `window` chunks after the first `warm_up`."""

    def __init__(self, warm_up: int, window: int = 100) -> None:
        self._skip = warm_up
        self._values: deque[float] = deque(maxlen=window)
        self._count = 0

    def add(self, latency_s: float) -> None:
        if self._skip > 0:
            self._skip -= 1
            return
        self._count += 1
        self._values.append(latency_s)

    def read(self) -> Latency:
        if not self._values:
            return Latency()
        ranked = sorted(self._values)
        return Latency(self._count, self._values[-1], sum(ranked) / len(ranked), ranked[int(0.95 * (len(ranked) - 1))],
                       ranked[-1])


class ChunkQueue:
    """Admits chunks in order of observation, refuses the others, places the admitted one in path time.

    Not locked: one thread owns it.
    """

    def __init__(self, rules: ChunkRules) -> None:
        self._rules = rules
        self._newest_ns: int | None = None
        self._not_before_ns: int | None = None
        self._meter = LatencyMeter(rules.warm_up_chunks)

    @property
    def latency(self) -> Latency:
        return self._meter.read()

    def restart(self, not_before_ns: int) -> None:
        """Forget the order seen so far; nothing observed before this stamp is admitted any more."""
        self._newest_ns = None
        self._not_before_ns = not_before_ns

    def admit(self, chunk: ActionChunk, now_ns: int) -> ActionChunk:
        """The chunk, cut to its credible steps, or ChunkRefused. Remembers the newest stamp seen."""
        if len(chunk) < 2:
            raise ChunkRefused(Refusal.EMPTY, f"the chunk has {len(chunk)} steps; a motion needs at least 2")
        if chunk.stamp_ns is None or chunk.dt_s is None:
            raise ChunkRefused(Refusal.UNSTAMPED, "the chunk has no stamp or dt; it needs the time of its observation")
        if len(chunk) > _MOST_STEPS:
            raise ChunkRefused(Refusal.MALFORMED, f"the chunk has {len(chunk)} steps; legal: up to {_MOST_STEPS}")
        if not np.isfinite(chunk.dt_s):
            raise ChunkRefused(Refusal.NOT_FINITE, f"dt_s is {chunk.dt_s}")
        shortest, longest = _LEGAL_DT_S
        if not shortest <= chunk.dt_s <= longest:
            raise ChunkRefused(Refusal.MALFORMED, f"dt_s is {chunk.dt_s}; legal: {shortest} to {longest}")
        age_s = 1e-9 * (now_ns - chunk.stamp_ns)
        self._check_order(chunk.stamp_ns, age_s)
        self._newest_ns = chunk.stamp_ns
        self._meter.add(age_s)
        return self._check_content(chunk)

    def _check_order(self, stamp_ns: int, age_s: float) -> None:
        newest = self._newest_ns
        if age_s < -_FUTURE_S:
            raise ChunkRefused(Refusal.FROM_FUTURE, f"observed {-age_s:.3f} s in the future; synchronise the clocks")
        if self._not_before_ns is not None and stamp_ns < self._not_before_ns:
            raise ChunkRefused(Refusal.BEFORE_ENABLE, "observed before control was enabled; the next one will do")
        if newest is not None and stamp_ns == newest:
            raise ChunkRefused(Refusal.DUPLICATE, "this observation has been received already")
        if newest is not None and stamp_ns < newest:
            raise ChunkRefused(Refusal.OUT_OF_ORDER, f"observed {1e-9 * (newest - stamp_ns):.3f} s before the newest")
        if age_s > self._rules.max_age_s:
            raise ChunkRefused(Refusal.TOO_OLD, f"observed {age_s:.2f} s ago; legal: up to {self._rules.max_age_s} s")

    def _check_content(self, chunk: ActionChunk) -> ActionChunk:
        chunk = _credible(chunk, self._rules)
        _require_finite_rigid(chunk)
        metres, radians = pose_distance(chunk.base_T_tcps[:-1], chunk.base_T_tcps[1:])
        share = np.maximum(metres / self._rules.max_step_m, radians / self._rules.max_step_rad)
        if share.max(initial=0.0) > 1.0:
            k = int(share.argmax())
            legal = _length(self._rules.max_step_m, self._rules.max_step_rad)
            raise ChunkRefused(Refusal.JUMPS, f"jumps {_length(metres[k], radians[k])} from step {k} to {k + 1}; "
                               f"legal: {legal}")
        return chunk

    def place(self, chunk: ActionChunk, clock: PlaybackClock, now_path_s: float, command: np.ndarray,
              lag_path_s: float) -> PosePath:
        """The chunk as a path in path time, from its observation on.

        command (4, 4): base_T_tcp commanded at now_path_s. lag_path_s: how far, in path time, the arm
        was measured to trail its commands: the observation showed the arm where it was, not where it
        was told to be, so up to that much more of the chunk has passed. Inside that, and align_s either
        way, the chunk is moved in time to where it meets the present command best; what it differs in
        along its path is then a matter of timing, not of a jump. ChunkRefused when all of it has passed,
        or when it does not begin where the arm was at its observation.
        """
        assert chunk.stamp_ns is not None and chunk.dt_s is not None, "admitted"
        observed_s = clock.at(chunk.stamp_ns)
        if observed_s is None:
            raise ChunkRefused(Refusal.TOO_OLD, "observed before anything the controller remembers")
        self._check_start(chunk, clock)
        steps_s = chunk.dt_s * np.arange(len(chunk))
        sigma = np.sqrt(np.maximum(np.trace(chunk.covariance[:, :3, :3], axis1=1, axis2=2) / 3.0, _SIGMA_FLOOR_M**2))
        path = PosePath(steps_s, chunk.base_T_tcps, chunk.openness, sigma)
        align = self._rules.align_s
        shifts = np.linspace(-align, max(lag_path_s, 0.0) + align, _CANDIDATES)
        metres, radians = pose_distance(path.sample(now_path_s - observed_s + shifts), command)
        k = int(np.argmin(metres + _LEVER_M * radians + _SHIFT_COST_MPS * np.abs(shifts)))
        start_s = observed_s - float(shifts[k])
        if now_path_s - start_s > steps_s[-1] - _LEAST_LEFT * chunk.dt_s:
            raise ChunkRefused(Refusal.PASSED, "its steps have passed; the policy is slower than its chunks are long")
        return PosePath(start_s + steps_s, chunk.base_T_tcps, chunk.openness, sigma, observed_s=start_s)

    def _check_start(self, chunk: ActionChunk, clock: PlaybackClock) -> None:
        rules = self._rules
        assert chunk.stamp_ns is not None, "admitted"
        metres, radians = pose_distance(clock.commands_before(chunk.stamp_ns, _LONGEST_LAG_S), chunk.base_T_tcps[0])
        k = int(np.argmin(metres + _LEVER_M * radians))
        if metres[k] > rules.max_start_error_m or radians[k] > rules.max_start_error_rad:
            legal = _length(rules.max_start_error_m, rules.max_start_error_rad)
            raise ChunkRefused(Refusal.STARTS_TOO_FAR, f"starts {_length(metres[k], radians[k])} from where the arm "
                               f"was when it was observed; legal: {legal}")


def _length(metres: float, radians: float) -> str:
    return f"{1e3 * metres:.0f} mm, {np.degrees(radians):.0f} deg"


def _credible(chunk: ActionChunk, rules: ChunkRules) -> ActionChunk:
    """The part of the chunk that may be executed, where there is enough of it; otherwise ChunkRefused."""
    part = usable(chunk, 0 if rules.min_credible_steps is None else rules.max_gap_steps)
    need = len(chunk) if rules.min_credible_steps is None else min(rules.min_credible_steps, len(chunk))
    if len(part) < need:
        k = int(np.flatnonzero(~chunk.credible)[0])
        why = chunk.why[k] or "no reason given"
        raise ChunkRefused(Refusal.NOT_CREDIBLE, f"step {k} is not credible ({why}) and {len(part)} steps can be used; "
                           f"needed: {need}")
    return part


def _require_finite_rigid(chunk: ActionChunk) -> None:
    poses = chunk.base_T_tcps
    finite = np.isfinite(poses).all(axis=(1, 2)) & np.isfinite(chunk.covariance).all(axis=(1, 2))
    finite &= np.isfinite(chunk.openness)
    if not finite.all():
        raise ChunkRefused(Refusal.NOT_FINITE, f"step {int(np.argmin(finite))} is not finite")
    outside = np.abs(chunk.openness - 0.5) > 0.5
    if outside.any():
        k = int(outside.argmax())
        raise ChunkRefused(Refusal.MALFORMED, f"step {k} has openness {chunk.openness[k]:.3g}; legal: 0 to 1")
    R = poses[:, :3, :3]
    off = np.abs(np.swapaxes(R, 1, 2) @ R - np.eye(3)).max(axis=(1, 2))
    if off.max() > 1e-3 or np.any(np.linalg.det(R) < 0.0):
        raise ChunkRefused(Refusal.NOT_FINITE, f"step {int(off.argmax())} is not a rigid pose")

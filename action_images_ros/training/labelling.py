"""Actions for videos that carry none: the model's mode `label` along a whole video, with an expected error a frame.

Every frame is labelled several times: windows overlap by half, and each starts from several noises. How far these
labels are apart is part of the expected error. What all of them get wrong alike cannot show.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import ConfigError
from ..geometry import PinholeCamera
from ..geometry.se3 import angle_between, interpolate, make, so3_exp, so3_log
from ..model.canvas import Mode
from ..model.pipeline import Given
from ..policy import ActionImagePolicy
from ..types import ActionChunk, ActionImages
from .recorded import frame_stride

_LEVER_M, _KNOWN_M = 0.1, 1e-3
_LOST_M = 1.0


@dataclass(frozen=True)
class Start:
    """Where the tool is in the first frame: base_T_tcp (4, 4), openness in [0, 1]."""

    base_T_tcp: np.ndarray
    openness: float


@dataclass(frozen=True, eq=False)
class Labels:
    """Of N frames: base_T_tcps (N, 4, 4), openness (N,), error_m (N,) the expected position error, confidence (N,) in
    [0, 1]: 1 / (1 + (error_m / tolerance_m)^2), 0 where no window gave a credible pose and the pose is bridged."""

    base_T_tcps: np.ndarray
    openness: np.ndarray
    error_m: np.ndarray
    confidence: np.ndarray


class Labeller:
    """tolerance_m: the expected error at which a label's confidence is one half; repeats: noises a window."""

    def __init__(self, policy: ActionImagePolicy, tolerance_m: float = 0.015, repeats: int = 4) -> None:
        if Mode.LABEL.value not in policy.config.modes:
            raise ConfigError(f"this model was trained for {', '.join(policy.config.modes)}, not for label; choose "
                              "another --model")  # fmt: skip
        if not tolerance_m > 0 or repeats < 1:
            raise ConfigError(f"tolerance_m {tolerance_m} must be positive, repeats {repeats} at least 1")
        self._policy, self._tolerance_m, self._repeats = policy, tolerance_m, repeats

    def label(self, images: np.ndarray, cameras: tuple[PinholeCamera, ...], fps: float, instruction: str,
              start: Start) -> Labels:  # fmt: skip
        """images (N, V, h, w, 3) uint8 as the model sees them, at `fps`; cameras: V, of the live pictures.

        Raises DatasetError where fps does not fit the model's dt_s.
        """
        stride, n = frame_stride(fps, self._policy.config.dt_s), len(images)
        votes: list[list[_Vote]] = [[_Vote(start.base_T_tcp, start.openness, _KNOWN_M)], *([] for _ in range(n - 1))]
        for repeat in range(self._repeats):
            clip = _Clip(self._policy, images, cameras, instruction, repeat)
            first = clip.walk(np.arange(0, n, stride), start)
            for phase in range(min(stride, n)):
                begin = start if phase == 0 else _between(first, phase, stride, start)
                found = first if phase == 0 else clip.walk(np.arange(phase, n, stride), begin)
                for row, more in found.items():
                    votes[row] += more
        return self._together(votes)

    def _together(self, votes: list[list[_Vote]]) -> Labels:
        means = {k: _mean(v) for k, v in enumerate(votes) if v}
        found = [means.get(k) or _bridged(means, k) for k in range(len(votes))]
        error_m = np.array([f.error_m for f in found])
        confidence = np.where(error_m < _LOST_M, 1.0 / (1.0 + (error_m / self._tolerance_m) ** 2), 0.0)
        return Labels(np.stack([f.pose for f in found]), np.array([f.openness for f in found]), error_m, confidence)


@dataclass(frozen=True, eq=False)
class _Vote:
    pose: np.ndarray
    openness: float
    error_m: float


class _Clip:
    """One video in the model's hands."""

    def __init__(self, policy: ActionImagePolicy, images: np.ndarray, cameras: tuple[PinholeCamera, ...],
                 instruction: str, seed: int) -> None:  # fmt: skip
        self._policy, self._images, self._cameras, self._instruction = policy, images, cameras, instruction
        self._action_cameras = policy.action_cameras(cameras)
        self._views = tuple(f"view{k}" for k in range(len(cameras)))
        self._seed = seed

    def window(self, rows: np.ndarray, start: Start) -> ActionChunk:
        """Of chunk_size frames; past the end of `rows` the arm rests."""
        size = self._policy.config.chunk_size
        rows = rows[np.minimum(np.arange(size), len(rows) - 1)]
        given = Given(self._images[rows], start.base_T_tcp[None], np.array([start.openness]), self._instruction)
        rng = np.random.default_rng([self._seed, int(rows[0])])
        made = self._policy.pipeline.run(Mode.LABEL, given, self._cameras, rng)
        assert made.action_images is not None, "mode label generates them"
        dt_s = self._policy.config.dt_s
        return self._policy.decode(ActionImages(made.action_images, self._views, self._action_cameras, 0, dt_s))

    def walk(self, rows: np.ndarray, start: Start) -> dict[int, list[_Vote]]:
        """The labels of these frames, window by window, each beginning where the one before said its first frame is."""
        half = max(1, (self._policy.config.chunk_size - 1) // 2)
        at, votes = 0, dict[int, list[_Vote]]()
        while True:
            chunk = self.window(rows[at:], start)
            for k in range(1, min(len(chunk), len(rows) - at)):
                if chunk.credible[k]:
                    error_m = float(np.sqrt(np.trace(chunk.covariance[k, :3, :3])))
                    vote = _Vote(chunk.base_T_tcps[k], float(chunk.openness[k]), error_m)
                    votes.setdefault(int(rows[at + k]), []).append(vote)
            if at + self._policy.config.chunk_size >= len(rows):
                return votes
            at += next((k for k in range(half, 0, -1) if int(rows[at + k]) in votes), half)
            if int(rows[at]) in votes:
                found = _mean(votes[int(rows[at])])
                start = Start(found.pose, found.openness)


def _between(first: dict[int, list[_Vote]], phase: int, stride: int, start: Start) -> Start:
    """At frame `phase`, out of the labels of frames 0 and `stride`."""
    if stride not in first:
        return start
    after = _mean(first[stride])
    return Start(interpolate(start.base_T_tcp, after.pose, np.array(phase / stride)), start.openness)


def _bridged(means: dict[int, _Vote], k: int) -> _Vote:
    """Between the nearest labelled frames; frame 0 always is one."""
    before = max(j for j in means if j < k)
    after = min((j for j in means if j > k), default=before)
    u = 0.0 if after == before else (k - before) / (after - before)
    pose = interpolate(means[before].pose, means[after].pose, np.array(u))
    return _Vote(pose, means[before].openness, _LOST_M)


def _mean(votes: list[_Vote]) -> _Vote:
    """Weighted by expected error; its own expected error grows with what they disagree about."""
    w = np.array([1.0 / max(v.error_m, 1e-4) ** 2 for v in votes])
    w /= w.sum()
    position = sum(x * v.pose[:3, 3] for x, v in zip(w, votes))
    first = votes[int(np.argmax(w))].pose[:3, :3]
    turn = sum(x * so3_log(first.T @ v.pose[:3, :3]) for x, v in zip(w, votes))
    pose = make(first @ so3_exp(turn), position)
    apart = [np.linalg.norm(v.pose[:3, 3] - position) + _LEVER_M * angle_between(v.pose[:3, :3], pose[:3, :3])
             for v in votes]  # fmt: skip
    spread = float(np.sqrt(np.average(np.square(apart), weights=w)))
    own = float(1.0 / np.sqrt(sum(1.0 / max(v.error_m, 1e-4) ** 2 for v in votes)))
    return _Vote(pose, float(sum(x * v.openness for x, v in zip(w, votes))), float(np.hypot(own, spread)))

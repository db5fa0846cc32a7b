"""What `bench modes` measures on and against: windows of recorded episodes, and guesses that need no model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import DatasetError
from ..geometry import PinholeCamera
from ..geometry.se3 import make, so3_exp, so3_log
from ..training.data import Episode


@dataclass(frozen=True)
class Window:
    """chunk_size frames of one episode; past its end the arm rests. video (T, V, H, W, 3) uint8, poses (T, 4, 4),
    openness (T,); before (4, 4): the pose one frame earlier, None at an episode's start."""

    video: np.ndarray
    poses: np.ndarray
    openness: np.ndarray
    before: np.ndarray | None
    cameras: tuple[PinholeCamera, ...]
    instruction: str


@dataclass(frozen=True)
class Guess:
    """What somebody says the arm did or will do: poses (T, 4, 4), openness (T,), and which steps they stand by (T,)."""

    poses: np.ndarray
    openness: np.ndarray
    shown: np.ndarray


def windows(episodes: Sequence[Episode], start: int, steps: int) -> list[Window]:
    """The window of every episode that begins at its frame `start`; episodes shorter than that are left out.

    Raises DatasetError where none is left.
    """
    out = []
    for episode in episodes:
        n = len(episode.images)
        if start < n - 1:
            rows = np.minimum(start + np.arange(steps), n - 1)
            before = episode.base_T_tcps[start - 1] if start else None
            out.append(Window(episode.images[rows], episode.base_T_tcps[rows], episode.openness[rows], before,
                              episode.cameras, episode.instructions[0]))
    if not out:
        raise DatasetError(f"no episode has a frame after frame {start}; lower --start")
    return out


def at_rest(window: Window) -> Guess:
    """The first pose for ever."""
    return _guess(window, np.repeat(window.poses[:1], len(window.poses), 0))


def constant_velocity(window: Window) -> Guess:
    """Straight on as from the frame before the window to its first: one measured pose more than the model gets."""
    if window.before is None:
        raise DatasetError("a window at the start of its episode has no earlier pose to take a velocity from")
    first = window.poses[0]
    k = np.arange(len(window.poses))[:, None]
    step = first[:3, 3] - window.before[:3, 3]
    turn = so3_log(first[:3, :3] @ window.before[:3, :3].T)
    return _guess(window, make(so3_exp(k * turn) @ first[:3, :3], first[:3, 3] + k * step))


@dataclass(frozen=True)
class MeanMotion:
    """The average motion of a training set since a window's first frame: moved_m (T, 3), turned_rad (T, 3) rotation
    vectors, both in the base frame, openness (T,)."""

    moved_m: np.ndarray
    turned_rad: np.ndarray
    openness: np.ndarray

    @classmethod
    def of(cls, training: Sequence[Window]) -> MeanMotion:
        moved = np.mean([w.poses[:, :3, 3] - w.poses[0, :3, 3] for w in training], 0)
        turned = np.mean([so3_log(w.poses[:, :3, :3] @ w.poses[0, :3, :3].T) for w in training], 0)
        return cls(moved, turned, np.mean([w.openness for w in training], 0))

    def guess(self, window: Window) -> Guess:
        """That motion from this window's first pose."""
        first = window.poses[0]
        poses = make(so3_exp(self.turned_rad) @ first[:3, :3], first[:3, 3] + self.moved_m)
        openness = np.where(np.arange(len(poses)) == 0, window.openness[0], self.openness > 0.5).astype(float)
        return Guess(poses, openness, np.ones(len(poses), bool))


def _guess(window: Window, poses: np.ndarray) -> Guess:
    return Guess(poses, np.repeat(window.openness[:1], len(poses)), np.ones(len(poses), bool))

"""The canvas: which segments a mode has, which latent frames of them are given clean, and how they are packed.

Segments are concatenated along latent time, view-major (method, section 4):

    [ video(view 0) | action(view 0) | video(view 1) | action(view 1) ]

Here a canvas is two arrays, `video` (B, V, Fv, C, h, w) and `action` (B, V, Fa, C', h', w'), because a plain-pixel
codec gives the two kinds different shapes; `pack` makes the one sequence of codecs that do not (the Wan VAE). All
functions take numpy arrays and torch tensors alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np

from ..errors import ModelError


class Mode(str, Enum):
    """What is given and what is generated (method, section 1)."""

    POLICY = "policy"
    JOINT = "joint"
    WORLD = "world"
    LABEL = "label"
    VIDEO = "video"

    @classmethod
    def parse(cls, name: str) -> Mode:
        try:
            return cls(name)
        except ValueError:
            raise ModelError(f"mode is {name!r}; legal: {', '.join(m.value for m in cls)}") from None


@dataclass(frozen=True)
class CanvasLayout:
    """Latent frames of each segment and which of them are given: True = clean, never noised, never in the loss.

    clean_video (Fv,), clean_action (Fa,): the same for every view.
    """

    views: int
    clean_video: tuple[bool, ...]
    clean_action: tuple[bool, ...]

    @classmethod
    def for_mode(cls, mode: Mode, views: int, video_frames: int, action_frames: int,
                 committed_frames: int = 0) -> CanvasLayout:
        """video_frames, action_frames: latent frames of a whole segment. The first is always clean.

        committed_frames: further action frames given clean after the first, for real-time chunking.
        Raises ModelError if these leave nothing to generate.
        """
        if not 0 <= committed_frames < action_frames - 1:
            raise ModelError(f"committed_frames is {committed_frames}; legal: 0 to {action_frames - 2}, "
                             "so that at least one action frame is generated")
        first = (True,)
        anchored_action = tuple(k <= committed_frames for k in range(action_frames))
        anchored_video = tuple(k == 0 for k in range(video_frames))
        table = {
            Mode.POLICY: (first, anchored_action),
            Mode.JOINT: (anchored_video, anchored_action),
            Mode.WORLD: (anchored_video, (True,) * action_frames),
            Mode.LABEL: ((True,) * video_frames, anchored_action),
            Mode.VIDEO: (anchored_video, ()),
        }
        return cls(views, *table[mode])

    @property
    def frames(self) -> int:
        """Latent frames on the packed canvas."""
        return self.views * (len(self.clean_video) + len(self.clean_action))

    def video_mask(self, like):
        """Clean mask (1, 1, Fv, 1, 1, 1) bool, numpy or torch as `like`."""
        return _mask(self.clean_video, like)

    def action_mask(self, like):
        """Clean mask (1, 1, Fa, 1, 1, 1) bool, numpy or torch as `like`."""
        return _mask(self.clean_action, like)


def _mask(clean: tuple[bool, ...], like):
    mask = np.array(clean, bool).reshape(1, 1, -1, 1, 1, 1)
    return mask if isinstance(like, np.ndarray) else like.new_tensor(mask, dtype=bool)


def restore_clean(sample, clean, mask):
    """`sample` with the positions of `mask` set back to `clean` (any broadcastable arrays of one kind)."""
    if isinstance(sample, np.ndarray):
        return np.where(mask, clean, sample)
    return sample.where(~mask, clean)


def pack(video, action):
    """(B, V, Fv, C, h, w) and (B, V, Fa, C, h, w) -> (B, V (Fv + Fa), C, h, w), view-major.

    Raises ModelError where the two kinds of segment differ in latent shape.
    """
    if tuple(video.shape[3:]) != tuple(action.shape[3:]):
        raise ModelError(f"video latents {tuple(video.shape[3:])} and action latents {tuple(action.shape[3:])} differ "
                         "in shape; only codecs that give both the same can be packed in one sequence")
    if isinstance(video, np.ndarray):
        both: Any = np.concatenate([video, action], 2)
    else:
        import torch

        both = torch.cat([video, action], 2)
    return both.reshape((both.shape[0], both.shape[1] * both.shape[2]) + tuple(both.shape[3:]))


def unpack(packed, views: int, video_frames: int):
    """Inverse of `pack`."""
    frames = packed.shape[1] // views
    both = packed.reshape((packed.shape[0], views, frames) + tuple(packed.shape[2:]))
    return both[:, :, :video_frames], both[:, :, video_frames:]

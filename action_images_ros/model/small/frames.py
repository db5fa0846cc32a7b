"""The future, frame by frame: what one picture shows belongs to one action step."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .layers import ResBlock, start_at_zero

_MASK_BIAS = -3.0


class FrameFeatures(nn.Module):
    """The same small network looks at every future frame of a view."""

    def __init__(self, frames: int, seen: int, channels: int, folded: int, condition: int) -> None:
        super().__init__()
        self.see = nn.Conv2d(seen, channels, 3, padding=1)
        self.position = nn.Parameter(torch.zeros(frames, channels))
        self.look = ResBlock(channels, condition)
        self.fold = nn.Conv2d(frames * channels, folded, 1)
        start_at_zero(self.fold)

    def forward(self, video: Tensor, rays: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        """video (N, F, C, h, w), rays (N, 6, h, w), condition (N, width) -> features (N, F, channels, h, w), and
        all of them folded together (N, folded, h, w)."""
        frames = video.shape[1]
        seen = torch.cat([video, rays[:, None].expand(-1, frames, -1, -1, -1)], 2).flatten(0, 1)
        x = self.see(seen) + self.position.repeat(len(video), 1)[:, :, None, None]
        x = F.silu(self.look(x, condition.repeat_interleave(frames, 0))).unflatten(0, (len(video), frames))
        return x, self.fold(x.flatten(1, 2))


class FrameHeads(nn.Module):
    """What each future frame adds to its action image; and its picture: the first one, painted over where a mask says.

    A mask near zero leaves a pixel exactly as it was, which most pixels of a fixed camera are.
    """

    def __init__(self, frames: int, channels: int, frame_channels: int, pixel_channels: int) -> None:
        super().__init__()
        self.share = nn.Conv2d(channels, frame_channels, 1)
        self.mix = nn.Conv2d(frame_channels, frame_channels, 3, padding=1)
        self.norm = nn.GroupNorm(8, frame_channels)
        self.action = nn.Conv2d(frame_channels, 3, 3, padding=1)
        wide = 2 * frame_channels
        self.scene = nn.Conv2d(pixel_channels, wide, 3, padding=1)
        self.moment = nn.Conv2d(channels, frames * wide, 1)
        self.event = nn.Conv2d(frame_channels + 3, wide, 3, padding=1)
        self.paint = nn.Sequential(nn.SiLU(), nn.Conv2d(wide, wide, 3, padding=1), nn.SiLU(),
                                   nn.Conv2d(wide, wide, 3, padding=1), nn.SiLU())
        self.colour = nn.Conv2d(wide, pixel_channels, 1)
        self.mask = nn.Conv2d(wide, pixel_channels // 3, 1)
        for head in (self.action, self.mask):
            start_at_zero(head)
        assert self.mask.bias is not None
        nn.init.constant_(self.mask.bias, _MASK_BIAS)

    def forward(self, x: Tensor, frames: Tensor, first: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
        """x (N, channels, h, w) of the whole chunk, frames (N, F, frame_channels, h, w), first (N, C, h, w), action
        (N, F, 3, h, w) -> action and video (N, F, C, h, w)."""
        n, f = frames.shape[:2]
        y = (frames + self.share(x)[:, None]).flatten(0, 1)
        y = F.silu(self.norm(self.mix(F.silu(y))))
        action = action + self.action(y).unflatten(0, (n, f))
        event = self.event(torch.cat([y, action.flatten(0, 1)], 1)) + self.moment(x).unflatten(1, (f, -1)).flatten(0, 1)
        z = self.paint((event.unflatten(0, (n, f)) + self.scene(first)[:, None]).flatten(0, 1))
        mask = torch.sigmoid(self.mask(z)).repeat_interleave(3, 1).unflatten(0, (n, f))
        return action, first[:, None] + mask * (self.colour(z).unflatten(0, (n, f)) - first[:, None])

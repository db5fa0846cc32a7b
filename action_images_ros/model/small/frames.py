"""The future, frame by frame: what one picture shows belongs to one action step."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .layers import ResBlock, start_at_zero

_GATE_BIAS = 2.0


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
    """What each future frame adds to its action image, and how much of each of its pixels is not as at first."""

    def __init__(self, channels: int, frame_channels: int, pixel_channels: int) -> None:
        super().__init__()
        self.share = nn.Conv2d(channels, frame_channels, 1)
        self.mix = nn.Conv2d(frame_channels, frame_channels, 3, padding=1)
        self.norm = nn.GroupNorm(8, frame_channels)
        self.action = nn.Conv2d(frame_channels, 3, 3, padding=1)
        self.change = nn.Conv2d(frame_channels, pixel_channels, 1)
        self.gate = nn.Conv2d(frame_channels, pixel_channels // 3, 1)
        wide = 2 * frame_channels
        self.paint = nn.Sequential(nn.Conv2d(frame_channels, wide, 3, padding=1), nn.SiLU(),
                                   nn.Conv2d(wide, wide, 3, padding=1), nn.SiLU())
        self.colour = nn.Conv2d(wide, pixel_channels, 1)
        self.mask = nn.Conv2d(wide, pixel_channels // 3, 1)
        for head in (self.action, self.change, self.gate, self.colour, self.mask):
            start_at_zero(head)
        assert self.gate.bias is not None
        nn.init.constant_(self.gate.bias, _GATE_BIAS)

    def forward(self, x: Tensor, frames: Tensor, change: Tensor) -> tuple[Tensor, Tensor]:
        """x (N, channels, h, w) of the whole chunk, frames (N, F, frame_channels, h, w), change (N, F, C, h, w) ->
        action (N, F, 3, h, w) and gated change."""
        n, f = frames.shape[:2]
        y = (frames + self.share(x)[:, None]).flatten(0, 1)
        y = F.silu(self.norm(self.mix(F.silu(y))))
        painted = self.paint(y)
        gate = torch.sigmoid(self.gate(y) + self.mask(painted)).repeat_interleave(3, 1)
        change = gate * (change.flatten(0, 1) + self.change(y) + self.colour(painted))
        return self.action(y).unflatten(0, (n, f)), change.unflatten(0, (n, f))

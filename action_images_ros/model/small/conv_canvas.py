"""The shipped small denoiser: convolutional stem and pixel-level skips around a cross-view transformer.

A patch transformer alone learns nothing from a few thousand episodes; convolutions on the action grid give it locality,
and attention over the tokens of all views and of the instruction, conditioned on camera rays, does the rest. All frames
of a segment are folded into the channels of one grid, so that a chunk costs one grid of tokens a view.

It predicts the clean sample (which learns where velocity prediction in raw pixels does not) and returns the velocity
(sample - clean) / sigma, as every denoiser does.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..config import ModelConfig
from ..denoiser import Conditioning, Prediction
from ..noise import velocity_from_clean
from .frames import FrameFeatures, FrameHeads
from .layers import Block, ResBlock, level_features, start_at_zero

_RAY_CHANNELS = 6
_MASKED = -1e4


class ConvCanvas(nn.Module):
    """Denoiser of `ModelConfig.denoiser == "conv_canvas"`, for `frame_codec == "pixels"`."""

    predicts = Prediction.CLEAN

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        size, self.config = config.conv_canvas, config
        width, channels = size.width, size.channels
        self.factor = config.pixel_factor
        self.pixel_channels = 3 * self.factor**2
        self.future = config.chunk_size - 1
        self.level = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU())
        self.gist = nn.Sequential(nn.Linear(config.text.width, width), nn.SiLU(), nn.Linear(width, width))
        self.future_shown = nn.Parameter(torch.zeros(2, width))
        self.see = nn.Conv2d(self.pixel_channels + _RAY_CHANNELS, channels, 3, padding=1)
        self.look = ResBlock(channels, width)
        self.see_action = nn.Conv2d(3 * config.chunk_size, channels, 3, padding=1)
        self.see_future = nn.Conv2d(self.future * self.pixel_channels, channels, 1)
        self.in_block = ResBlock(channels, width)
        self.to_tokens = nn.Conv2d(4 * channels, width, 1)
        self.ray_tokens = nn.Sequential(nn.Linear(_RAY_CHANNELS, width), nn.SiLU(), nn.Linear(width, width))
        grid = (config.action_size[1] // 2, config.action_size[0] // 2)
        self.position = nn.Parameter(0.02 * torch.randn(grid[0] * grid[1], width))
        self.text_in = nn.Linear(config.text.width, width)
        self.text_position = nn.Parameter(0.02 * torch.randn(config.text.max_tokens, width))
        self.blocks = nn.ModuleList(Block(width, size.heads, size.mlp_ratio, width) for _ in range(size.blocks))
        self.norm = nn.LayerNorm(width)
        self.from_tokens = nn.Conv2d(width, 4 * channels, 1)
        self.merge = nn.Conv2d(2 * channels, channels, 3, padding=1)
        self.out_block = ResBlock(channels, width)
        self.out_norm = nn.GroupNorm(8, channels)
        self.out_action = nn.Conv2d(channels, 3 * config.chunk_size, 3, padding=1)
        start_at_zero(self.out_action)
        seen = self.pixel_channels + _RAY_CHANNELS
        self.frames = FrameFeatures(self.future, seen, size.frame_channels, channels, width)
        self.frame_heads = FrameHeads(self.future, channels, size.frame_channels, self.pixel_channels)

    def forward(
        self, video: Tensor, action: Tensor, sigma: Tensor, rays: Tensor, text: Tensor, text_mask: Tensor
    ) -> tuple[Tensor, Tensor | None]:
        """video (B, V, Fv, C, h, w) with Fv 1 or chunk_size; action (B, V, T, 3, h, w); sigma (B,); rays (B, V, 6,
        h, w);
        text (B, L, D); text_mask (B, L) -> clean action (B, V, T, 3, h, w) and clean video of video's shape (None
        if Fv = 1)."""
        return self.predict(video, action, level_features(sigma, self.position.shape[1]), rays, text, text_mask)

    def predict(
        self, video: Tensor, action: Tensor, level: Tensor, rays: Tensor, text: Tensor, text_mask: Tensor
    ) -> tuple[Tensor, Tensor | None]:
        """`forward` with the features of sigma, level (B, width), in its place: what an exported graph computes."""
        b, v = action.shape[:2]
        condition = self.level(level)
        condition = condition + self.future_shown[int(video.shape[2] > 1)] + self._gist(text, text_mask)
        per_view = condition.repeat_interleave(v, 0)
        first = video[:, :, 0].flatten(0, 1)
        fine = self._stem(first, video, action.flatten(0, 1), rays.flatten(0, 1), per_view)
        if video.shape[2] > 1:
            frames, folded = self.frames(video[:, :, 1:].flatten(0, 1), rays.flatten(0, 1), per_view)
            fine = fine + folded
        coarse = self._attend(fine, rays, text, text_mask, condition)
        x = self.merge(torch.cat([coarse, fine], 1))
        x = F.silu(self.out_norm(self.out_block(x, per_view)))
        clean_action = self.out_action(x).unflatten(1, (-1, 3))
        if video.shape[2] == 1:
            return clean_action.unflatten(0, (b, v)), None
        later, future = self.frame_heads(x, frames, first, clean_action[:, 1:])
        clean_action = torch.cat([clean_action[:, :1], later], 1).unflatten(0, (b, v))
        return clean_action, torch.cat([video[:, :, :1], future.unflatten(0, (b, v))], 2)

    def _gist(self, text: Tensor, mask: Tensor) -> Tensor:
        """The instruction as a whole (B, width): it modulates every layer, so that a convolution can look for what
        is named."""
        shown = mask.to(text.dtype)[..., None]
        return self.gist((text * shown).sum(1) / shown.sum(1).clamp_min(1.0).sqrt())

    def _stem(self, first: Tensor, video: Tensor, action: Tensor, rays: Tensor, condition: Tensor) -> Tensor:
        """Everything that is known of a pixel, on the action grid (B V, channels, h, w)."""
        seen = self.look(self.see(torch.cat([first, rays], 1)), condition)
        x = seen + self.see_action(action.flatten(1, 2))
        if video.shape[2] > 1:
            x = x + self.see_future(video[:, :, 1:].flatten(2, 3).flatten(0, 1))
        return self.in_block(x, condition)

    def _attend(self, fine: Tensor, rays: Tensor, text: Tensor, text_mask: Tensor, condition: Tensor) -> Tensor:
        """Tokens of all views and the instruction attend to each other; back on the action grid."""
        b, v = rays.shape[:2]
        grid = self.to_tokens(F.pixel_unshuffle(fine, 2))
        ray = F.avg_pool2d(rays.flatten(0, 1), 2).flatten(2).transpose(1, 2)
        tokens = grid.flatten(2).transpose(1, 2) + self.ray_tokens(ray) + self.position
        tokens = tokens.unflatten(0, (b, v)).flatten(1, 2)
        words = self.text_in(text) + self.text_position
        shown = torch.cat([text_mask.new_ones(b, tokens.shape[1]), text_mask], 1)
        bias = (~shown)[:, None, None].to(tokens.dtype) * _MASKED
        x = torch.cat([tokens, words.to(tokens.dtype)], 1)
        for block in self.blocks:
            x = block(x, condition, bias)
        x = self.norm(x[:, : tokens.shape[1]]).unflatten(1, (v, -1)).flatten(0, 1)
        x = x.transpose(1, 2).unflatten(2, tuple(grid.shape[-2:]))
        return F.pixel_shuffle(self.from_tokens(x), 2)

    def velocity(self, video: Tensor, action: Tensor, sigma: Tensor, conditioning: Conditioning):
        """The Denoiser Protocol on torch tensors."""
        clean_action, clean_video = self(
            video, action, sigma, conditioning.rays, conditioning.text, conditioning.text_mask
        )
        moved = None if clean_video is None else velocity_from_clean(video, clean_video, sigma)
        return moved, velocity_from_clean(action, clean_action, sigma)

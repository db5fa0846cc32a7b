"""One transformer block and the output head, with the modulation tables of the original Wan code."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .attention import CrossAttention, SelfAttention
from .camera import CameraEncoder


class BlockConditions(NamedTuple):
    """What a block needs besides tokens and time; constant while the cameras and the instruction stand.

    camera (B or 1, F, dim): added to the tokens of each latent frame. text_k, text_v (B or 1, heads, L, head_dim).
    """

    camera: Tensor
    text_k: Tensor
    text_v: Tensor


class LayerNorm32(nn.LayerNorm):
    """Layer norm computed, and returned, in float32 whatever comes in."""

    def forward(self, x: Tensor) -> Tensor:
        weight, bias = (None, None) if self.weight is None else (self.weight.float(), self.bias.float())
        return F.layer_norm(x.float(), self.normalized_shape, weight, bias, self.eps)


class WanBlock(nn.Module):
    """AdaLN, self-attention with cameras, cross-attention to text, feed-forward."""

    def __init__(self, dim: int, ffn_dim: int, heads: int, camera_pool: tuple[int, int, int], eps: float) -> None:
        super().__init__()
        self.norm1 = LayerNorm32(dim, eps, elementwise_affine=False)
        self.self_attn: nn.Module = SelfAttention(dim, heads, eps)
        self.norm3 = LayerNorm32(dim, eps)
        self.cross_attn = CrossAttention(dim, heads, eps)
        self.norm2 = LayerNorm32(dim, eps, elementwise_affine=False)
        self.ffn: nn.Module = nn.Sequential(
            nn.Linear(dim, ffn_dim), nn.GELU(approximate="tanh"), nn.Linear(ffn_dim, dim))
        self.modulation = nn.Parameter(torch.empty(1, 6, dim))
        self.cam_encoder = CameraEncoder(camera_pool, dim)
        self.projector: nn.Module = nn.Linear(dim, dim)

    def modulate(self, time: Tensor) -> Tensor:
        """time (B, 6, dim) float32 -> (B, 6, dim) float32: shift, scale, gate of attention, then of feed-forward."""
        return self.modulation.float() + time

    def conditions(self, pooled_camera: Tensor, text: Tensor) -> BlockConditions:
        """pooled_camera (B, F, pool volume), text (B, L, dim) already embedded."""
        return BlockConditions(self.cam_encoder.encode(pooled_camera), *self.cross_attn.keys_values(text))

    def forward(self, x: Tensor, modulation: Tensor, conditions: BlockConditions, cos: Tensor, sin: Tensor) -> Tensor:
        """x (B, tokens, dim), modulation as of `modulate` (B or 1 first) -> (B, tokens, dim) in x's dtype."""
        shift, scale, gate, ffn_shift, ffn_scale, ffn_gate = modulation[:, :, None].unbind(1)
        y = (self.norm1(x) * (1 + scale) + shift).to(x.dtype)
        y = _add_per_frame(y, conditions.camera)
        y = self.projector(self.self_attn(y, cos, sin))
        x = (x.float() + y.float() * gate).to(x.dtype)
        x = x + self.cross_attn(self.norm3(x).to(x.dtype), conditions.text_k, conditions.text_v)
        y = self.ffn((self.norm2(x) * (1 + ffn_scale) + ffn_shift).to(x.dtype))
        return (x.float() + y.float() * ffn_gate).to(x.dtype)


class Head(nn.Module):
    """Final modulation and projection of a token to the pixels of its patch."""

    def __init__(self, dim: int, patch_volume: int, out_channels: int, eps: float) -> None:
        super().__init__()
        self.norm = LayerNorm32(dim, eps, elementwise_affine=False)
        self.head = nn.Linear(dim, patch_volume * out_channels)
        self.modulation = nn.Parameter(torch.empty(1, 2, dim))

    def modulate(self, time: Tensor) -> Tensor:
        """time (B, dim) float32 -> (B, 2, dim) float32: shift, scale."""
        return self.modulation.float() + time[:, None]

    def forward(self, x: Tensor, modulation: Tensor) -> Tensor:
        """x (B, tokens, dim), modulation (B or 1, 2, dim) -> (B, tokens, patch volume x channels), channels fastest."""
        shift, scale = modulation[:, :, None].unbind(1)
        return self.head((self.norm(x) * (1 + scale) + shift).to(x.dtype))


def _add_per_frame(tokens: Tensor, vectors: Tensor) -> Tensor:
    """(B, F n, dim) + (B or 1, F, dim), each vector to the n tokens of its frame."""
    frames = vectors.shape[1]
    return (tokens.unflatten(1, (frames, -1)) + vectors.to(tokens.dtype)[:, :, None]).flatten(1, 2)

"""Building blocks of the small denoiser."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def start_at_zero(layer: nn.Conv2d) -> None:
    nn.init.zeros_(layer.weight)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)


class ResBlock(nn.Module):
    """Two 3x3 convolutions with group norm, shifted and scaled by the noise level; (N, C, h, w) -> the same."""

    def __init__(self, channels: int, condition: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(8, channels)
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm2 = nn.GroupNorm(8, channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.modulation = nn.Linear(condition, 2 * channels)
        start_at_zero(self.conv2)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """condition (N, condition)."""
        scale, shift = self.modulation(condition)[:, :, None, None].chunk(2, 1)
        h = self.conv1(F.silu(self.norm1(x)))
        h = self.norm2(h) * (1 + scale) + shift
        return x + self.conv2(F.silu(h))


class Block(nn.Module):
    """Transformer block with AdaLN-zero on all tokens of all views and the instruction (Peebles & Xie 2023)."""

    def __init__(self, width: int, heads: int, mlp_ratio: int, condition: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width, elementwise_affine=False)
        self.qkv = nn.Linear(width, 3 * width)
        self.q_norm = nn.RMSNorm(width // heads, eps=1e-6, elementwise_affine=False)
        self.k_norm = nn.RMSNorm(width // heads, eps=1e-6, elementwise_affine=False)
        self.out = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width, elementwise_affine=False)
        self.up = nn.Linear(width, mlp_ratio * width)
        self.down = nn.Linear(mlp_ratio * width, width)
        self.modulation = nn.Linear(condition, 6 * width)
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)

    def forward(self, x: Tensor, condition: Tensor, bias: Tensor) -> Tensor:
        """x (B, N, width); condition (B, condition); bias (B, 1, 1, N) added to attention logits (-inf-like on
        padding)."""
        shift1, scale1, gate1, shift2, scale2, gate2 = self.modulation(condition)[:, None].chunk(6, -1)
        b, n, d = x.shape
        h = self.norm1(x) * (1 + scale1) + shift1
        q, k, v = self.qkv(h).reshape(b, n, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        logits = (self.q_norm(q) * (d // self.heads) ** -0.5) @ self.k_norm(k).transpose(-1, -2)
        h = torch.softmax(logits + bias.to(logits.dtype), -1, dtype=logits.dtype) @ v
        x = x + gate1 * self.out(h.transpose(1, 2).reshape(b, n, d))
        h = self.norm2(x) * (1 + scale2) + shift2
        return x + gate2 * self.down(F.gelu(self.up(h), approximate="tanh"))


def level_features(sigma: Tensor, width: int) -> Tensor:
    """sigma (B,) in [0, 1] -> sinusoidal features (B, width), model time 1000 sigma as in the full-size model."""
    half = width // 2
    frequency = torch.exp(-torch.log(torch.tensor(10000.0)) * torch.arange(half, device=sigma.device) / half)
    angle = 1000.0 * sigma[:, None].float() * frequency
    return torch.cat([torch.cos(angle), torch.sin(angle)], -1)

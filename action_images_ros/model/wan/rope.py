"""Rotary position embedding over the packed (time, height, width) grid, in real arithmetic.

Pairs of neighbouring channels are rotated by position x frequency. Of the head_dim / 2 pairs, a third (rounded down)
encodes height, as many width, and the rest time (the published Wan layout: time first).
"""

from __future__ import annotations

import torch
from torch import Tensor

_BASE = 10_000.0


def rope_tables(grid: tuple[int, int, int], head_dim: int, device: torch.device | None = None) -> tuple[Tensor, Tensor]:
    """grid: tokens along (time, height, width) -> cos, sin, each (tokens, head_dim / 2) float32, width fastest.

    Angles are computed in float64: at position 1000 float32 would already be 3e-5 rad off.
    """
    side = head_dim // 6
    pairs = (head_dim // 2 - 2 * side, side, side)
    angles = []
    for axis, (length, n) in enumerate(zip(grid, pairs)):
        frequency = _BASE ** -(torch.arange(n, dtype=torch.float64, device=device) / n)
        along = torch.arange(length, dtype=torch.float64, device=device)[:, None] * frequency
        shape = [1, 1, 1, n]
        shape[axis] = length
        angles.append(along.reshape(shape).expand(*grid, n))
    table = torch.cat(angles, -1).reshape(-1, head_dim // 2)
    return table.cos().float(), table.sin().float()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """x (B, tokens, heads, head_dim), tables (tokens, head_dim / 2) -> x rotated, in x's dtype."""
    even, odd = x.float().unflatten(-1, (-1, 2)).unbind(-1)
    cos, sin = cos[:, None], sin[:, None]
    return torch.stack([even * cos - odd * sin, even * sin + odd * cos], -1).flatten(-2).to(x.dtype)

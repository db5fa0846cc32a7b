"""Self-attention with rotary positions, and cross-attention to text whose keys and values can be kept.

Parameter names (q, k, v, o, norm_q, norm_k) are those of the original Wan code.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from .rope import rotate


class _Attention(nn.Module):
    def __init__(self, dim: int, heads: int, eps: float) -> None:
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v, self.o = (nn.Linear(dim, dim) for _ in range(4))
        self.norm_q, self.norm_k = nn.RMSNorm(dim, eps), nn.RMSNorm(dim, eps)

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1))

    def _attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """q (B, heads, n, head_dim), k and v (B, heads, m, head_dim) -> (B, n, dim)."""
        return self.o(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class SelfAttention(_Attention):
    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """x (B, tokens, dim), rope tables (tokens, head_dim / 2) -> (B, tokens, dim)."""
        q = rotate(self._split(self.norm_q(self.q(x))), cos, sin)
        k = rotate(self._split(self.norm_k(self.k(x))), cos, sin)
        return self._attend(q.transpose(1, 2), k.transpose(1, 2), self._split(self.v(x)).transpose(1, 2))


class CrossAttention(_Attention):
    def keys_values(self, text: Tensor) -> tuple[Tensor, Tensor]:
        """text (B, L, dim) -> keys, values, each (B, heads, L, head_dim)."""
        return (self._split(self.norm_k(self.k(text))).transpose(1, 2).contiguous(),
                self._split(self.v(text)).transpose(1, 2).contiguous())

    def forward(self, x: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """x (B, tokens, dim), k and v as of `keys_values` (B or 1 first) -> (B, tokens, dim)."""
        q = self._split(self.norm_q(self.q(x))).transpose(1, 2)
        batch = q.shape[0]
        return self._attend(q, k.expand(batch, -1, -1, -1), v.expand(batch, -1, -1, -1))

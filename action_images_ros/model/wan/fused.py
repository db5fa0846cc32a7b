"""The same transformer with fewer and larger matrix products, for inference.

q, k and v come from one product; self-attention's output and the projector behind it are one matrix (no non-linearity
stands between them); the channels of q and k are reordered so that a rotary pair lies half a head apart, which every
q k product leaves as it was. State dicts of a fused model are not those of the layout: fuse after loading.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .attention import SelfAttention
from .transformer import WanActionTransformer


class FusedSelfAttention(nn.Module):
    """`SelfAttention` and the projector behind it; same arguments, result after the projector."""

    def __init__(self, attention: SelfAttention, projector: nn.Linear) -> None:
        super().__init__()
        self.heads = attention.heads
        order = half_split(attention.q.out_features, self.heads).to(attention.q.weight.device)
        parts: list[tuple[nn.Linear, Tensor | slice]] = [
            (attention.q, order), (attention.k, order), (attention.v, slice(None))]
        self.qkv = _linear(torch.cat([m.weight[o] for m, o in parts]), torch.cat([m.bias[o] for m, o in parts]))
        p, o = projector, attention.o
        self.o = _linear((p.weight.double() @ o.weight.double()).to(o.weight.dtype),
                         (p.weight.double() @ o.bias.double() + p.bias.double()).to(o.bias.dtype))
        self.norm_q, self.norm_k = attention.norm_q, attention.norm_k
        for norm in (self.norm_q, self.norm_k):
            norm.weight = nn.Parameter(norm.weight[order].clone(), requires_grad=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        q, k, v = self.qkv(x).chunk(3, -1)
        q, k, v = (y.unflatten(-1, (self.heads, -1)) for y in (self.norm_q(q), self.norm_k(k), v))
        q, k = rotate_halves(q, cos, sin).transpose(1, 2), rotate_halves(k, cos, sin).transpose(1, 2)
        return self.o(F.scaled_dot_product_attention(q, k, v.transpose(1, 2)).transpose(1, 2).flatten(2))


def fuse(model: WanActionTransformer) -> WanActionTransformer:
    """Fuse every block of `model` in place, in eval mode, without gradients."""
    with torch.no_grad():
        for block in model.blocks:
            if isinstance(block.self_attn, SelfAttention):
                assert isinstance(block.projector, nn.Linear), "replaced together with self_attn"
                block.self_attn = FusedSelfAttention(block.self_attn, block.projector)
                block.projector = nn.Identity()
    return model.eval().requires_grad_(False)


def rotate_halves(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """`rope.rotate` for channels in the order of `half_split`."""
    a, b = x.float().chunk(2, -1)
    cos, sin = cos[:, None], sin[:, None]
    return torch.cat([a * cos - b * sin, a * sin + b * cos], -1).to(x.dtype)


def half_split(dim: int, heads: int) -> Tensor:
    """Permutation (dim,): in each head the first channel of every rotary pair, then the second of every pair."""
    pairs = torch.arange(dim).reshape(heads, -1, 2)
    return pairs.transpose(1, 2).reshape(-1)


def _linear(weight: Tensor, bias: Tensor) -> nn.Linear:
    made = nn.Linear(weight.shape[1], weight.shape[0], device="meta")
    made.weight, made.bias = nn.Parameter(weight, requires_grad=False), nn.Parameter(bias, requires_grad=False)
    return made

"""8-bit matrix products (e4m3) in the transformer's blocks, by torch's scaled matmul.

Weights carry one scale an output channel, activations one a token, found as they come: no calibration. Products are
summed in float32 and returned in the activations' type. Everything outside of the blocks' large linear layers keeps
its precision.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ...errors import EngineError
from .transformer import WanActionTransformer

_TYPE = torch.float8_e4m3fn
_LARGEST = 448.0
_ALIGNED = 16
_LEAST_CAPABILITY = (8, 9)


class Fp8Linear(nn.Module):
    """Stands for a Linear layer whose sizes are multiples of 16."""

    weight: Tensor
    scale: Tensor
    bias: Tensor | None

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        weight = linear.weight.detach().float()
        scale = weight.abs().amax(1).clamp_min(1e-12) / _LARGEST
        self.register_buffer("weight", (weight / scale[:, None]).to(_TYPE))
        self.register_buffer("scale", scale[None])
        self.register_buffer("bias", None if linear.bias is None else linear.bias.detach().clone())

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) -> (..., out) in x's dtype."""
        rows = x.flatten(0, -2)
        scale = rows.abs().amax(-1, keepdim=True).float().clamp_min(1e-12) / _LARGEST
        small = (rows.float() / scale).clamp(-_LARGEST, _LARGEST).to(_TYPE)
        made = torch._scaled_mm(small, self.weight.t(), scale_a=scale, scale_b=self.scale, out_dtype=torch.bfloat16,
                                use_fast_accum=True)
        if self.bias is not None:
            made = made + self.bias
        return made.to(x.dtype).unflatten(0, x.shape[:-1])


def unsupported(device: torch.device) -> str:
    """ "" where the device multiplies in 8 bits, otherwise why not. The CPU computes it too, slowly."""
    if device.type != "cuda":
        return ""
    found = torch.cuda.get_device_capability(device)
    if found >= _LEAST_CAPABILITY:
        return ""
    return f"{torch.cuda.get_device_name(device)} has no 8-bit matrix product (compute capability {found}, needs 8.9)"


def quantise(model: WanActionTransformer) -> int:
    """Replace the large linear layers of every block in place; returns how many.

    Cross-attention's k and v stay: they are computed once an instruction. Raises EngineError where the device has no
    8-bit matrix product.
    """
    missing = unsupported(model.patch_embedding.weight.device)
    if missing:
        raise EngineError(f"{missing}; use precision bf16")
    count = 0
    for block in model.blocks:
        for parent, names in ((block.self_attn, ("qkv", "q", "k", "v", "o")), (block.cross_attn, ("q", "o")),
                              (block.ffn, ("0", "2")), (block, ("projector",))):
            for name in names:
                layer = getattr(parent, name, None)
                if isinstance(layer, nn.Linear) and not (layer.in_features % _ALIGNED or layer.out_features % _ALIGNED):
                    setattr(parent, name, Fp8Linear(layer))
                    count += 1
    return count

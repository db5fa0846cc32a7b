"""Gradient checkpointing of any denoiser: activations of its transformer blocks are computed again in the backward
pass instead of being kept."""

from __future__ import annotations

from functools import partial

from torch import nn
from torch.utils.checkpoint import checkpoint

from .sharing import blocks_of


def recompute_blocks(model: nn.Module) -> None:
    """Switch it on in place. Gradients stay what they are."""
    own = getattr(getattr(model, "transformer", None), "enable_gradient_checkpointing", None)
    if own is not None:
        own()
        return
    for block in blocks_of(model):
        block.forward = partial(checkpoint, block.forward, use_reentrant=False)

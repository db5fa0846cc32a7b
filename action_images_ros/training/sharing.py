"""One model over several processes: replicated, or its weights, gradients and optimiser in shards (FSDP2)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from enum import Enum
from typing import Any

import torch
from torch import nn
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.utils._pytree import tree_map


class Sharing(str, Enum):
    """REPLICATED: every process has the whole model. SHARDED: a part of it, gathered block by block; for models that
    do not fit one accelerator."""

    REPLICATED = "replicated"
    SHARDED = "sharded"


def blocks_of(model: nn.Module) -> list[nn.Module]:
    """The transformer blocks of a denoiser, most of its weights."""
    holder: Any = getattr(model, "transformer", model)
    return list(holder.blocks)


def shard(root: nn.Module, model: nn.Module) -> None:
    """Shard in place over all processes; `root` is what is called. Needs an initialised process group."""
    from torch.distributed.fsdp import fully_shard

    for parameter in model.parameters():
        parameter.data = parameter.data.contiguous()  # convolutions in channels_last cannot be sharded
    for block in blocks_of(model):
        fully_shard(block)
    fully_shard(root)


@contextmanager
def gradients_kept(accelerator, module: Any) -> Iterator[None]:
    """Within, a backward pass adds to the gradients of this process alone."""
    sharded = hasattr(module, "set_requires_gradient_sync")
    if sharded:
        module.set_requires_gradient_sync(False)
    try:
        with nullcontext() if sharded else accelerator.no_sync(module):
            yield
    finally:
        if sharded:
            module.set_requires_gradient_sync(True)


def whole(tree):
    """Every sharded tensor of a tree gathered, everything else as it is. To be called in all processes."""
    return tree_map(lambda v: v.full_tensor() if isinstance(v, DTensor) else v, tree)


def placed_like(value: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """A whole tensor as `like` is: on its device, sharded where it is."""
    if isinstance(like, DTensor) and value.shape == like.shape:
        return distribute_tensor(value.to(like.device), like.device_mesh, like.placements)
    return value

"""Which of torch's attention kernels is fastest on a GPU for a shape: tried, not assumed. Needs torch."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

ORDER = (SDPBackend.FLASH_ATTENTION, SDPBackend.CUDNN_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH)
_FUSED = ORDER[:3]
_REPEATS = 5


def measured(shape: tuple[int, int, int, int], dtype: torch.dtype, device: torch.device) -> dict[SDPBackend, float]:
    """shape (B, heads, tokens, head_dim) -> ms of one self-attention by backend, of those that serve it on this GPU."""
    q, k, v = (torch.randn(shape, dtype=dtype, device=device) for _ in range(3))
    found = {}
    for backend in _FUSED:
        try:
            with sdpa_kernel([backend]):
                found[backend] = _milliseconds(lambda: F.scaled_dot_product_attention(q, k, v))
        except RuntimeError:
            continue
    return found


def fastest_first(shape: tuple[int, int, int, int], dtype: torch.dtype,
                  device: torch.device) -> Callable[[], AbstractContextManager]:
    """A context in which torch tries the backends in the order of their speed for `shape`; nothing on a CPU."""
    if device.type != "cuda":
        return nullcontext
    times = measured(shape, dtype, device)
    order = sorted(times, key=times.__getitem__) + [b for b in ORDER if b not in times]
    return lambda: sdpa_kernel(order, set_priority=True)


def _milliseconds(call: Callable[[], object]) -> float:
    for _ in range(2):
        call()
    began, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    began.record()
    for _ in range(_REPEATS):
        call()
    ended.record()
    torch.cuda.synchronize()
    return began.elapsed_time(ended) / _REPEATS

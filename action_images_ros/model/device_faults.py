"""Errors of memory and device, whichever part of the model meets them, as EngineErrors. Needs torch."""

from __future__ import annotations

from typing import Literal

import torch

from ..errors import EngineError

_SCARCE = ("not enough memory", "can't allocate memory", "ALLOC_FAILED")


class device_faults:
    """Turns torch's errors of memory and device into EngineErrors with the remedy."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind, error, _) -> Literal[False]:
        if isinstance(error, torch.OutOfMemoryError | MemoryError):
            if self._device.type == "cuda":
                torch.cuda.empty_cache()
            raise EngineError(f"out of memory on {self._device} ({_first_line(error)}); use a lower precision, smaller "
                              "images or mode policy, or free the device: see docs/deployment.md") from error
        if isinstance(error, RuntimeError):
            scarce = any(words in str(error) for words in _SCARCE)
            where = "out of memory" if scarce else "the model failed"
            raise EngineError(f"{where} on {self._device}: {_first_line(error)}") from error
        return False


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]

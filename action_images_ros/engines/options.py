"""How an engine is to run."""

from __future__ import annotations

import os
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from ..errors import EngineError, one_of

_DEFAULT_THREADS = 2
_ALIASES = {"fp32": "f32", "fp16": "f16", "f8": "fp8"}


class Precision(str, Enum):
    """Of matrix products; what is summed up or normalised stays float32. AUTO: the fastest that stays close to
    float32, as the engine says. FP8: e4m3, weights scaled by output channel, activations by token."""

    AUTO = "auto"
    F32 = "f32"
    BF16 = "bf16"
    F16 = "f16"
    FP8 = "fp8"

    @classmethod
    def parse(cls, name: str) -> Precision:
        """fp32 and fp16 are taken for f32 and f16."""
        try:
            return cls(_ALIASES.get(name, name))
        except ValueError:
            raise EngineError(f"precision is {name!r}; legal: {', '.join(p.value for p in cls)}") from None


@dataclass(frozen=True)
class EngineOptions:
    """threads: processor threads of one inference; None = 2, or 1 where there is no more: the small denoiser gains
    little from more, and the control loop shares the processor. device: for torch, "auto" is a GPU where there is one.
    engine_dir: where built engines are trusted; None = `store.trusted_root`."""

    threads: int | None = None
    precision: Precision = Precision.AUTO
    device: str = "auto"
    engine_dir: Path | None = None

    def __post_init__(self) -> None:
        if self.threads is not None and self.threads < 1:
            raise EngineError(f"threads is {self.threads}; it must be at least 1")
        one_of("device", self.device, ("auto", "cpu", "cuda"), EngineError)

    @property
    def thread_count(self) -> int:
        return self.threads or min(_DEFAULT_THREADS, os.cpu_count() or 1)

"""How an engine is to run."""

from __future__ import annotations

import os
from dataclasses import dataclass
from enum import Enum

from ..errors import EngineError

_DEFAULT_THREADS = 2


class Precision(str, Enum):
    """AUTO: the fastest that stays close to float32, as the engine says. F32, BF16: that one."""

    AUTO = "auto"
    F32 = "f32"
    BF16 = "bf16"

    @classmethod
    def parse(cls, name: str) -> Precision:
        try:
            return cls(name)
        except ValueError:
            raise EngineError(f"precision is {name!r}; legal: {', '.join(p.value for p in cls)}") from None


@dataclass(frozen=True)
class EngineOptions:
    """threads: processor threads of one inference; None = 2, or 1 where there is no more: the small denoiser gains
    little from more, and the control loop shares the processor."""

    threads: int | None = None
    precision: Precision = Precision.AUTO

    def __post_init__(self) -> None:
        if self.threads is not None and self.threads < 1:
            raise EngineError(f"threads is {self.threads}; it must be at least 1")

    @property
    def thread_count(self) -> int:
        return self.threads or min(_DEFAULT_THREADS, os.cpu_count() or 1)

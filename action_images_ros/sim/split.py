"""Training and test conditions that cannot overlap: every fourth bin of a quantity belongs to TEST alone."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np

from ..errors import SimError

_EVERY = 4
_TEST_PHASE = 2


class Split(Enum):
    """Which bins of camera pose, lens, shade, light and layout may be drawn."""

    TRAIN = "train"
    TEST = "test"

    @classmethod
    def parse(cls, text: str) -> Split:
        try:
            return cls(text)
        except ValueError:
            raise SimError(f"split is {text!r}; legal: train, test") from None


@dataclass(frozen=True)
class HeldOut:
    """A quantity in [low, high] cut into bins of `width` counted from zero.

    Bin k = floor(value / width) belongs to TEST where k % 4 == 2, else to TRAIN.
    """

    low: float
    high: float
    width: float

    def __post_init__(self) -> None:
        splits = {self.split_of((k + 0.5) * self.width) for k in self._bins()}
        if not self.low < self.high or self.width <= 0 or len(splits) < 2:
            raise SimError(f"[{self.low}, {self.high}] in bins of {self.width} has no bin for one of the splits; "
                           "widen the range or narrow the bins")

    def _bins(self) -> range:
        return range(int(np.floor(self.low / self.width + 1e-9)), int(np.ceil(self.high / self.width - 1e-9)))

    def split_of(self, value: float) -> Split:
        return Split.TEST if int(np.floor(value / self.width)) % _EVERY == _TEST_PHASE else Split.TRAIN

    def sample(self, rng: np.random.Generator, split: Split) -> float:
        """Uniform over the part of [low, high] that belongs to `split`."""
        while True:
            value = float(rng.uniform(self.low, self.high))
            if self.split_of(value) is split:
                return value


def cell_split(i: int, j: int) -> Split:
    """Which split the cell (i, j) of a two-dimensional grid belongs to: one in four, spread like knight's moves."""
    return Split.TEST if (i + 2 * j) % _EVERY == _TEST_PHASE else Split.TRAIN

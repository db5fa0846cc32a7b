"""Two models on the same episodes: is one better, and by how much."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import ConfigError
from .intervals import wilson


@dataclass(frozen=True)
class PairedTable:
    """Episodes by what became of them: both succeeded, only the first, only the second, neither."""

    both: int
    first_only: int
    second_only: int
    neither: int

    def __post_init__(self) -> None:
        if min(self.both, self.first_only, self.second_only, self.neither) < 0 or self.n < 1:
            raise ConfigError(f"paired table {self} needs counts >= 0 and at least one episode")

    @classmethod
    def of(cls, first: Sequence[bool], second: Sequence[bool]) -> PairedTable:
        """Of the same episodes in the same order."""
        if len(first) != len(second):
            raise ConfigError(f"{len(first)} and {len(second)} episodes cannot be paired; evaluate both on the same")
        pairs = [(bool(a), bool(b)) for a, b in zip(first, second)]
        return cls(*(pairs.count(p) for p in ((True, True), (True, False), (False, True), (False, False))))

    @property
    def n(self) -> int:
        return self.both + self.first_only + self.second_only + self.neither

    @property
    def difference(self) -> float:
        """Success rate of the first less that of the second."""
        return (self.first_only - self.second_only) / self.n

    @property
    def p_value(self) -> float:
        """Exact two-sided McNemar test: among the episodes in which they differ, either is as likely to have won."""
        differ, fewer = self.first_only + self.second_only, min(self.first_only, self.second_only)
        return min(1.0, 2.0 * sum(math.comb(differ, k) for k in range(fewer + 1)) / 2.0**differ)

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of the difference: Wilson's intervals of both rates, squared and added with regard to their
        correlation (Newcombe 1998, Stat. Med. 17, method 10)."""
        first, second = self.both + self.first_only, self.both + self.second_only
        (low1, high1), (low2, high2) = wilson(first, self.n), wilson(second, self.n)
        p1, p2, phi = first / self.n, second / self.n, self._correlation()
        below = _joint(p1 - low1, high2 - p2, phi)
        above = _joint(high1 - p1, p2 - low2, phi)
        return max(-1.0, self.difference - below), min(1.0, self.difference + above)

    def _correlation(self) -> float:
        a, b, c, d = self.both, self.first_only, self.second_only, self.neither
        margins = (a + b) * (c + d) * (a + c) * (b + d)
        if not margins:
            return 0.0
        cross = a * d - b * c
        return (max(cross - self.n / 2, 0.0) if cross > 0 else cross) / math.sqrt(margins)


def _joint(a: float, b: float, correlation: float) -> float:
    return math.sqrt(max(0.0, a * a - 2 * correlation * a * b + b * b))

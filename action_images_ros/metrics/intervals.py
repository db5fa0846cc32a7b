"""How sure a mean or a rate is."""

from __future__ import annotations

import math

import numpy as np

from ..errors import ConfigError

_Z_95 = 1.959964
_RESAMPLES = 2000


def bootstrap_interval(values: np.ndarray, rng: np.random.Generator) -> tuple[float, float]:
    """95 % percentile interval of the mean of independent `values` (n,), NaN left out; (NaN, NaN) for fewer than 2."""
    values = np.asarray(values, float)
    values = values[np.isfinite(values)]
    if len(values) < 2:
        return float("nan"), float("nan")
    means = values[rng.integers(len(values), size=(_RESAMPLES, len(values)))].mean(-1)
    low, high = np.percentile(means, (2.5, 97.5))
    return float(low), float(high)


def wilson(successes: int, n: int) -> tuple[float, float]:
    """95 % Wilson score interval of a proportion (Wilson 1927)."""
    if not 0 <= successes <= n or n < 1:
        raise ConfigError(f"{successes} successes of {n} trials is no proportion")
    p, z2 = successes / n, _Z_95**2
    centre = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = _Z_95 / (1 + z2 / n) * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)

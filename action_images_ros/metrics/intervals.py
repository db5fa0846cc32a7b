"""How sure a mean is."""

from __future__ import annotations

import numpy as np

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

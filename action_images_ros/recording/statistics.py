"""Statistics of features as LeRobot data sets carry them: min, max, mean, std, count and five quantiles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

QUANTILES = {"q01": 0.01, "q10": 0.1, "q50": 0.5, "q90": 0.9, "q99": 0.99}
Stats = dict[str, np.ndarray]


def of_values(values: np.ndarray) -> Stats:
    """Of (N,) or (N, D); each (1,) or (D,), count (1,)."""
    x = np.asarray(values, float).reshape(len(values), -1)
    out = {"min": x.min(0), "max": x.max(0), "mean": x.mean(0), "std": x.std(0), "count": np.array([len(x)])}
    return out | {name: np.quantile(x, q, axis=0) for name, q in QUANTILES.items()}


def of_pictures(pictures: Sequence[np.ndarray]) -> Stats:
    """Of (H, W, 3) uint8 pictures, per channel, in [0, 1]; each (3, 1, 1), count (1,) of pictures."""
    x = np.stack([p[::4, ::4] for p in pictures]).reshape(-1, 3) / 255.0
    out = {k: v.reshape(3, 1, 1) for k, v in of_values(x).items() if k != "count"}
    return out | {"count": np.array([len(pictures)])}


def together(parts: Sequence[Stats]) -> Stats:
    """Of several episodes as one; quantiles are the means of theirs, weighted by count."""
    counts = np.array([float(p["count"][0]) for p in parts])
    share = counts / counts.sum()
    mean = sum(w * p["mean"] for w, p in zip(share, parts))
    variance = sum(w * (p["std"] ** 2 + (p["mean"] - mean) ** 2) for w, p in zip(share, parts))
    out = {
        "min": np.min([p["min"] for p in parts], axis=0),
        "max": np.max([p["max"] for p in parts], axis=0),
        "mean": mean,
        "std": np.sqrt(variance),
        "count": np.array([int(counts.sum())]),
    }
    return out | {q: sum(w * p[q] for w, p in zip(share, parts)) for q in QUANTILES}


def plain(stats: Mapping[str, Stats]) -> dict:
    """JSON-able."""
    return {key: {name: value.tolist() for name, value in of.items()} for key, of in stats.items()}


def from_plain(stats: Mapping[str, Mapping[str, list]]) -> dict[str, Stats]:
    return {key: {name: np.array(value) for name, value in of.items()} for key, of in stats.items()}

"""Scores of one window, and their means over many with what separates two methods."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..codec import ActionEncoding, encode
from ..metrics.actions import (
    MASK_THRESHOLDS,
    angle_error_rad,
    bridged,
    mask_jaccard,
    pixel_error,
    point_jaccard,
    position_error_m,
)
from ..metrics.images import video_scores
from ..metrics.intervals import bootstrap_interval
from ..types import ActionChunk
from .mode_windows import Guess, Window

MASKS = tuple(f"iou_{t:g}" for t in MASK_THRESHOLDS)
VIDEO_METRICS = ("psnr_db", "psnr_moving_db", "ssim", "gmsd")
ACTION_METRICS = ("mean_mm", "last_mm", "mean_deg", "mean_px", "gripper", "credible")
LABEL_METRICS = (*ACTION_METRICS, "jaccard", *MASKS)
LOWER_IS_BETTER = frozenset(("gmsd", "mean_mm", "last_mm", "mean_deg", "mean_px"))
TITLES = {"psnr_db": "PSNR dB", "psnr_moving_db": "moving dB", "ssim": "SSIM", "gmsd": "GMSD", "mean_mm": "mean mm",
          "median_mm": "median mm", "credible_mm": "cred. mm", "last_mm": "last mm", "mean_deg": "deg",
          "mean_px": "2D px", "gripper": "gripper", "credible": "credible", "jaccard": "Jaccard",
          **{m: f"IoU>{t:g}" for m, t in zip(MASKS, MASK_THRESHOLDS)}}

Scores = dict[str, float]


def guess_of(chunk: ActionChunk) -> Guess:
    """A decoded chunk as an executor takes it: steps that are not credible are bridged."""
    return Guess(bridged(chunk), chunk.openness, chunk.credible)


def score_video(window: Window, video: np.ndarray) -> Scores:
    return vars(video_scores(window.video, video)).copy()


def score_actions(window: Window, guess: Guess, encoding: ActionEncoding) -> Scores:
    """Step 0, which is given, does not count. credible_mm: mean over the steps that the guess stands by, NaN if there
    are none; mean_px: the three encoded points, on the model's camera image."""
    mm = 1e3 * position_error_m(window.poses, guess.poses)[1:]
    px, stood_by = _pixels(window, guess, encoding), mm[guess.shown[1:]]
    return {"mean_mm": float(mm.mean()), "median_mm": float(np.median(mm)), "last_mm": float(mm[-1]),
            "credible_mm": float(stood_by.mean()) if stood_by.size else float("nan"),
            "mean_deg": float(np.degrees(angle_error_rad(window.poses, guess.poses)[1:].mean())),
            "mean_px": float(np.nanmean(px)), "credible": float(guess.shown[1:].mean()),
            "gripper": float(((guess.openness > 0.5) == (window.openness > 0.5))[1:].mean())}


def score_labels(window: Window, guess: Guess, encoding: ActionEncoding, action_size: tuple[int, int],
                 images: np.ndarray | None = None) -> Scores:
    """`score_actions`, the Jaccard index of the points (mean over its distances) and the overlap of blob masks.

    images (T, V, h, w, 3): action images that a model made; None: drawn from the guess.
    """
    px = _pixels(window, guess, encoding)
    shown = np.broadcast_to(guess.shown[1:, None, None], px.shape)
    jaccard = point_jaccard(px, shown, min(window.cameras[0].image_size))
    coarse = [camera.resized(action_size) for camera in window.cameras]
    truth = encode(window.poses, window.openness, coarse, encoding)
    made = encode(guess.poses, guess.openness, coarse, encoding) if images is None else images
    return {**score_actions(window, guess, encoding), "jaccard": float(jaccard.mean()),
            **dict(zip(MASKS, mask_jaccard(truth[1:], made[1:]).tolist()))}


def _pixels(window: Window, guess: Guess, encoding: ActionEncoding) -> np.ndarray:
    return pixel_error(encoding.base_points(window.poses), encoding.base_points(guess.poses), window.cameras)[1:]


def averaged(rows: Sequence[Scores]) -> Scores:
    out = {}
    for name in rows[0]:
        values = np.array([row[name] for row in rows])
        known = values[np.isfinite(values)]
        out[name] = float(known.mean()) if known.size else float("nan")
    return out


@dataclass(frozen=True)
class Comparison:
    """A model against a baseline on the same windows: mean gain, > 0 is better, and its 95 % interval."""

    metric: str
    gain: float
    interval: tuple[float, float]

    @property
    def verdict(self) -> str:
        return "better" if self.interval[0] > 0 else "worse" if self.interval[1] < 0 else "undecided"


def compared(model: Sequence[Scores], baseline: Sequence[Scores], metrics: Sequence[str],
             seed: int) -> list[Comparison]:
    """Paired by window; metrics that one of them lacks, or has in fewer than two windows, are left out."""
    out = []
    for metric in metrics:
        if metric in model[0] and metric in baseline[0]:
            sign = -1.0 if metric in LOWER_IS_BETTER else 1.0
            gains = sign * np.array([a[metric] - b[metric] for a, b in zip(model, baseline)])
            gains = gains[np.isfinite(gains)]
            if len(gains) > 1:
                interval = bootstrap_interval(gains, np.random.default_rng(seed))
                out.append(Comparison(metric, float(gains.mean()), interval))
    return out

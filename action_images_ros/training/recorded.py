"""Recorded data sets as episodes to train on: preprocessing is what the live policy does, frame by frame."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..errors import DatasetError
from ..model.config import ModelConfig
from ..model.frames import model_camera, model_image
from ..recording.lerobot_read import RecordedEpisode, read_dataset
from .data import Episode

_RATE_TOLERANCE = 0.02


def recorded_episodes(directory: Path, config: ModelConfig, split: str = "", limit: int | None = None) -> list[Episode]:
    """Episodes of a data set of `action-images dataset`, at the model's rate and image size, without marked failures.

    A recording at k times the model's rate gives k episodes, each beginning a frame later: every frame is a start.
    Raises DatasetError where the rates or the views do not fit the model.
    """
    out: list[Episode] = []
    for recorded in read_dataset(directory, split):
        if recorded.success != "failure":
            out += _episodes(recorded, config)
        if limit is not None and len(out) >= limit:
            return out[:limit]
    if not out:
        raise DatasetError(f"{directory}: no episode of split {split or 'all'} that is not marked as a failure")
    return out


def frame_stride(fps: float, dt_s: float) -> int:
    """Frames from one action step to the next. Raises DatasetError unless it is a whole number."""
    stride = fps * dt_s
    if stride < 1 - _RATE_TOLERANCE or abs(stride - round(stride)) > _RATE_TOLERANCE * stride:
        raise DatasetError(
            f"a data set of {fps:g} frames/s does not have a frame every {dt_s:g} s, as the model needs; convert it "
            f"with --fps {max(1, round(fps * dt_s)) / dt_s:g}"
        )
    return round(stride)


def _episodes(recorded: RecordedEpisode, config: ModelConfig) -> list[Episode]:
    stride = frame_stride(recorded.fps, config.dt_s)
    if len(recorded.cameras) != config.views:
        raise DatasetError(
            f"the data set has views {', '.join(recorded.cameras)}, the model takes {config.views}; "
            "choose a model of that many"
        )
    seen = [
        np.stack([model_image(frame, config.image_size) for frame in recorded.frames(view)])
        for view in recorded.cameras
    ]
    n = len(recorded.openness)
    if any(len(s) != n for s in seen):
        raise DatasetError(f"episode {recorded.index} has {[len(s) for s in seen]} video frames and {n} states")
    images = np.stack(seen, axis=1)
    cameras = tuple(model_camera(c, config.image_size) for c in recorded.cameras.values())
    words = (recorded.instruction,)
    return [
        Episode(images[k::stride], recorded.base_T_tcps[k::stride], recorded.openness[k::stride], cameras, words)
        for k in range(min(stride, n))
    ]

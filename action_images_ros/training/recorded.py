"""Recorded data sets as episodes to train on: preprocessing is what the live policy does, frame by frame."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..errors import DatasetError, ModelError
from ..model.config import ModelConfig
from ..model.contract import DataContract
from ..model.frames import model_camera, model_image
from ..recording.lerobot_layout import CONTRACT
from ..recording.lerobot_read import RecordedEpisode, least_confidence, read_dataset
from .data import Episode

_RATE_TOLERANCE = 0.02


def recorded_episodes(directory: Path, config: ModelConfig, split: str = "", limit: int | None = None,
                      min_confidence: float | None = None) -> list[Episode]:  # fmt: skip
    """Episodes of a data set of `action-images dataset`, at the model's rate and image size, without marked failures.

    A recording at k times the model's rate gives k episodes, each beginning a frame later: every frame is a start.
    Of a data set of `action-images label`, no chunk contains a frame whose label is less sure than min_confidence
    (None: as the data set says). Raises DatasetError where rates, views or frames do not fit the model.
    """
    of_data = data_contract(directory)
    found = config.data.differences(of_data.views, of_data.base_frame, of_data.tcp_frame)
    if found:
        raise DatasetError(f"{directory} does not go with this model's data: {'; '.join(found)}")
    least = least_confidence(directory) if min_confidence is None else min_confidence
    out: list[Episode] = []
    for recorded in read_dataset(directory, split):
        if recorded.success != "failure":
            out += _episodes(recorded, config, least)
        if limit is not None and len(out) >= limit:
            return out[:limit]
    if not out:
        raise DatasetError(f"{directory}: no episode of split {split or 'all'} that is not marked as a failure and "
                           f"has {config.chunk_size} action steps in a row that are sure enough")  # fmt: skip
    return out


def data_contract(directory: Path) -> DataContract:
    """What a model that is trained on this data set has to know of it. Raises DatasetError where it does not say."""
    try:
        said = json.loads((Path(directory) / CONTRACT).read_text(encoding="utf-8"))
        return DataContract(tuple(said["views"]), float(said["fps"]), said["base_frame"], said["tcp_frame"])
    except (OSError, ValueError, KeyError, TypeError, ModelError) as e:
        raise DatasetError(f"{directory} is no complete data set: {CONTRACT} does not say views, fps and frames "
                           f"({' '.join(str(e).split())})") from e


def frame_stride(fps: float, dt_s: float) -> int:
    """Frames from one action step to the next. Raises DatasetError unless it is a whole number."""
    stride = fps * dt_s
    if stride < 1 - _RATE_TOLERANCE or abs(stride - round(stride)) > _RATE_TOLERANCE * stride:
        raise DatasetError(
            f"a data set of {fps:g} frames/s does not have a frame every {dt_s:g} s, as the model needs; convert it "
            f"with --fps {max(1, round(fps * dt_s)) / dt_s:g}"
        )
    return round(stride)


def _episodes(recorded: RecordedEpisode, config: ModelConfig, min_confidence: float) -> list[Episode]:
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
    every = [
        Episode(images[k::stride], recorded.base_T_tcps[k::stride], recorded.openness[k::stride], cameras, words)
        for k in range(min(stride, n))
    ]
    sure = [recorded.confidence[k::stride] >= min_confidence for k in range(len(every))]
    return [piece for episode, good in zip(every, sure) for piece in _sure(episode, good, config.chunk_size)]


def _sure(episode: Episode, good: np.ndarray, chunk_size: int) -> list[Episode]:
    """The runs of frames with a sure label that hold a whole chunk; all of it where every label is."""
    if good.all():
        return [episode]
    edges = np.flatnonzero(np.diff(np.concatenate([[0], good, [0]])))
    runs = [slice(a, b) for a, b in zip(edges[::2], edges[1::2]) if b - a >= chunk_size]
    return [replace(episode, images=episode.images[r], base_T_tcps=episode.base_T_tcps[r],
                    openness=episode.openness[r], cut=r.stop < len(good)) for r in runs]  # fmt: skip

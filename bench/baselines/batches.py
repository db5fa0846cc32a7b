"""The project's training windows as batches of lerobot: same episodes, same draws, same relabelling, same colours."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from vectors import action_vectors, state_vector

from action_images_ros.model.config import ModelConfig
from action_images_ros.training.augment import Augment
from action_images_ros.training.data import CanvasSource, Window, load_episodes

VIEWS = ("left", "right")
IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
_STATISTICS_WINDOWS = 4096


def image_key(view: str) -> str:
    return f"observation.images.{view}"


def image_tensor(image: np.ndarray) -> torch.Tensor:
    """(..., H, W, 3) uint8 -> (..., 3, H, W) float32 in [0, 1]."""
    return torch.from_numpy(np.ascontiguousarray(image)).movedim(-1, -3).float() / 255.0


class Windows:
    """Random windows of the shards in a directory. The views keep their order, as these policies are not told which
    camera is which; everything else is as `action-images train` draws it."""

    def __init__(self, data: Path, episodes: int | None) -> None:
        self.config = ModelConfig()
        self.source = CanvasSource(load_episodes(data, episodes), self.config)
        self._augment = Augment(shuffle_views=False)

    def batch(self, rng: np.random.Generator, size: int) -> dict[str, torch.Tensor]:
        """`size` observations and the next 8 targets of each, not normalised."""
        return self.of(self.source.picks(rng, size, self._augment, relabel=self._augment.relabel), rng)

    def of(self, picks: list[Window], rng: np.random.Generator | None = None) -> dict[str, torch.Tensor]:
        """These windows; rng: of the colour augmentation, none without it."""
        images, states, actions = [], [], []
        for window in picks:
            episode = self.source.episodes[window.episode]
            state, action = self._vectors(window)
            seen = episode.images[window.start][None]
            images.append((seen if rng is None else self._augment.colour(seen, rng))[0])
            states.append(state)
            actions.append(action)
        seen = image_tensor(np.stack(images))
        batch = {image_key(view): seen[:, v] for v, view in enumerate(VIEWS)}
        batch |= {"observation.state": torch.from_numpy(np.stack(states)),
                  "action": torch.from_numpy(np.stack(actions))}
        batch["action_is_pad"] = torch.zeros(batch["action"].shape[:2], dtype=torch.bool)
        return batch

    def _vectors(self, window: Window) -> tuple[np.ndarray, np.ndarray]:
        """(16,) and (8, 10): past the end of its episode the arm rests."""
        episode = self.source.episodes[window.episode]
        frames = np.minimum(window.start + np.arange(self.config.chunk_size), len(episode.images) - 1)
        poses, opens, instructions = self.source.actions(window, frames)
        return state_vector(poses[0], opens[0], instructions[0]), action_vectors(poses[1:], opens[1:])

    def statistics(self) -> dict[str, dict[str, list[float]]]:
        """What lerobot normalises with: of states and actions their own, of pictures ImageNet's (its default)."""
        rng = np.random.default_rng(0)
        picks = self.source.picks(rng, _STATISTICS_WINDOWS, self._augment, relabel=True)
        states, actions = (np.stack(x).astype(float) for x in zip(*map(self._vectors, picks)))
        stats = {"observation.state": _moments(states), "action": _moments(actions.reshape(-1, actions.shape[-1]))}
        for view in VIEWS:
            stats[image_key(view)] = {k: [[[c]] for c in v] for k, v in IMAGENET.items()}
        return stats


def _moments(x: np.ndarray) -> dict[str, list[float]]:
    return {"mean": x.mean(0).tolist(), "std": x.std(0).tolist(), "min": x.min(0).tolist(), "max": x.max(0).tolist()}

"""Episode shards -> batches of canvases.

A shard (written by `action-images sim collect`) is one safetensors file of frames, with per-episode cameras; its
metadata carries the instructions. Batches are made by the same preprocessing that the live policy uses.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import safe_open

from ..codec.encoding import draw
from ..errors import DatasetError
from ..geometry import PinholeCamera
from ..model.canvas import CanvasLayout, Mode
from ..model.config import ModelConfig
from ..model.frames import PixelCodec
from ..model.rays import plucker_rays
from ..model.text import make_text_encoder


@dataclass(frozen=True)
class Episode:
    """images (N, V, H, W, 3) uint8 as the model sees them; base_T_tcps (N, 4, 4); openness (N,); cameras at the images'
    size; instructions: paraphrases of one meaning."""

    images: np.ndarray
    base_T_tcps: np.ndarray
    openness: np.ndarray
    cameras: tuple[PinholeCamera, ...]
    instructions: tuple[str, ...]


@dataclass(frozen=True)
class Batch:
    """A batch of canvases of one layout: video (B, V, Fv, C, h, w), action (B, V, T, 3, h, w), rays (B, V, 6, h, w),
    text (B, L, D) float32, text_mask (B, L) bool; poses (B, T, 4, 4) and openness (B, T) are what action shows."""

    layout: CanvasLayout
    video: np.ndarray
    action: np.ndarray
    rays: np.ndarray
    text: np.ndarray
    text_mask: np.ndarray
    base_T_tcps: np.ndarray
    openness: np.ndarray


def load_episodes(directory: Path, limit: int | None = None) -> list[Episode]:
    """Read every shard of `directory`. Raises DatasetError where there is none or one is broken."""
    shards = sorted(Path(directory).glob("shard_*.safetensors"))
    if not shards:
        raise DatasetError(f"{directory} has no shard_*.safetensors; make some with `action-images sim collect --out {directory}`")
    episodes: list[Episode] = []
    for shard in shards:
        try:
            episodes.extend(_read_shard(shard))
        except (OSError, KeyError, ValueError) as e:
            raise DatasetError(f"{shard} is not a readable episode shard ({e}); delete it and collect again") from e
        if limit is not None and len(episodes) >= limit:
            return episodes[:limit]
    return episodes


def _read_shard(path: Path) -> list[Episode]:
    with safe_open(str(path), framework="numpy") as f:
        info = json.loads(f.metadata()["episodes"])
        a = {k: f.get_tensor(k) for k in ("images", "base_T_tcp", "openness", "episode_index", "K", "base_T_camera")}
    size = (a["images"].shape[3], a["images"].shape[2])
    out = []
    index = a["episode_index"]
    for e, number in enumerate(np.unique(index)):
        rows = np.flatnonzero(index == number)
        cameras = tuple(PinholeCamera(K, size, _rigid(T)) for K, T in zip(a["K"][e], a["base_T_camera"][e]))
        poses = np.stack([_rigid(T) for T in a["base_T_tcp"][rows]])
        out.append(Episode(a["images"][rows], poses, a["openness"][rows].astype(float), cameras,
                           tuple(sorted({info[e]["instruction"], info[e]["canonical_instruction"]}))))
    return out


def _rigid(T: np.ndarray) -> np.ndarray:
    """float32 storage -> float64 with an exactly orthonormal rotation."""
    T = T.astype(float)
    u, _, vt = np.linalg.svd(T[:3, :3])
    T[:3, :3] = u @ vt
    return T


class CanvasSource:
    """Draws random windows of episodes as canvases.

    A window starts at any frame; past the end of its episode the arm rests, which is what the last frame shows.
    """

    def __init__(self, episodes: list[Episode], config: ModelConfig) -> None:
        self.episodes, self.config = episodes, config
        self.codec = PixelCodec(config.pixel_factor)
        self.text = make_text_encoder(config.text)
        self._rays: dict[int, np.ndarray] = {}

    def batch(self, rng: np.random.Generator, size: int, layout: CanvasLayout, augment: Augment) -> Batch:
        """`size` canvases of `layout`; committed poses are shifted as `augment` says."""
        picks = [(int(rng.integers(len(self.episodes))), rng.random()) for _ in range(size)]
        return self.windows([(e, int(u * len(self.episodes[e].images))) for e, u in picks], layout, augment, rng)

    def windows(self, picks: list[tuple[int, int]], layout: CanvasLayout, augment: Augment,
                rng: np.random.Generator) -> Batch:
        """Canvases of the windows (episode index, first frame)."""
        T, B = self.config.chunk_size, len(picks)
        video, rays, text, mask, uv, poses, opens = [], [], [], [], [], [], []
        committed = sum(layout.clean_action) - 1
        for e, start in picks:
            episode = self.episodes[e]
            frames = np.minimum(start + np.arange(T), len(episode.images) - 1)
            order = rng.permutation(len(episode.cameras)) if augment.shuffle_views else np.arange(len(episode.cameras))
            pose = augment.shift_committed(episode.base_T_tcps[frames], committed, rng)
            seen = episode.images[frames[: len(layout.clean_video)]][:, order]
            video.append(self.codec.encode(augment.colour(seen, rng)).swapaxes(0, 1))
            words, shown = self.text(episode.instructions[int(rng.integers(len(episode.instructions)))])
            text.append(words)
            mask.append(shown)
            rays.append(self._ray(e)[order])
            points = self.config.encoding.base_points(pose)
            uv.append(np.stack([episode.cameras[v].resized(self.config.action_size).project(points) for v in order], 1))
            poses.append(pose)
            opens.append(episode.openness[frames])
        openness = np.stack(opens)
        drawn = draw(np.concatenate(uv), openness.reshape(-1), self.config.action_size, self.config.encoding)
        action = drawn.reshape(B, T, *drawn.shape[1:]).transpose(0, 2, 1, 5, 3, 4) * 2.0 - 1.0
        return Batch(layout, np.stack(video), np.ascontiguousarray(action, np.float32), np.stack(rays), np.stack(text),
                     np.stack(mask), np.stack(poses), openness)

    def _ray(self, e: int) -> np.ndarray:
        if e not in self._rays:
            self._rays[e] = plucker_rays(self.episodes[e].cameras, self.config.action_size, self.config.ray_frame)
        return self._rays[e]


@dataclass(frozen=True)
class Augment:
    """Augmentation that keeps the calibration true.

    shuffle_views: random order of the views. brightness, contrast: largest relative change, drawn per view (as
    two cameras differ). committed_m: standard deviation of the shift of committed poses, which decays to nothing over the rest
    of the chunk, so that the model learns to continue from where the arm will really be.
    """

    shuffle_views: bool = True
    brightness: float = 0.15
    contrast: float = 0.15
    committed_m: float = 0.008

    def colour(self, images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """(T, V, H, W, 3) uint8 -> the same, one brightness and contrast per view."""
        if not (self.brightness or self.contrast):
            return images
        shape = (1, images.shape[1], 1, 1, 1)
        gain = (1 + self.contrast * rng.uniform(-1, 1, shape)).astype(np.float32)
        lift = (127.5 * self.brightness * rng.uniform(-1, 1, shape)).astype(np.float32)
        return np.clip((images - np.float32(127.5)) * gain + 127.5 + lift, 0, 255).astype(np.uint8)

    def shift_committed(self, poses: np.ndarray, committed: int, rng: np.random.Generator) -> np.ndarray:
        """poses (T, 4, 4) -> the same with poses 1..committed shifted, the rest eased back."""
        if not self.committed_m or committed < 1 or committed >= len(poses) - 1:
            return poses
        k = np.arange(len(poses))
        up = k / committed
        down = (len(poses) - 1 - k) / (len(poses) - 1 - committed)
        out = poses.copy()
        out[:, :3, 3] += np.minimum(up, down)[:, None] * rng.normal(0, self.committed_m, 3)
        return out


NO_AUGMENT = Augment(shuffle_views=False, brightness=0.0, contrast=0.0, committed_m=0.0)


def draw_layout(config: ModelConfig, mix: dict[Mode, float], committed_share: float, rng: np.random.Generator) -> CanvasLayout:
    """A random mode of the mix; in `committed_share` of the generating modes 1 to 3 action frames are given clean."""
    modes = list(mix)
    p = np.array([mix[m] for m in modes], float)
    mode = modes[int(rng.choice(len(modes), p=p / p.sum()))]
    committed = 0
    if mode in (Mode.POLICY, Mode.JOINT) and rng.random() < committed_share:
        committed = int(rng.integers(1, 4))
    return CanvasLayout.for_mode(mode, config.views, config.chunk_size, config.chunk_size, committed)

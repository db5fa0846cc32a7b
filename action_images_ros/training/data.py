"""Episode shards -> batches of canvases.

A shard (written by `action-images sim collect`) is one safetensors file of frames, with per-episode cameras; its
metadata carries the instructions. Batches are made by the same preprocessing that the live policy uses.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

from ..codec.encoding import draw
from ..errors import DatasetError
from ..geometry import PinholeCamera
from ..model.canvas import CanvasLayout, Mode
from ..model.conditioning import camera_features
from ..model.config import ModelConfig
from ..model.frames import make_frame_codecs
from ..model.text import make_text_encoder
from ..recording.lerobot_read import is_dataset
from ..sim.expert import Expert
from ..sim.relabel import Choice, choices
from .augment import Augment, Scene

_FEATURES_BYTES = 512 * 2**20


@dataclass(frozen=True)
class Episode:
    """images (N, V, H, W, 3) uint8 as the model sees them; base_T_tcps (N, 4, 4); openness (N,); cameras at the images'
    size; instructions: paraphrases of one meaning; choices: all that could have been asked for, where that is known.

    Of tasks that move things also: things (N, O, 8), the states of the objects, and commanded (N,), the opening
    that was commanded on the way to each frame, where openness is what the fingers measured.

    cut: the arm went on after the last frame, so that only whole chunks are drawn from it."""

    images: np.ndarray
    base_T_tcps: np.ndarray
    openness: np.ndarray
    cameras: tuple[PinholeCamera, ...]
    instructions: tuple[str, ...]
    choices: tuple[Choice, ...] = ()
    things: np.ndarray | None = None
    commanded: np.ndarray | None = None
    cut: bool = False

    def starts(self, chunk_size: int) -> int:
        """The frames, from the first on, at which a chunk may begin."""
        return max(1, len(self.images) - chunk_size + 1) if self.cut else len(self.images)

    def expert(self, choice: int, frame: int) -> Expert:
        """That of a choice, who sees the scene as it is in that frame."""
        expert = self.choices[choice].expert
        return expert if self.things is None else expert.seeing(self.things[frame])

    def possible(self, frame: int) -> list[int]:
        """The choices that can sensibly be asked for in that frame."""
        pose, openness = self.base_T_tcps[frame], float(self.openness[frame])
        return [i for i in range(len(self.choices)) if self.expert(i, frame).possible(pose, openness)]

    def openings(self, frames: np.ndarray) -> np.ndarray:
        """(T,) of a chunk from frames[0] on: what is measured now, then what is commanded."""
        if self.commanded is None:
            return self.openness[frames]
        return np.concatenate([self.openness[frames[:1]], self.commanded[frames[1:]]])


@dataclass(frozen=True)
class Window:
    """A chunk to learn from: frame `start` of an episode on, as recorded, or as the expert of `choice` would act
    from there."""

    episode: int
    start: int
    choice: int | None = None


@dataclass(frozen=True)
class Batch:
    """A batch of canvases of one layout: latents video (B, V, Fv, C, h, w) and action (B, V, Fa, C', h', w'); rays
    (B, ...),
    text (B, L, D) and text_mask (B, L) as of `Conditioning`; poses (B, T, 4, 4) and openness (B, T) are what action
    shows."""

    layout: CanvasLayout
    video: np.ndarray
    action: np.ndarray
    rays: np.ndarray
    text: np.ndarray
    text_mask: np.ndarray
    base_T_tcps: np.ndarray
    openness: np.ndarray


def load_episodes(
    directory: Path, limit: int | None = None, config: ModelConfig | None = None, split: str = "train"
) -> list[Episode]:
    """Every episode of the shards in `directory` and the folders in it, or, made ready for `config`, of a split of the
    data set there.

    Raises DatasetError where there is none or one is broken.
    """
    if config is not None and is_dataset(directory):
        from .recorded import recorded_episodes

        return recorded_episodes(directory, config, split, limit)
    shards = [s for pattern in ("", "*/") for s in sorted(Path(directory).glob(f"{pattern}shard_*.safetensors"))]
    if not shards:
        raise DatasetError(
            f"{directory} has no shard_*.safetensors; make some with `action-images sim collect --out {directory}`, or "
            "a data set of recordings with `action-images dataset`"
        )
    episodes: list[Episode] = []
    for shard in shards:
        try:
            episodes.extend(_read_shard(shard))
        except (SafetensorError, OSError, KeyError, TypeError, ValueError) as e:
            raise DatasetError(f"{shard} is not a readable episode shard ({e}); delete it and collect again") from e
        if limit is not None and len(episodes) >= limit:
            return episodes[:limit]
    return episodes


def _read_shard(path: Path) -> list[Episode]:
    with safe_open(str(path), framework="numpy") as f:
        info, task = json.loads(f.metadata()["episodes"]), f.metadata().get("task", "")
        a = {k: f.get_tensor(k) for k in ("images", "base_T_tcp", "openness", "episode_index", "K", "base_T_camera")}
        a |= {k: f.get_tensor(k).astype(float) for k in ("things", "commanded") if k in f.keys()}  # noqa: SIM118
    size = (a["images"].shape[3], a["images"].shape[2])
    out = []
    index = a["episode_index"]
    for e, number in enumerate(np.unique(index)):
        rows = np.flatnonzero(index == number)
        cameras = tuple(PinholeCamera(K, size, _rigid(T)) for K, T in zip(a["K"][e], a["base_T_camera"][e]))
        poses = np.stack([_rigid(T) for T in a["base_T_tcp"][rows]])
        out.append(
            Episode(
                a["images"][rows],
                poses,
                a["openness"][rows].astype(float),
                cameras,
                tuple(sorted({info[e]["instruction"], info[e]["canonical_instruction"]})),
                choices(info[e].get("task", task), info[e]["objects"]),
                a["things"][rows][:, : len(info[e]["objects"])] if "things" in a else None,
                a["commanded"][rows] if "commanded" in a else None,
            )
        )
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

    def __init__(self, episodes: list[Episode], config: ModelConfig, directory: Path | None = None) -> None:
        """directory: a model directory with the VAE and the text encoder, where the configuration names such."""
        self.episodes, self.config = episodes, config
        self.codecs = make_frame_codecs(config, directory)
        self.text = make_text_encoder(config.text, directory)
        self._features: dict[tuple[int, ...], np.ndarray] = {}

    def batch(self, rng: np.random.Generator, size: int, layout: CanvasLayout, augment: Augment,
              part: slice = slice(None)) -> Batch:
        """`size` canvases of `layout`; committed poses are shifted as `augment` says. part: only these of them are
        made, the same as they are in the whole."""
        picks = self.picks(rng, size, augment, relabel=augment.relabel and len(layout.clean_video) <= 1)
        return self.windows(picks, layout, augment, rng, part)

    def picks(self, rng: np.random.Generator, size: int, augment: Augment, relabel: bool) -> list[Window]:
        """`size` random windows; relabel: each picture under two instructions, where the scene has two."""
        if not relabel:
            return [self._pick(augment, rng) for _ in range(size)]
        seen = [self._pick(augment, rng) for _ in range((size + 1) // 2)]
        return [window for w in seen for window in self._asked_twice(w, rng)][:size]

    def _pick(self, augment: Augment, rng: np.random.Generator) -> Window:
        e = int(rng.integers(len(self.episodes)))
        return Window(e, int(rng.random() ** augment.early * self.episodes[e].starts(self.config.chunk_size)))

    def _asked_twice(self, window: Window, rng: np.random.Generator) -> list[Window]:
        """The same picture under two different instructions, where the scene has two; else twice as recorded."""
        possible = self.episodes[window.episode].possible(window.start)
        if len(possible) > 1:
            return [replace(window, choice=int(c)) for c in rng.permutation(possible)[:2]]
        return [replace(window, choice=possible[0] if possible else None) for _ in range(2)]

    def windows(self, picks: list[Window], layout: CanvasLayout, augment: Augment, rng: np.random.Generator,
                part: slice = slice(None)) -> Batch:
        """Canvases of these windows, or of a part of them. Each has a random generator of its own."""
        own = rng.spawn(len(picks))[part]
        made = [self._window(window, layout, augment, r) for window, r in zip(picks[part], own)]
        video, rays, text, mask, uv, poses, opens = (np.stack(x) for x in zip(*made))
        drawn = draw(uv.reshape(-1, *uv.shape[2:]), opens.reshape(-1), self.config.action_size, self.config.encoding)
        drawn = drawn.reshape(*opens.shape, *drawn.shape[1:]).swapaxes(1, 2)
        action = self._action_latents(drawn, len(layout.clean_action))
        return Batch(layout, video, action, rays, text, mask, poses, opens)

    def _window(self, window: Window, layout: CanvasLayout, augment: Augment, rng: np.random.Generator) -> tuple:
        """video, rays, text, text mask, uv (T, V, 3, 2) of the encoded points, poses and openness of one canvas."""
        episode, compression = self.episodes[window.episode], self.config.compression
        committed = compression.frames(sum(layout.clean_action)) - 1
        frames = np.minimum(window.start + np.arange(self.config.chunk_size), len(episode.images) - 1)
        poses, opens, instructions = self.actions(window, frames)
        views = len(episode.cameras)
        order = rng.permutation(views) if augment.shuffle_views else np.arange(views)
        images = episode.images[frames[:compression.frames(len(layout.clean_video))]][:, order]
        plain = Scene(images, tuple(episode.cameras[v] for v in order), augment.shift_committed(poses, committed, rng))
        scene = augment.scene(plain, instructions, rng)
        video = self.codecs.video.encode(augment.colour(scene.images, rng).swapaxes(0, 1))
        words, there = self._words(instructions, augment, rng)
        if scene is plain:
            rays = self._camera_features(window.episode, order)
        else:
            rays = camera_features(scene.cameras, self.config, self.codecs)
        points = self.config.encoding.base_points(scene.base_T_tcps)
        uv = np.stack([c.resized(self.config.action_size).project(points) for c in scene.cameras], 1)
        return video, rays, words, there, uv, scene.base_T_tcps, opens

    def _action_latents(self, drawn: np.ndarray, latent_frames: int) -> np.ndarray:
        """Action images in [0, 1] (B, V, T, h, w, 3), not quantised -> the first latent frames of their segments."""
        frames = self.config.compression.frames(max(latent_frames, 1))
        return np.ascontiguousarray(
            self.codecs.action.encode_signal(drawn[:, :, :frames] * 2.0 - 1.0)[:, :, :latent_frames]
        )

    def actions(self, window: Window, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
        """Poses (T, 4, 4), openness (T,) and paraphrases of a window that shows these frames of its episode."""
        episode = self.episodes[window.episode]
        if window.choice is None:
            return episode.base_T_tcps[frames], episode.openings(frames), episode.instructions
        asked = episode.choices[window.choice]
        chunk = episode.expert(window.choice, window.start).chunk(
            episode.base_T_tcps[frames[0]], episode.openness[frames[0]], len(frames), self.config.dt_s
        )
        return chunk.base_T_tcps, chunk.openness, asked.instructions

    def _words(
        self, instructions: tuple[str, ...], augment: Augment, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        if augment.no_instruction and rng.random() < augment.no_instruction:
            return self.text.empty()
        return self.text(instructions[int(rng.integers(len(instructions)))])

    def _camera_features(self, e: int, order: np.ndarray) -> np.ndarray:
        """Of the views in that order: some kinds are relative to the first one."""
        key = (e, *map(int, order))
        if key not in self._features:
            cameras = [self.episodes[e].cameras[v] for v in order]
            made = camera_features(cameras, self.config, self.codecs)
            if (len(self._features) + 1) * made.nbytes > _FEATURES_BYTES:
                self._features.clear()
            self._features[key] = made
        return self._features[key]


def draw_layout(
    config: ModelConfig, mix: dict[Mode, float], committed_share: float, rng: np.random.Generator
) -> CanvasLayout:
    """A random mode of the mix; in `committed_share` of the generating modes 1 to 3 latent action frames are given
    clean."""
    modes = list(mix)
    p = np.array([mix[m] for m in modes], float)
    mode = modes[int(rng.choice(len(modes), p=p / p.sum()))]
    committed = 0
    if mode in (Mode.POLICY, Mode.JOINT) and rng.random() < committed_share:
        committed = min(int(rng.integers(1, 4)), config.latent_frames - 2)
    return CanvasLayout.for_mode(mode, config.views, config.latent_frames, config.latent_frames, committed)

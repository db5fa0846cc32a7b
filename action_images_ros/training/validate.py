"""Validation in the units that matter: sampled chunks, decoded, against the recorded ones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import cv2
import numpy as np

from ..codec import decode
from ..engines.torch_eager import TorchEager
from ..geometry import PinholeCamera
from ..geometry.se3 import angle_between
from ..model.canvas import CanvasLayout, Mode
from ..model.denoiser import Conditioning, Denoiser
from ..model.sampler import Canvas, sample
from ..pictures.sheet import contact_sheet
from .augment import NO_AUGMENT
from .data import CanvasSource, Window


@dataclass(frozen=True)
class ChunkErrors:
    """Errors of decoded chunks: position_m, angle_rad (B, T); openness (B, T) bool right; credible (B, T) bool."""

    position_m: np.ndarray
    angle_rad: np.ndarray
    openness: np.ndarray
    credible: np.ndarray

    def summary(self, hit_m: float) -> dict[str, float]:
        """Medians over the chunk and at its last step; `last_hit`: share of last steps within hit_m."""
        last = self.position_m[:, -1]
        return {
            "val_mm": float(np.median(self.position_m[:, 1:]) * 1e3),
            "val_deg": float(np.degrees(np.median(self.angle_rad[:, 1:]))),
            "val_last_mm": float(np.median(last) * 1e3),
            "val_last_hit": float(np.mean(last < hit_m)),
            "val_gripper": float(self.openness[:, 1:].mean()),
            "val_credible": float(self.credible[:, 1:].mean()),
        }


def random_windows(source: CanvasSource, count: int, seed: int) -> list[Window]:
    """Windows from anywhere in the episodes (the same ones for the same seed)."""
    rng = np.random.default_rng(seed)
    episodes = rng.integers(len(source.episodes), size=count)
    return [Window(int(e), int(rng.integers(source.episodes[e].starts(source.config.chunk_size)))) for e in episodes]


def first_windows(source: CanvasSource, count: int) -> list[Window]:
    """The beginnings of the first episodes, where the instruction alone tells what is meant."""
    return [Window(e, 0) for e in range(min(count, len(source.episodes)))]


@dataclass(frozen=True, eq=False)
class Sampled:
    """A chunk that the model made and the recorded one. seen (V, H, W, 3) uint8: the picture that it was made from;
    made, true (T, V, h, w, 3) uint8 action images, both with `cameras`; base_T_tcps (T, 4, 4), openness (T,): what
    `true` shows."""

    seen: np.ndarray
    made: np.ndarray
    true: np.ndarray
    cameras: tuple[PinholeCamera, ...]
    base_T_tcps: np.ndarray
    openness: np.ndarray
    instruction: str


def sampled_chunks(model, source: CanvasSource, windows: list[Window], seed: int,
                   batch_size: int = 32) -> Iterator[Sampled]:
    """A chunk of mode policy, without guidance, from each window. seed: of the noise."""
    config = source.config
    rng = np.random.default_rng(seed)
    layout = CanvasLayout.for_mode(Mode.POLICY, config.views, config.latent_frames, config.latent_frames)
    unguided = replace(config.sampler.of(Mode.POLICY), guidance_scale=1.0)
    engine = _engine(model)
    for i in range(0, len(windows), batch_size):
        part = windows[i:i + batch_size]
        batch = source.windows(part, layout, NO_AUGMENT, rng)
        given = Canvas(batch.video, batch.action)
        made = sample(engine, given, layout, Conditioning(batch.rays, batch.text, batch.text_mask), unguided, rng)
        decoded, true = (source.codecs.action.decode(x) for x in (made.action, batch.action))
        for b, window in enumerate(part):
            episode = source.episodes[window.episode]
            cameras = tuple(c.resized(config.action_size) for c in episode.cameras)
            yield Sampled(episode.images[window.start], decoded[b].swapaxes(0, 1), true[b].swapaxes(0, 1), cameras,
                          batch.base_T_tcps[b], batch.openness[b], episode.instructions[0])


def chunk_errors(model, source: CanvasSource, windows: list[Window], seed: int, batch_size: int = 32) -> ChunkErrors:
    """Of `sampled_chunks`, decoded."""
    config, rows = source.config, []
    for s in sampled_chunks(model, source, windows, seed, batch_size):
        chunk = decode(s.made, s.cameras, config.encoding, config.decode)
        rows.append((np.linalg.norm(chunk.base_T_tcps[:, :3, 3] - s.base_T_tcps[:, :3, 3], axis=-1),
                     angle_between(chunk.base_T_tcps[:, :3, :3], s.base_T_tcps[:, :3, :3]),
                     (chunk.openness > 0.5) == (s.openness > 0.5), chunk.credible))
    return ChunkErrors(*(np.stack(x) for x in zip(*rows)))


def sample_sheet(samples: Iterable[Sampled], cell_px: int = 128) -> np.ndarray:
    """One picture (H, W, 3) uint8 RGB: for each sample and view the camera picture with the true (upper row) and the
    predicted action images (lower row) of four steps blended over it."""
    rows, heads = [], ["seen"]
    for s in samples:
        steps = np.unique(np.linspace(0, len(s.made) - 1, 4).round().astype(int))
        heads = ["seen", *(f"step {k}" for k in steps)]
        for v, seen in enumerate(s.seen):
            for name, images in (("true", s.true), ("predicted", s.made)):
                label = f"{name}\nview {v}"
                rows.append((label, [seen, *(_over(seen, images[k, v]) for k in steps)]))
    return contact_sheet(rows, heads, cell_px)


def _over(seen: np.ndarray, action: np.ndarray) -> np.ndarray:
    """An action image, which is coarse, added to the dimmed picture."""
    large = cv2.resize(action, (seen.shape[1], seen.shape[0]), interpolation=cv2.INTER_LINEAR)
    return np.clip(0.45 * seen + 0.8 * large, 0, 255).astype(np.uint8)


def _engine(model) -> Denoiser:
    device = next(model.parameters()).device
    if device.type == "cpu":
        return TorchEager(model)
    from ..engines.torch_device import TorchDevice

    return TorchDevice(model, device, capture=False)

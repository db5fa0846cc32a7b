"""Validation in the units that matter: sampled chunks, decoded, against the recorded ones."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..codec import decode
from ..engines.torch_eager import TorchEager
from ..geometry.se3 import angle_between
from ..model.canvas import CanvasLayout, Mode
from ..model.denoiser import Conditioning
from ..model.sampler import Canvas, sample
from .data import NO_AUGMENT, CanvasSource, Window


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
    return [Window(int(e), int(rng.integers(len(source.episodes[e].images)))) for e in episodes]


def first_windows(source: CanvasSource, count: int) -> list[Window]:
    """The beginnings of the first episodes, where the instruction alone tells what is meant."""
    return [Window(e, 0) for e in range(min(count, len(source.episodes)))]


def chunk_errors(model, source: CanvasSource, windows: list[Window], seed: int, batch_size: int = 32) -> ChunkErrors:
    """Sample a chunk of mode policy, without guidance, from each window. seed: of the noise."""
    config = source.config
    rng = np.random.default_rng(seed)
    layout = CanvasLayout.for_mode(Mode.POLICY, config.views, config.latent_frames, config.latent_frames)
    unguided = replace(config.sampler, guidance_scale=1.0)
    rows = []
    for i in range(0, len(windows), batch_size):
        part = windows[i:i + batch_size]
        batch = source.windows(part, layout, NO_AUGMENT, rng)
        given = Canvas(batch.video, batch.action)
        conditioning = Conditioning(batch.rays, batch.text, batch.text_mask)
        made = sample(TorchEager(model), given, layout, conditioning, unguided, rng)
        for b, window in enumerate(part):
            images = source.codecs.action.decode(made.action[b]).swapaxes(0, 1)
            cameras = [c.resized(config.action_size) for c in source.episodes[window.episode].cameras]
            chunk = decode(images, cameras, config.encoding, config.decode)
            truth = batch.base_T_tcps[b]
            rows.append((np.linalg.norm(chunk.base_T_tcps[:, :3, 3] - truth[:, :3, 3], axis=-1),
                         angle_between(chunk.base_T_tcps[:, :3, :3], truth[:, :3, :3]),
                         (chunk.openness > 0.5) == (batch.openness[b] > 0.5), chunk.credible))
    return ChunkErrors(*(np.stack(x) for x in zip(*rows)))

"""An engine against torch in float32, on real canvases: cosine of every velocity, and what the difference does to the
decoded targets."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace

import cv2
import numpy as np

from ..errors import EngineError
from ..model.denoiser import Conditioning, Denoiser
from ..policy import ActionImagePolicy
from ..types import ActionChunk, SyncedFrames
from .observations import Observation
from .policy import chunk_drift


@dataclass(frozen=True)
class Comparison:
    """cosine: the smallest over all denoising steps of all observations; drift: `policy.chunk_drift`, None where no
    step is credible in both (an untrained model); latent_rms: of the finished canvas's difference, relative."""

    cosine: float
    latent_rms: float
    drift: dict | None
    observations: int
    chunk_ms: float
    reference_ms: float

    def checks(self) -> dict:
        return {"cosine": self.cosine, "latent_rms": self.latent_rms, "drift": self.drift,
                "observations": self.observations}

    def timings(self) -> dict:
        return {"chunk_ms": self.chunk_ms, "reference_chunk_ms": self.reference_ms}


@dataclass
class Shadowed:
    """The reference as a Denoiser, which asks the engine the same at every step and compares."""

    reference: Denoiser
    engine: Denoiser
    cosines: list[float] = field(default_factory=list)

    def velocity(self, video: np.ndarray, action: np.ndarray, sigma: np.ndarray, conditioning: Conditioning):
        wanted = self.reference.velocity(video, action, sigma, conditioning)
        made = self.engine.velocity(video, action, sigma, conditioning)
        self.cosines += [_cosine(a, b) for a, b in zip(wanted, made) if a is not None]
        return wanted


def compare(reference: ActionImagePolicy, other: ActionImagePolicy, seen: list[Observation]) -> Comparison:
    """Both policies on the same observations and noise. Raises EngineError where the engine returns NaN or fails."""
    shadow = Shadowed(_stepwise(reference.pipeline.denoiser), other.pipeline.denoiser)
    engine, torch_own = other.pipeline.denoiser, reference.pipeline.denoiser
    wanted, made, times, reference_times, rms = [], [], [], [], []
    for number, one in enumerate(seen):
        reference.pipeline.denoiser = shadow
        a, _ = _chunk(reference, one, number)
        reference.pipeline.denoiser, other.pipeline.denoiser = torch_own, engine
        _, taken = _chunk(reference, one, number)
        reference_times.append(taken)
        _chunk(other, one, number)
        b, taken = _chunk(other, one, number)
        times.append(taken)
        wanted.append(a[1])
        made.append(b[1])
        x, y = (part[0].astype(float) for part in (a, b))
        rms.append(float(np.sqrt(np.mean((x - y) ** 2) / max(np.mean(x**2), 1e-12))))
    if not shadow.cosines or not np.all(np.isfinite(shadow.cosines)):
        raise EngineError(f"engine {other.engine} returned NaN or infinity on a real canvas; use a higher precision")
    return Comparison(min(shadow.cosines), float(np.median(rms)), chunk_drift(made, wanted), len(seen),
                      1e3 * float(np.median(times)), 1e3 * float(np.median(reference_times)))


def fitting(seen: list[Observation], side: int) -> list[Observation]:
    """The observations with images of at least `side` pixels, enlarged where the model wants larger ones."""
    out = []
    for one in seen:
        frames = one.frames
        scale = max(1.0, *(side / min(c.image_size) for c in frames.cameras))
        sizes = [(int(np.ceil(w * scale)), int(np.ceil(h * scale))) for w, h in (c.image_size for c in frames.cameras)]
        images = tuple(cv2.resize(x, s, interpolation=cv2.INTER_LINEAR) if scale > 1 else x
                       for x, s in zip(frames.images, sizes))
        cameras = tuple(c.resized(s) for c, s in zip(frames.cameras, sizes))
        out.append(replace(one, frames=SyncedFrames(frames.views, images, cameras, frames.stamps_ns)))
    return out


class _Steps:
    """A denoiser without its own sampling loop, so that every step passes by."""

    def __init__(self, denoiser: Denoiser) -> None:
        self.velocity = denoiser.velocity


def _stepwise(denoiser: Denoiser) -> Denoiser:
    return _Steps(denoiser)


def _chunk(policy: ActionImagePolicy, one: Observation, seed: int) -> tuple[tuple[np.ndarray, ActionChunk], float]:
    began = time.perf_counter()
    images = policy.generate(one.frames, one.base_T_tcp, one.openness, one.instruction, seed=seed)
    taken = time.perf_counter() - began
    return (images.images, policy.decode(images)), taken


def _cosine(a: np.ndarray, b: np.ndarray) -> float:
    x, y = (v.astype(np.float64).ravel() for v in (a, b))
    return float(x @ y / np.sqrt(max(float((x @ x) * (y @ y)), 1e-300)))

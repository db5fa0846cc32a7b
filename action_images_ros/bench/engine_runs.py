"""The measurements of `bench engine`: denoising by variant, the VAE, and a whole chunk through the real pipeline."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch

from ..codec import decode, encode
from ..engines.attention import measured
from ..engines.options import Precision
from ..engines.torch_compiled import compile_module
from ..engines.torch_device import TorchDevice
from ..engines.torch_eager import place_wan
from ..errors import ActionImagesError
from ..geometry import PinholeCamera
from ..model.canvas import Mode
from ..model.config import ModelConfig, SamplerConfig
from ..model.frames import FrameCodecs
from ..model.pipeline import Given, Pipeline
from ..model.wan.cost import cost_of
from .engine_device import memory_gib, reset_memory, seconds
from .engine_model import RandomText, random_request

VARIANTS = ("eager", "eager+graph", "compile", "compile+graph", "fp8+compile+graph")
_REPEATS = 3


@dataclass(frozen=True)
class Shape:
    """What is denoised: a model configuration and a mode."""

    config: ModelConfig
    mode: Mode

    @property
    def name(self) -> str:
        w, h = self.config.image_size
        return f"{self.mode.value} {w}x{h} x {self.config.chunk_size} x {self.config.views}"


def prepare(module, variant: str) -> None:
    """Turn the module into the variant, in place; variants only ever follow in the order of VARIANTS."""
    wan = hasattr(module, "transformer")
    if variant.startswith("fp8"):
        torch._dynamo.reset()
        place_wan(module, Precision.FP8, fused=True)
    if "compile" in variant:
        if wan:
            place_wan(module, Precision.AUTO, fused=True)
        compile_module(module)


def denoising(module, device: torch.device, variant: str, shape: Shape, steps: tuple[int, ...],
              peak: dict[str, float]) -> Iterator[dict]:
    """One row a number of denoising steps; first what makes them possible (compilation, capture) is timed."""
    reset_memory(device)
    engine = TorchDevice(module, device, capture="graph" in variant)
    start, given, layout, conditioning = random_request(shape.config, shape.mode)
    for count in steps:
        sampler = SamplerConfig(count, 5.0)

        def chunk(sampler=sampler):
            return engine.sample(start, given, layout, conditioning, sampler)

        began = time.perf_counter()
        made = chunk()
        first_s = time.perf_counter() - began
        taken = seconds(chunk, device, _REPEATS, 1)
        row = {"shape": shape.name, "variant": variant, "nfe": count, "seconds": taken, "first_seconds": first_s,
               "finite": bool(np.isfinite(made.action).all()), "memory_gib": memory_gib(device)}
        yield row | _effort(shape, variant, taken / count, peak)


def _effort(shape: Shape, variant: str, per_step_s: float, peak: dict[str, float]) -> dict:
    if shape.config.denoiser != "wan":
        return {"seconds_per_nfe": per_step_s}
    cost = cost_of(shape.config, shape.mode)
    executed = cost.fused_flop if "compile" in variant else cost.flop
    # parts outside of the 8-bit layers run in bf16, so that both peaks are worth naming
    return {"seconds_per_nfe": per_step_s, "tokens": cost.tokens, "tflop": cost.flop / 1e12,
            "tflop_executed": executed / 1e12, "tflop_s": cost.flop / per_step_s / 1e12,
            "of_peak": {name: cost.flop / per_step_s / value for name, value in peak.items()},
            "of_peak_executed": {name: executed / per_step_s / value for name, value in peak.items()}}


def velocity_of(module, device: torch.device, shape: Shape) -> np.ndarray:
    """One velocity of a fixed canvas, to compare variants by."""
    start, _, _, conditioning = random_request(shape.config, shape.mode, seed=7)
    return TorchDevice(module, device, capture=False).velocity(
        start.video, start.action, np.array([0.7], np.float32), conditioning)[1]


def likeness(a: np.ndarray, b: np.ndarray) -> dict[str, float]:
    """Cosine, and root mean square of the difference relative to a's."""
    x, y = (v.astype(np.float64).ravel() for v in (a, b))
    return {"cosine": float(x @ y / np.sqrt((x @ x) * (y @ y))),
            "relative_rms": float(np.sqrt(np.mean((x - y) ** 2) / np.mean(x**2)))}


def attention_ms(shape: Shape, dtype: torch.dtype, device: torch.device) -> dict[str, float]:
    """ms of one self-attention by backend."""
    if device.type != "cuda" or shape.config.denoiser != "wan":
        return {}
    wan, tokens = shape.config.wan, cost_of(shape.config, shape.mode).tokens
    found = measured((1, wan.heads, tokens, wan.dim // wan.heads), dtype, device)
    return {backend.name.lower(): ms for backend, ms in found.items()}


def vae_stages(codec, shape: Shape, device: torch.device) -> dict[str, float]:
    """Seconds of a policy chunk's share: first frames in, action segments out, of every view."""
    config = shape.config
    rng = np.random.default_rng(0)
    (w, h), views = config.image_size, config.views
    first = rng.integers(0, 256, (views, 1, h, w, 3), np.uint8)
    latents = rng.standard_normal((views, config.latent_frames, config.wan.latent_channels, h // 16, w // 16),
                                  np.float32)
    return {"encode": seconds(lambda: (codec.encode(first), codec.encode(first)), device, _REPEATS, 1),
            "decode": seconds(lambda: codec.decode(latents), device, _REPEATS, 1)}


def blob_seconds(config: ModelConfig, device: torch.device) -> float:
    """Seconds to read a chunk's poses off exact action images, on the processor."""
    cameras, poses = looking_down(config), motion(config.chunk_size)
    images = encode(poses, np.ones(len(poses)), cameras, config.encoding)
    return seconds(lambda: decode(images, cameras, config.encoding, config.decode), device, 1, 1)


def whole_chunk(module, codec, device: torch.device, shape: Shape, steps: int) -> float:
    """Seconds from camera images to action images, through the pipeline that the robot uses (text once before)."""
    config = replace(shape.config, sampler=SamplerConfig(steps, 5.0))
    pipeline = Pipeline(config, TorchDevice(module, device), RandomText(config.text), FrameCodecs(codec, codec))
    cameras = looking_down(config)
    images = np.random.default_rng(0).integers(0, 256, (1, config.views, *config.image_size, 3), np.uint8)
    given = Given(images, motion(1), np.ones(1), "reach the red ball")
    return seconds(lambda: pipeline.run(shape.mode, given, cameras, np.random.default_rng(1)), device, _REPEATS, 2)


def attempt(what: str, measure: Callable[[], object], faults: list[str]):
    """The measurement, or None with the reason noted: one that fails must not cost the others."""
    try:
        return measure()
    except (ActionImagesError, RuntimeError, ImportError, TypeError, ValueError, AttributeError, OSError) as e:
        faults.append(f"{what}: {type(e).__name__}: {(str(e).strip().splitlines() or ['no message'])[0][:300]}")
        return None


def looking_down(config: ModelConfig) -> tuple[PinholeCamera, ...]:
    """Cameras around the workspace, looking at its middle."""
    side = config.image_size[0]
    K = np.array([[1.1 * side, 0, side / 2 - 0.5], [0, 1.1 * side, side / 2 - 0.5], [0, 0, 1]])
    cameras = []
    for angle in np.linspace(-0.6, 0.6, config.views):
        c, s = np.cos(angle), np.sin(angle)
        pose = np.eye(4)
        pose[:3, :3] = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]]) @ np.diag([1.0, -1, -1])
        pose[:3, 3] = (np.sin(angle), 0, np.cos(angle))
        cameras.append(PinholeCamera(K, config.image_size, pose))
    return tuple(cameras)


def motion(steps: int) -> np.ndarray:
    """Poses (steps, 4, 4) of a hand that points down and moves 20 cm."""
    poses = np.tile(np.diag([1.0, -1, -1, 1]), (steps, 1, 1))
    poses[:, :2, 3] = np.linspace([-0.1, -0.05], [0.1, 0.05], steps)
    return poses

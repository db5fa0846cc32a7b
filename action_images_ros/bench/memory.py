"""GPU memory that a Wan-style model needs, by resolution, precision and mode, and what fits 24 and 32 GB.

Computed from the sizes alone: weights exactly; working memory as the largest live tensors of the compiled denoiser and
of the VAE, of which `bench engine` measures the true peak on a GPU. The text encoder stays in main memory.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

from ..errors import ConfigError
from ..model.canvas import Mode
from ..model.config import ModelConfig, TextConfig
from ..model.wan.config import WanConfig
from ..model.wan.cost import WEIGHT_BYTES, activation_gib, cost_of

CARDS_GB = (16, 24, 32, 80)
_CONTEXT_GIB = 0.9
_VAE_PARAMETERS = 704_688_668
_VAE_WIDEST, _VAE_LIVE = 512, 6
_TEXT_PARAMETERS = 5_680_910_336


@dataclass(frozen=True)
class Need:
    """GiB: of the denoiser's weights, its working memory, the VAE with its own, and all with the driver's context."""

    image: int
    mode: str
    precision: str
    tokens: int
    weights: float
    working: float
    vae: float

    @property
    def total(self) -> float:
        # the denoiser and the VAE work one after the other
        return self.weights + max(self.working, self.vae - vae_weights_gib()) + vae_weights_gib() + _CONTEXT_GIB


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", type=Path, metavar="DIR", help="a model directory; default: full size, 6.42 B")
    parser.add_argument("--image", type=int, nargs="+", default=[256, 384, 512], metavar="PX")
    parser.add_argument("--frames", type=int, default=41)
    parser.add_argument("--views", type=int, default=2)
    parser.add_argument("--mode", nargs="+", default=["policy", "joint"])
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures there")


def run(args: argparse.Namespace) -> int:
    if min(args.image) < 1:
        raise ConfigError(f"--image is {args.image}; sides are positive")
    needs = [need(config_at(args, px), mode, precision) for px in args.image for mode in map(Mode.parse, args.mode)
             for precision in ("f32", "bf16", "fp8")]
    if args.json:
        rows = [vars(n) | {"total": n.total, "fits_gb": [c for c in CARDS_GB if fits(n, c)]} for n in needs]
        args.json.write_text(json.dumps(rows, indent=1) + "\n")
    print(table(needs))
    return 0


def config_at(args: argparse.Namespace, image: int) -> ModelConfig:
    base = ModelConfig.load(args.model) if args.model else None
    if base is not None and base.denoiser != "wan":
        raise ConfigError(f"{args.model} is not a model of the Wan-style transformer; the small one needs no table")
    text = TextConfig("umt5_xxl", 512, 4096) if base is None else base.text
    return ModelConfig(views=args.views, chunk_size=args.frames, image_size=(image, image), action_size=(image, image),
                       modes=tuple(m.value for m in Mode), denoiser="wan", frame_codec="wan_vae",
                       ray_frame="first_view", text=text, wan=WanConfig() if base is None else base.wan)


def need(config: ModelConfig, mode: Mode, precision: str) -> Need:
    cost = cost_of(config, mode)
    return Need(config.image_size[0], mode.value, precision, cost.tokens, cost.weight_gib(precision),
                activation_gib(config, mode, "f32" if precision == "f32" else "bf16"), vae_gib(config))


def vae_weights_gib() -> float:
    return _VAE_PARAMETERS * WEIGHT_BYTES["f32"] / 2**30


def vae_gib(config: ModelConfig) -> float:
    """Weights in float32, and live maps of its widest stage: half the image's resolution, four frames at a time."""
    side = config.image_size[0] / 2
    return vae_weights_gib() + _VAE_LIVE * _VAE_WIDEST * side * side * config.compression.time * 4 / 2**30


def fits(one: Need, card_gb: int) -> bool:
    """With 5 % of the card left to the desktop and to fragmentation."""
    return one.total <= 0.95 * card_gb


def table(needs: list[Need]) -> str:
    lines = [f"{'image':>6s} {'mode':7s} {'precision':9s} {'tokens':>7s} {'weights':>8s} {'working':>8s} {'VAE':>6s} "
             f"{'total':>7s}  fits (GB)"]
    for n in needs:
        cards = " ".join(str(c) for c in CARDS_GB if fits(n, c))
        lines.append(f"{n.image:6d} {n.mode:7s} {n.precision:9s} {n.tokens:7d} {n.weights:8.1f} {n.working:8.2f} "
                     f"{n.vae:6.1f} {n.total:7.1f}  {cards}")
    text = _TEXT_PARAMETERS * 2 / 2**30
    lines.append(f"GiB. The text encoder needs {text:.1f} GiB of main memory (bf16), once an instruction.")
    return "\n".join(lines)

"""What one forward pass of the Wan-style transformer costs, from its sizes alone: tokens, operations, bytes.

Needs no torch. A multiplication and an addition are two operations (FLOP); element-wise work is not counted.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..canvas import CanvasLayout, Mode
from ..config import ModelConfig

WEIGHT_BYTES = {"f32": 4.0, "bf16": 2.0, "f16": 2.0, "fp8": 1.0}
"""Of one parameter of a large matrix."""


@dataclass(frozen=True)
class Cost:
    """Of one canvas, batch 1. latent_frames, tokens: of the packed canvas. flop: of one forward pass as the method
    describes it; fused_flop: after `fused.fuse`, which does without the projector. matrix_parameters: those of the
    blocks' large matrices; parameters: all."""

    latent_frames: int
    tokens: int
    flop: float
    fused_flop: float
    matrix_parameters: int
    parameters: int

    def weight_gib(self, precision: str) -> float:
        """precision: a name of WEIGHT_BYTES; what is not a large matrix stays 2 bytes, or 4 in f32."""
        rest = 4.0 if precision == "f32" else 2.0
        return (self.matrix_parameters * WEIGHT_BYTES[precision]
                + (self.parameters - self.matrix_parameters) * rest) / 2**30


def cost_of(config: ModelConfig, mode: Mode) -> Cost:
    """Conditions (camera vectors, text keys and values, modulations) are computed once and not counted."""
    wan, grid = config.wan, config.image_size[0] // config.compression.space // config.wan.patch
    layout = CanvasLayout.for_mode(mode, config.views, config.latent_frames, config.latent_frames)
    tokens, dim, words = layout.frames * grid * grid, wan.dim, config.text.max_tokens
    patch = wan.patch**2 * wan.latent_channels * dim
    square, ffn = dim * dim, 2 * dim * wan.ffn_dim
    attention = 2 * tokens * dim + 2 * words * dim
    per_block = 7 * square + ffn + attention
    flop = 2.0 * tokens * (2 * patch + wan.layers * per_block)
    fused = 2.0 * tokens * (2 * patch + wan.layers * (per_block - square))
    matrices = wan.layers * (9 * square + ffn)
    return Cost(layout.frames, tokens, flop, fused, matrices, matrices + _small_parameters(config))


def _small_parameters(config: ModelConfig) -> int:
    wan, dim = config.wan, config.wan.dim
    pool = wan.camera_pool[0] * wan.camera_pool[1] * wan.camera_pool[2]
    biases = 9 * dim + wan.ffn_dim + dim
    block = biases + 4 * dim + 2 * dim + 6 * dim + pool * dim + dim
    patch = wan.patch**2 * wan.latent_channels
    outer = patch * dim + dim + patch * dim + patch + 2 * dim
    embeddings = (config.text.width + 1 + dim + 1) * dim + (wan.freq_dim + 1 + dim + 1) * dim + (dim + 1) * 6 * dim
    return wan.layers * block + outer + embeddings


def activation_gib(config: ModelConfig, mode: Mode, precision: str) -> float:
    """Largest working set of one forward pass, compiled: the feed-forward's hidden layer beside the residual stream and
    its normalised copy; plus text keys and values and camera vectors, which stay."""
    wan, cost = config.wan, cost_of(config, mode)
    width = 4.0 if precision == "f32" else 2.0
    live = cost.tokens * (2 * wan.ffn_dim + 6 * wan.dim) * width
    kept = wan.layers * (2 * config.text.max_tokens + cost.latent_frames) * wan.dim * width
    return (live + kept) / 2**30

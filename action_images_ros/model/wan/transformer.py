"""The Wan2.2-TI2V-5B video diffusion transformer with camera modules (method, sections 5 and 6), at any size.

Parameter names are those of the original Wan code plus `blocks.N.cam_encoder.2.*` and `blocks.N.projector.*`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn

from ...errors import ModelError
from .block import BlockConditions, Head, WanBlock
from .cache import WanCache, WanModulation
from .camera import weight_of
from .rays import RayConvention
from .rope import rope_tables

MODEL_TIME = 1000.0
"""Timestep of pure noise: timestep = MODEL_TIME x sigma."""


class WanActionTransformer(ModelMixin, ConfigMixin):
    """Velocity (noise - data) of a packed canvas. Defaults: Wan2.2-TI2V-5B with cameras, 6.42 B parameters.

    A new instance follows Wan's own initialisation; its cameras have no influence yet (cam_encoder zero, projector
    identity) and its output is zero. Raises ModelError on sizes that do not fit each other.
    """

    blocks: Sequence[WanBlock]
    _supports_gradient_checkpointing = True
    _no_split_modules: ClassVar[list[str]] = ["WanBlock"]
    _repeated_blocks: ClassVar[list[str]] = ["WanBlock"]
    _keep_in_fp32_modules: ClassVar[list[str]] = ["time_embedding", "time_projection", "modulation", "norm3"]
    _skip_layerwise_casting_patterns: ClassVar[list[str]] = ["patch_embedding", "time_embedding", "norm"]

    @register_to_config
    def __init__(self, dim: int = 3072, ffn_dim: int = 14336, num_heads: int = 24, num_layers: int = 30,
                 in_channels: int = 48, out_channels: int = 48, patch_size: tuple[int, int, int] = (1, 2, 2),
                 text_dim: int = 4096, freq_dim: int = 256, camera_channels: int = 96,
                 camera_pool: tuple[int, int, int] = (48, 16, 16), eps: float = 1e-6,
                 ray_convention: str = RayConvention.PROJECT.value) -> None:
        super().__init__()
        _check_sizes(dim, num_heads, num_layers, patch_size, freq_dim)
        RayConvention.parse(ray_convention)
        frames, height, width = patch_size
        patch = (frames, height, width)
        pool_channels, pool_height, pool_width = camera_pool
        pool = (pool_channels, pool_height, pool_width)
        self.patch_embedding = nn.Conv3d(in_channels, dim, patch, patch)
        self.text_embedding = nn.Sequential(nn.Linear(text_dim, dim), nn.GELU(approximate="tanh"), nn.Linear(dim, dim))
        self.time_embedding = nn.Sequential(nn.Linear(freq_dim, dim), nn.SiLU(), nn.Linear(dim, dim))
        self.time_projection = nn.Sequential(nn.SiLU(), nn.Linear(dim, 6 * dim))
        self.blocks = nn.ModuleList(  # type: ignore[assignment]  # typed as what it holds
            WanBlock(dim, ffn_dim, num_heads, pool, eps) for _ in range(num_layers))
        self.head = Head(dim, math.prod(patch), out_channels, eps)
        self.gradient_checkpointing = False
        self._initialise()

    @property
    def ray_convention(self) -> RayConvention:
        """The axes in which these weights expect camera rays."""
        return RayConvention.parse(self.config.ray_convention)

    def forward(self, latents: Tensor, timestep: Tensor, camera: Tensor, text: Tensor) -> Tensor:
        """latents (B, C, F, h, w), timestep (B,) in [0, 1000], camera (B, F, 96, h, w): camera latents of each latent
        frame, text (B, L, 4096): text encoder states, zero-padded as the weights were trained (512) -> (B, C, F, h, w).

        Raises ModelError where the shapes do not fit. With gradient checkpointing enabled, block activations are
        recomputed in the backward pass.
        """
        self._check_inputs(latents, camera, text)
        if timestep.shape != latents.shape[:1]:
            raise ModelError(f"timestep has shape {tuple(timestep.shape)}; expected ({latents.shape[0]},), "
                             "one noise level a canvas")
        x, grid = self._tokens(latents)
        modulation = self.modulate(timestep)
        pooled, words = self._pooled(camera), self._words(text)
        tables = rope_tables(grid, self._head_dim, latents.device)

        def run(block: WanBlock, x: Tensor, time: Tensor, pooled: Tensor, words: Tensor) -> Tensor:
            return block(x, time, block.conditions(pooled, words), *tables)

        recompute = self.gradient_checkpointing and torch.is_grad_enabled()
        for block, time in zip(self.blocks, modulation.blocks):
            if recompute:
                x = self._gradient_checkpointing_func(run, block, x, time, pooled, words)
            else:
                x = run(block, x, time, pooled, words)
        return self._picture(self.head(x, modulation.head), grid)

    @torch.no_grad()
    def precompute(self, camera: Tensor, text: Tensor, timesteps: Tensor | None = None) -> WanCache:
        """camera (B, F, 96, h, w) and text (B, L, 4096) as of `forward`; timesteps (S,) of a whole schedule, optional.

        B is the canvases' batch, or 1 where all share cameras and text. The cache gives what `forward` would.
        """
        self._check_inputs(None, camera, text)
        pooled, words = self._pooled(camera), self._words(text)
        each = BlockConditions(*map(torch.stack, zip(*(b.conditions(pooled, words) for b in self.blocks))))
        grid = self.token_grid(camera.shape[1], *camera.shape[-2:])
        schedule = () if timesteps is None else tuple(self.modulate(t[None]) for t in timesteps)
        return WanCache(*each, *rope_tables(grid, self._head_dim, camera.device), grid, schedule)

    def modulate(self, timestep: Tensor) -> WanModulation:
        """timestep (B,) in [0, 1000] -> the modulation tables of every block and of the head, not in autocast's
        precision."""
        with torch.autocast(timestep.device.type, enabled=False):
            features = time_features(timestep, self.config.freq_dim)
            embedded = self.time_embedding(features.to(weight_of(self.time_embedding[0])))
            per_block = self.time_projection(embedded).float().unflatten(-1, (6, -1))
        blocks = torch.stack([b.modulate(per_block) for b in self.blocks])
        return WanModulation(blocks, self.head.modulate(embedded.float()))

    def forward_cached(self, latents: Tensor, modulation: WanModulation, cache: WanCache) -> Tensor:
        """latents (B, C, F, h, w) -> velocity, with everything that does not depend on them given.

        Raises ModelError where the cache was made for another grid.
        """
        x, grid = self._tokens(latents)
        if grid != cache.grid:
            raise ModelError(f"this cache is for a token grid of {cache.grid}, the latents make {grid}; "
                             "precompute again for this canvas")
        for i, block in enumerate(self.blocks):
            x = block(x, modulation.blocks[i], cache.block(i), cache.cos, cache.sin)
        return self._picture(self.head(x, modulation.head), grid)

    def token_grid(self, frames: int, height: int, width: int) -> tuple[int, int, int]:
        """Latent frames, height and width -> tokens along the same axes."""
        return tuple(n // p for n, p in zip((frames, height, width), self.config.patch_size))

    @property
    def _head_dim(self) -> int:
        return self.config.dim // self.config.num_heads

    def _tokens(self, latents: Tensor) -> tuple[Tensor, tuple[int, int, int]]:
        x = self.patch_embedding(latents.to(self.patch_embedding.weight.dtype))
        return x.flatten(2).transpose(1, 2).contiguous(), self.token_grid(*latents.shape[2:])

    def _pooled(self, camera: Tensor) -> Tensor:
        return self.blocks[0].cam_encoder.pooled(camera)

    def _words(self, text: Tensor) -> Tensor:
        return self.text_embedding(text.to(weight_of(self.text_embedding[0]).dtype))

    def _picture(self, x: Tensor, grid: tuple[int, int, int]) -> Tensor:
        x = x.reshape(x.shape[0], *grid, *self.config.patch_size, self.config.out_channels)
        return x.permute(0, 7, 1, 4, 2, 5, 3, 6).flatten(6, 7).flatten(4, 5).flatten(2, 3)

    def _check_inputs(self, latents: Tensor | None, camera: Tensor, text: Tensor) -> None:
        c = self.config
        if camera.ndim != 5 or camera.shape[2] != c.camera_channels:
            raise ModelError(f"camera has shape {tuple(camera.shape)}; expected (B, F, {c.camera_channels}, h, w)")
        b, f, _, h, w = camera.shape
        if h % c.patch_size[1] or w % c.patch_size[2]:
            raise ModelError(f"latent height {h} and width {w} must be multiples of the patch {c.patch_size[1:]}")
        if latents is not None and latents.shape != (b, c.in_channels, f, h, w):
            raise ModelError(f"latents have shape {tuple(latents.shape)}; expected {(b, c.in_channels, f, h, w)}, "
                             "one camera latent for each latent frame")
        if text.ndim != 3 or text.shape[0] != b or text.shape[2] != c.text_dim:
            raise ModelError(f"text has shape {tuple(text.shape)}; expected ({b}, L, {c.text_dim})")

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        nn.init.xavier_uniform_(self.patch_embedding.weight.flatten(1))
        assert self.patch_embedding.bias is not None
        nn.init.zeros_(self.patch_embedding.bias)
        for embedding in (self.text_embedding, self.time_embedding):
            for linear in (embedding[0], embedding[2]):
                nn.init.normal_(weight_of(linear), std=0.02)
        for modulation in (*(b.modulation for b in self.blocks), self.head.modulation):
            nn.init.normal_(modulation, std=self.config.dim ** -0.5)
        for block in self.blocks:
            nn.init.zeros_(weight_of(block.cam_encoder[2]))
            nn.init.eye_(weight_of(block.projector))
        nn.init.zeros_(self.head.head.weight)


def time_features(timestep: Tensor, width: int) -> Tensor:
    """timestep (B,) -> (B, width) float32: cosines, then sines, of timestep x 10000^(-i / (width / 2)).

    The angle is reduced to one turn in float64 first: in float32 it would be 3e-5 rad off at 1000.
    """
    frequency = 10_000.0 ** -(torch.arange(width // 2, dtype=torch.float64, device=timestep.device) / (width // 2))
    turns = timestep.double()[:, None] * (frequency / (2 * math.pi))
    angle = ((turns - turns.floor()) * (2 * math.pi)).float()
    return torch.cat([angle.cos(), angle.sin()], -1)


def _check_sizes(dim: int, heads: int, layers: int, patch: tuple[int, ...], freq_dim: int) -> None:
    if heads < 1 or layers < 1 or dim % heads or (dim // heads) % 2 or dim // heads < 6:
        raise ModelError(f"dim {dim} must split into num_heads {heads} heads of an even size of at least 6, "
                         f"and num_layers {layers} be at least 1")
    if len(patch) != 3 or patch[0] != 1 or min(patch) < 1:
        raise ModelError(f"patch_size is {tuple(patch)}; expected (1, height, width): "
                         "cameras are given for each latent frame, so a patch can not span two")
    if freq_dim % 2:
        raise ModelError(f"freq_dim is {freq_dim}; it must be even")

"""Sizes of the Wan-style transformer, as a model's config.json carries them. Needs no torch."""

from __future__ import annotations

from dataclasses import dataclass

from ...errors import ModelError
from .rays import RayConvention


@dataclass(frozen=True)
class WanConfig:
    """Defaults: Wan2.2-TI2V-5B with cameras. latent_channels: of one latent frame, 48 of the Wan VAE, 3 of plain
    pixels; patch: latent cells along a token's side; camera_pool (channels, height, width): what camera latents are
    pooled to; ray_convention: axes in which these weights expect camera rays."""

    dim: int = 3072
    ffn_dim: int = 14336
    heads: int = 24
    layers: int = 30
    latent_channels: int = 48
    patch: int = 2
    freq_dim: int = 256
    camera_pool: tuple[int, int, int] = (48, 16, 16)
    eps: float = 1e-6
    ray_convention: str = RayConvention.PROJECT.value

    def __post_init__(self) -> None:
        RayConvention.parse(self.ray_convention)
        sizes = (self.dim, self.ffn_dim, self.heads, self.layers, self.latent_channels, self.patch, self.freq_dim)
        if min(sizes) < 1 or len(self.camera_pool) != 3 or min(self.camera_pool) < 1 or not self.eps > 0:
            raise ModelError(f"wan: dim, ffn_dim, heads, layers, latent_channels, patch and freq_dim are {sizes}, "
                             f"camera_pool {self.camera_pool} (three sizes), eps {self.eps}; all must be positive")

    def transformer_arguments(self, text_width: int) -> dict:
        """Arguments of `WanActionTransformer`. text_width: features of a text token."""
        return {
            "dim": self.dim, "ffn_dim": self.ffn_dim, "num_heads": self.heads, "num_layers": self.layers,
            "in_channels": self.latent_channels, "out_channels": self.latent_channels,
            "patch_size": (1, self.patch, self.patch), "text_dim": text_width, "freq_dim": self.freq_dim,
            "camera_channels": 2 * self.latent_channels, "camera_pool": tuple(self.camera_pool), "eps": self.eps,
            "ray_convention": self.ray_convention,
        }

"""Random models of any size for `bench engine`, and random requests for them. No file is needed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from ..model.canvas import CanvasLayout, Mode
from ..model.config import ModelConfig, SamplerConfig, TextConfig
from ..model.denoiser import Conditioning
from ..model.sampler import Canvas
from ..model.wan.config import WanConfig
from ..model.wan.denoiser import WanDenoiser
from ..model.wan.transformer import WanActionTransformer

SIZES = {
    "full": WanConfig(),
    "small": WanConfig(dim=768, ffn_dim=3072, heads=12, layers=12),
    "tiny": WanConfig(dim=96, ffn_dim=128, heads=4, layers=2),
}
"""full: Wan2.2-TI2V-5B with cameras, 6.42 B parameters; small 0.25 B; tiny: to try the benchmark itself."""

_TEXT = {"full": TextConfig("umt5_xxl", 512, 4096), "small": TextConfig("umt5_xxl", 512, 4096),
         "tiny": TextConfig("umt5_xxl", 32, 64)}
_VAE = {"base_dim": 160, "decoder_base_dim": 256, "z_dim": 48, "dim_mult": [1, 2, 4, 4], "num_res_blocks": 2,
        "temperal_downsample": [False, True, True], "is_residual": True, "in_channels": 12, "out_channels": 12,
        "patch_size": 2, "scale_factor_spatial": 16}
_TINY_VAE = {**_VAE, "base_dim": 8, "decoder_base_dim": 8, "num_res_blocks": 1}


def config_of(size: str, image: int, frames: int, views: int) -> ModelConfig:
    return ModelConfig(
        views=views, chunk_size=frames, dt_s=0.1, image_size=(image, image), action_size=(image, image),
        modes=tuple(m.value for m in Mode), denoiser="wan", frame_codec="wan_vae", ray_frame="first_view",
        text=_TEXT[size], wan=SIZES[size], sampler=SamplerConfig(denoising_steps=4, shift=5.0))


def at_image(config: ModelConfig, image: int) -> ModelConfig:
    return replace(config, image_size=(image, image), action_size=(image, image))


def random_denoiser(config: ModelConfig, dtype: torch.dtype, device: torch.device, seed: int = 0) -> WanDenoiser:
    """Weights drawn on the device, directly in the type they are kept in: no second copy is needed."""
    with torch.device("meta"):
        transformer = WanActionTransformer(**config.wan.transformer_arguments(config.text.width))
    generator = torch.Generator(device).manual_seed(seed)
    values = {}
    for name, p in transformer.named_parameters():
        kept = any(part in WanActionTransformer._keep_in_fp32_modules for part in name.split("."))
        value = torch.empty(p.shape, dtype=torch.float32 if kept else dtype, device=device)
        if "modulation" in name:
            value.normal_(0, 0.1, generator=generator)
        elif p.ndim == 1:
            value.fill_(1.0 if name.endswith("weight") else 0.0)
        else:
            value.normal_(0, p[0].numel() ** -0.5, generator=generator)
        values[name] = value
    transformer.load_state_dict(values, assign=True)
    return WanDenoiser(config, transformer.eval().requires_grad_(False)).eval()


def random_vae(size: str, dtype: torch.dtype, device: torch.device):
    """The Wan2.2 VAE's structure with random weights. Raises ImportError where diffusers is too old for it."""
    from diffusers import AutoencoderKLWan

    torch.manual_seed(0)
    arguments = _TINY_VAE if size == "tiny" else _VAE
    with torch.device(device):
        return AutoencoderKLWan(**arguments, latents_mean=[0.0] * 48, latents_std=[1.0] * 48).to(dtype).eval()


class RandomText:
    """A text encoder in name: features of a seed. Encoding happens once an instruction and is not measured."""

    def __init__(self, config: TextConfig) -> None:
        rng = np.random.default_rng(0)
        self._features = rng.standard_normal((config.max_tokens, config.width), np.float32)
        self._mask = np.arange(config.max_tokens) < 12

    def __call__(self, instruction: str) -> tuple[np.ndarray, np.ndarray]:
        return self._features, self._mask

    def empty(self) -> tuple[np.ndarray, np.ndarray]:
        return 0 * self._features, self._mask


def random_request(config: ModelConfig, mode: Mode, seed: int = 0) -> tuple[Canvas, Canvas, CanvasLayout, Conditioning]:
    """start, given, layout and conditioning of `ResidentSampler.sample`; for either denoiser."""
    rng = np.random.default_rng(seed)
    layout = CanvasLayout.for_mode(mode, config.views, config.latent_frames, config.latent_frames)

    def canvas() -> Canvas:
        shapes = latent_shapes(config, len(layout.clean_video), len(layout.clean_action))
        return Canvas(*(rng.standard_normal(shape, np.float32) for shape in shapes))

    if config.denoiser == "wan":
        _, _, _, channels, h, w = latent_shapes(config, 1, 1)[0]
        rays: tuple[int, ...] = (1, config.views, config.latent_frames, 2 * channels, h, w)
    else:
        (w, h) = config.action_size
        rays = (1, config.views, 6, h, w)
    text = rng.standard_normal((1, config.text.max_tokens, config.text.width), np.float32)
    mask = np.arange(config.text.max_tokens)[None] < config.text.max_tokens // 2
    return canvas(), canvas(), layout, Conditioning(rng.standard_normal(rays, np.float32), text, mask)


def latent_shapes(config: ModelConfig, video_frames: int, action_frames: int) -> tuple[tuple[int, ...], ...]:
    """Of video and of action segments, batch 1."""
    if config.denoiser == "wan":
        c, side = config.wan.latent_channels, config.image_size[0] // config.compression.space
        return tuple((1, config.views, n, c, side, side) for n in (video_frames, action_frames))
    (w, h), video = config.action_size, 3 * config.pixel_factor**2
    return ((1, config.views, video_frames, video, h, w), (1, config.views, action_frames, 3, h, w))

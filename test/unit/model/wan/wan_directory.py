"""Tiny random model directories in the layout of a real one, and requests for them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKLWan
from instances import randomise

from action_images_ros.geometry import PinholeCamera
from action_images_ros.model.config import ModelConfig, SamplerConfig, TextConfig
from action_images_ros.model.wan.config import WanConfig
from action_images_ros.model.wan.transformer import WanActionTransformer

MODES = ("policy", "joint", "world", "label", "video")
WORDS = "<pad> </s> <unk> reach the red blue ball now".split()
PIXELS = ModelConfig(
    views=2, chunk_size=5, image_size=(16, 16), action_size=(16, 16), modes=MODES,
    denoiser="wan", ray_frame="first_view",
    wan=WanConfig(24, 32, heads=2, layers=2, latent_channels=3, patch=4, freq_dim=16, camera_pool=(6, 2, 2)),
    text=TextConfig("wordllama_256", 6, 256), sampler=SamplerConfig(denoising_steps=3, shift=5.0))
LATENTS = ModelConfig(
    views=2, chunk_size=9, image_size=(32, 32), action_size=(32, 32), modes=MODES,
    denoiser="wan", frame_codec="wan_vae", ray_frame="first_view",
    wan=WanConfig(24, 32, heads=2, layers=2, latent_channels=6, patch=1, freq_dim=16, camera_pool=(12, 2, 2),
                  ray_convention="release"),
    text=TextConfig("umt5_xxl", 8, 16), sampler=SamplerConfig(denoising_steps=3, shift=5.0))


def make_vae(channels: int = 6, seed: int = 0, **changes) -> AutoencoderKLWan:
    """The Wan2.2 VAE's structure, 16 x 16 pixels and 4 frames a latent, at 60 k parameters."""
    torch.manual_seed(seed)
    sizes = {"base_dim": 4, "decoder_base_dim": 4, "z_dim": channels, "dim_mult": [1, 2, 2, 2], "num_res_blocks": 1,
             "temperal_downsample": [False, True, True], "is_residual": True, "in_channels": 12, "out_channels": 12,
             "patch_size": 2, "scale_factor_spatial": 16,
             "latents_mean": [0.1 * k - 0.2 for k in range(channels)],
             "latents_std": [0.5 + 0.1 * k for k in range(channels)]}
    return AutoencoderKLWan(**{**sizes, **changes}).eval()


def write_text_encoder(directory: Path, width: int = 16) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast, UMT5Config, UMT5EncoderModel

    words = Tokenizer(models.WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    words.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    named = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    PreTrainedTokenizerFast(tokenizer_object=words, **named).save_pretrained(directory / "tokenizer")
    torch.manual_seed(1)
    sizes = UMT5Config(vocab_size=16, d_model=width, d_kv=8, d_ff=24, num_layers=2, num_heads=2)
    UMT5EncoderModel(sizes).save_pretrained(directory / "text_encoder")


def write_model(directory: Path, config: ModelConfig) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    config.save(directory)
    transformer = WanActionTransformer(**config.wan.transformer_arguments(config.text.width))
    randomise(transformer).save_pretrained(directory / "transformer")
    if config.frame_codec == "wan_vae":
        make_vae(config.wan.latent_channels).save_pretrained(directory / "vae")
    if config.text.encoder == "umt5_xxl":
        write_text_encoder(directory, config.text.width)
    return directory


def cell_cameras(side: int = 80) -> tuple[PinholeCamera, PinholeCamera]:
    """Two cameras of a cell, both looking down on the poses of `poses_along`, images wider than high."""
    out = []
    for x in (-0.3, 0.35):
        K = np.array([[1.4 * side, 0, 0.75 * side - 0.5], [0, 1.4 * side, 0.5 * side - 0.5], [0, 0, 1]])
        c, s = np.cos(x), np.sin(x)
        pose = np.eye(4)
        pose[:3, :3] = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]]) @ np.diag([1.0, -1, -1])
        pose[:3, 3] = (x, 0.05, 1.0)
        out.append(PinholeCamera(K, (side * 3 // 2, side), pose))
    return tuple(out)


def poses_along(steps: int) -> np.ndarray:
    poses = np.tile(np.diag([1.0, -1, -1, 1]), (steps, 1, 1))
    poses[:, :3, 3] = [(0.03 * k - 0.1, 0.02 * k - 0.05, 0.1) for k in range(steps)]
    return poses


@dataclass(frozen=True)
class Pictures:
    """images: T sets of V camera pictures."""

    images: list[list[np.ndarray]]

    @classmethod
    def random(cls, count: int, side: int = 80) -> "Pictures":
        rng = np.random.default_rng(5)
        blocks = rng.integers(0, 256, (count, 2, side // 10, side * 3 // 20, 3), dtype=np.uint8)
        return cls([list(np.kron(views, np.ones((1, 10, 10, 1), np.uint8))) for views in blocks])

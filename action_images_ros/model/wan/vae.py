"""The Wan2.2 video VAE of diffusers as a frame codec: 16 x 16 pixels and 4 frames a latent, 48 channels.

Latents are normalised channel by channel with the VAE's own latents_mean and latents_std, as diffusers' pipelines do.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKLWan

from ...errors import EngineError, ModelError
from ..compression import COMPRESSIONS, Compression
from ..config import ModelConfig
from ..device_faults import device_faults
from ..frames import signal_of

VAE_FOLDER = "vae"


class WanVaeCodec:
    """A FrameCodec. Encoding takes the mode of the posterior, so it is deterministic. Not thread-safe."""

    def __init__(self, vae: AutoencoderKLWan) -> None:
        self.vae = vae.eval().requires_grad_(False)
        self.compression = compression_of(vae)
        shape = (1, -1, 1, 1, 1)
        self._mean = torch.tensor(vae.config.latents_mean, device=vae.device).reshape(shape)
        self._std = torch.tensor(vae.config.latents_std, device=vae.device).reshape(shape)

    def encode(self, images: np.ndarray) -> np.ndarray:
        """(..., T, H, W, 3) uint8 -> (..., F, C, h, w) float32. Raises ModelError where T, H or W do not fit."""
        return self.encode_signal(signal_of(images))

    def encode_signal(self, signal: np.ndarray) -> np.ndarray:
        """(..., T, H, W, 3) float32 in about [-1, 1] -> (..., F, C, h, w) float32."""
        *lead, frames, height, width, _ = signal.shape
        c = self.compression
        if frames < 1 or (frames - 1) % c.time or height % c.space or width % c.space:
            raise ModelError(f"the VAE takes {c.time} q + 1 frames of a multiple of {c.space} pixels; got {frames} "
                             f"frames of {width}x{height}")
        videos = np.ascontiguousarray(np.moveaxis(signal.reshape(-1, *signal.shape[-4:]), -1, 1), np.float32)
        with device_faults(self.vae.device), torch.inference_mode():
            # One video after the other: activations of one at full size already take gigabytes.
            latents = [self.vae.encode(self._tensor(v)).latent_dist.mode().float() for v in videos]
            made = ((torch.cat(latents) - self._mean) / self._std).transpose(1, 2)
        return np.ascontiguousarray(made.cpu().numpy()).reshape(*lead, *made.shape[1:])

    def decode(self, latents: np.ndarray) -> np.ndarray:
        """(..., F, C, h, w) -> (..., T, H, W, 3) uint8. Raises EngineError where the VAE makes NaN or infinity, or its
        device fails."""
        lead = latents.shape[:-4]
        z = torch.from_numpy(np.ascontiguousarray(latents.reshape(-1, *latents.shape[-4:]))).transpose(1, 2)
        with device_faults(self.vae.device), torch.inference_mode():
            z = z.to(self.vae.device) * self._std + self._mean
            made = np.stack([self._picture(self.vae.decode(self._tensor(x)).sample[0]) for x in z])
        return made.reshape(*lead, *made.shape[1:])

    def _picture(self, signal: torch.Tensor) -> np.ndarray:
        """(3, T, H, W) in about [-1, 1] -> (T, H, W, 3) uint8, rounded on the device: a quarter of the transfer."""
        signal = signal.float()
        if not bool(torch.isfinite(signal).all()):
            raise EngineError("the VAE returned NaN or infinity; its weights are damaged, or their type is too narrow: "
                              "copy vae/ again")
        levels = ((signal + 1.0) * 127.5).clamp(0, 255).round().to(torch.uint8)
        return levels.permute(1, 2, 3, 0).contiguous().cpu().numpy()

    def _tensor(self, one) -> torch.Tensor:
        return torch.as_tensor(one)[None].to(self.vae.device, self.vae.dtype)


def load_vae(directory: Path, config: ModelConfig, device: str | torch.device = "cpu") -> WanVaeCodec:
    """The VAE of `directory`/vae, as diffusers stores it, in float32 on `device`.

    Raises ModelError where anything is missing or does not fit.
    """
    folder = Path(directory) / VAE_FOLDER
    if not (folder / "config.json").is_file():
        raise ModelError(f"{directory} has no {VAE_FOLDER}/; copy the vae folder of the Wan2.2-TI2V model in "
                         "diffusers' layout there")
    try:
        vae, info = AutoencoderKLWan.from_pretrained(folder, output_loading_info=True, local_files_only=True)
    except (OSError, ValueError, RuntimeError, TypeError) as e:
        raise ModelError(f"{folder} can not be read as a Wan VAE ({_first_line(e)}); copy it again") from e
    odd = {kind: names for kind, names in info.items() if names}
    if odd:
        raise ModelError(f"{folder}: weights and config.json disagree: "
                         + "; ".join(f"{kind} {sorted(map(str, names))[:4]}" for kind, names in odd.items()))
    expected, found = COMPRESSIONS["wan_vae"], compression_of(vae)
    if found != expected:
        raise ModelError(f"{folder} compresses {found.space} pixels and {found.time} frames a latent; frame_codec "
                         f"'wan_vae' is {expected.space} and {expected.time}: give the VAE of Wan2.2-TI2V")
    if vae.config.z_dim != config.wan.latent_channels:
        raise ModelError(f"{folder} has {vae.config.z_dim} latent channels, config.json says wan.latent_channels "
                         f"{config.wan.latent_channels}; they must be of one model")
    return WanVaeCodec(vae.to(device))


def compression_of(vae: AutoencoderKLWan) -> Compression:
    """From the layers that there are, not from what the VAE's config says of itself."""
    space = (vae.config.patch_size or 1) * 2 ** (len(vae.config.dim_mult) - 1)
    return Compression(space, 2 ** sum(vae.config.temperal_downsample))


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]

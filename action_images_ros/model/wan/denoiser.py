"""The Wan-style transformer as a Denoiser: canvas packed to one sequence, conditions computed once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from ...errors import ModelError
from ..canvas import pack, unpack
from ..config import ModelConfig
from ..denoiser import Conditioning, Prediction
from ..recent import Recent
from .cache import WanCache, WanModulation
from .load import load_transformer
from .transformer import MODEL_TIME, WanActionTransformer

TRANSFORMER_FOLDER = "transformer"
_CONDITIONINGS = 4
_LEVELS = 128


class WanDenoiser(nn.Module):
    """The Denoiser Protocol on torch tensors. Both kinds of segment have one latent shape (B, V, F, C, h, w).

    Outside of training, camera vectors, text keys and values and RoPE tables are computed once for each Conditioning
    object and segment lengths, and modulations once for each noise level; the most recent ones are kept until the
    weights change (loading, moving, training mode).
    """

    predicts = Prediction.VELOCITY

    def __init__(self, config: ModelConfig, transformer: WanActionTransformer) -> None:
        """Raises ModelError where the transformer's sizes are not the configuration's."""
        super().__init__()
        require_sizes(config, transformer)
        self.config, self.transformer = config, transformer
        self._caches, self._modulations = Recent(_CONDITIONINGS), Recent(_LEVELS)
        self.register_load_state_dict_post_hook(lambda module, _: module.forget())

    def velocity(self, video: Tensor, action: Tensor, sigma: Tensor, conditioning: Conditioning):
        """The Denoiser Protocol. conditioning.rays (B, V, F, 2 C, h, w): camera latents of a whole segment."""
        frames = (video.shape[2], action.shape[2])
        latents = pack(video, action).transpose(1, 2)
        if self.training or torch.is_grad_enabled():
            made = self.transformer(latents, MODEL_TIME * sigma, _cameras(conditioning, *frames), _words(conditioning))
        else:
            cache = self.cache_of(conditioning, *frames)
            made = self.run_cached(latents, self._modulation(sigma), cache)
        return _segments(made.to(latents.dtype), video.shape[1], frames)

    def steps(self, conditioning: Conditioning, levels: Sequence[float], batch: int, video_frames: int,
              action_frames: int) -> WanSteps:
        """What `model.steps` asks for. One noise level serves the whole batch."""
        return WanSteps(self, conditioning, levels, (video_frames, action_frames))

    def run_cached(self, latents: Tensor, modulation: WanModulation, cache: WanCache) -> Tensor:
        """Velocity of packed latents (B, C, F, h, w); what an engine takes the place of."""
        return self.transformer.forward_cached(latents, modulation, cache)

    def cache_of(self, conditioning: Conditioning, video_frames: int, action_frames: int) -> WanCache:
        """Everything that does not depend on the canvas or its noise level, kept while the conditioning is in use."""
        return self._caches.get((conditioning, video_frames, action_frames),
                                lambda: self._precompute(conditioning, video_frames, action_frames))

    def forget(self) -> None:
        """Drop what was computed with weights that are no more."""
        self._caches.clear()
        self._modulations.clear()

    def train(self, mode: bool = True) -> WanDenoiser:
        self.forget()
        return super().train(mode)

    def _apply(self, fn, recurse: bool = True):
        self.forget()
        return super()._apply(fn, recurse)

    def _precompute(self, conditioning: Conditioning, video_frames: int, action_frames: int) -> WanCache:
        return self.transformer.precompute(_cameras(conditioning, video_frames, action_frames), _words(conditioning))

    def _modulation(self, sigma: Tensor) -> WanModulation:
        levels = tuple(dict.fromkeys(sigma.tolist()))
        if len(levels) > 1:
            return self.transformer.modulate(MODEL_TIME * sigma)
        return self._modulations.get(levels, lambda: self.transformer.modulate(MODEL_TIME * sigma[:1]))


class WanSteps:
    """The steps of one schedule (`model.steps.Steps`): conditions and modulations as tensors that stay in place."""

    def __init__(self, denoiser: WanDenoiser, conditioning: Conditioning, levels: Sequence[float],
                 frames: tuple[int, int]) -> None:
        self._denoiser, self._frames = denoiser, frames
        self._cache = denoiser.cache_of(conditioning, *frames).cloned()
        of = conditioning.rays.device
        self._modulations = [denoiser.transformer.modulate(MODEL_TIME * torch.tensor([level], device=of))
                             for level in levels]

    def velocity(self, k: int, video: Tensor, action: Tensor):
        latents = pack(video, action).transpose(1, 2)
        made = self._denoiser.run_cached(latents, self._modulations[k], self._cache)
        return _segments(made.to(latents.dtype), video.shape[1], self._frames)

    def replace(self, conditioning: Conditioning) -> None:
        self._cache.copy_(self._denoiser.cache_of(conditioning, *self._frames))


def load_wan(directory: Path, config: ModelConfig, dtype: torch.dtype = torch.float32,
             device: str | torch.device = "cpu") -> WanDenoiser:
    """The denoiser of a model directory, from `directory`/transformer, in eval mode.

    Raises ModelError where it is missing, damaged, or not the one that the configuration describes.
    """
    folder = Path(directory) / TRANSFORMER_FOLDER
    if not folder.is_dir():
        raise ModelError(f"{directory} has no {TRANSFORMER_FOLDER}/; make it with "
                         "`action-images convert CHECKPOINT OUT`, or train")
    return WanDenoiser(config, load_transformer(folder, dtype, device)).eval()


def require_sizes(config: ModelConfig, transformer: WanActionTransformer) -> None:
    """Raise ModelError where config.json describes another transformer."""
    expected = config.wan.transformer_arguments(config.text.width)
    found = {name: transformer.config[name] for name in expected}
    odd = [f"{name} is {found[name]}, config.json says {value}" for name, value in expected.items()
           if _plain(found[name]) != _plain(value)]
    if odd:
        raise ModelError(f"the transformer is not the one of the model's config.json: {'; '.join(odd)}. "
                         "Set section wan (and text.width) to the transformer's sizes")


def _segments(packed: Tensor, views: int, frames: tuple[int, int]) -> tuple[Tensor | None, Tensor | None]:
    """Velocity (B, C, V (Fv + Fa), h, w) -> of video and of action, None where nothing of that kind is generated."""
    of_video, of_action = unpack(packed.transpose(1, 2), views, frames[0])
    return of_video if frames[0] > 1 else None, of_action if frames[1] else None


def _plain(value):
    return list(value) if isinstance(value, list | tuple) else value


def _cameras(conditioning: Conditioning, video_frames: int, action_frames: int) -> Tensor:
    """Camera latents of a whole segment -> of every latent frame of the packed canvas (B, V (Fv + Fa), 2 C, h, w)."""
    rays = conditioning.rays
    return pack(rays[:, :, :video_frames], rays[:, :, :action_frames])


def _words(conditioning: Conditioning) -> Tensor:
    """Token features, exactly zero where there is no token: the transformer attends to all of them."""
    return conditioning.text * conditioning.text_mask[..., None]

"""Step distillation: one denoising step of the student does what several of its teacher's do (Salimans & Ho 2022).

The canvas is brought to the noise level at which one of the student's steps begins. The teacher integrates its flow
from there to the student's next level in small steps; the student learns the clean sample (or the velocity) with which
a single Euler step lands where the teacher did. No extra data: the episodes that trained the teacher serve.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import ConfigError, ModelError
from ..model.canvas import restore_clean
from ..model.config import SamplerConfig
from ..model.denoiser import Conditioning, Prediction
from ..model.sampler import noise_levels
from .data import Batch
from .loss import LossConfig, Noise, generates, masked_error, mix, on_device, pixel_weights, predict, rows


@dataclass(frozen=True)
class DistilConfig:
    """student_steps: Euler steps of the student; teacher_steps: of the teacher for the whole way, a multiple of it."""

    student_steps: int = 1
    teacher_steps: int = 4

    def __post_init__(self) -> None:
        if self.student_steps < 1 or self.teacher_steps < 1 or self.teacher_steps % self.student_steps:
            raise ConfigError(f"teacher_steps {self.teacher_steps} must be a whole multiple of student_steps "
                              f"{self.student_steps}")


class Distillation:
    """The loss of a student against its teacher; both torch denoisers of one configuration."""

    def __init__(self, teacher, config: DistilConfig, loss: LossConfig, sampler: SamplerConfig) -> None:
        if sampler.guidance_scale != 1.0:
            raise ModelError(f"the teacher is sampled with guidance_scale {sampler.guidance_scale}, and distillation "
                             "is implemented without guidance; set it to 1 in the teacher's config.json")
        self.teacher, self.config, self.loss = teacher.eval().requires_grad_(False), config, loss
        self.sigmas = noise_levels(SamplerConfig(config.teacher_steps, sampler.shift)).tolist()

    def __call__(self, student, batch: Batch, noise: Noise, device="cpu") -> dict[str, Tensor]:
        """Losses by name: `action`, `video` where they apply, and `total`. The canvases of a batch share one level."""
        self.teacher.to(device)
        video, action, *conditions = on_device(batch, device)
        clean = video, action
        masks = batch.layout.video_mask(clean[0]), batch.layout.action_mask(clean[1])
        conditioning = Conditioning(*conditions)
        fine = self.config.teacher_steps // self.config.student_steps
        of_level = noise if isinstance(noise, torch.Generator) else noise[0]
        first = fine * int(torch.randint(self.config.student_steps, (), generator=of_level))
        levels = self.sigmas[first:first + fine + 1]
        start = self._noised(clean, masks, levels[0], noise)
        end = self._teach(start, clean, masks, conditioning, levels)
        sigma = torch.full((len(batch.action),), levels[0], device=device)
        video, action = predict(student, start[0], start[1], sigma, conditioning)
        velocity = [(a - b) / (levels[0] - levels[-1]) for a, b in zip(start, end)]
        wanted = velocity if student.predicts is Prediction.VELOCITY else [
            a - levels[0] * v for a, v in zip(start, velocity)]
        weights = pixel_weights(student, clean, self.loss)
        out = {}
        if generates(batch.layout.clean_action):
            out["action"] = masked_error(action, wanted[1], weights[1], masks[1])
        if video is not None and generates(batch.layout.clean_video):
            out["video"] = self.loss.video_weight * masked_error(video, wanted[0], weights[0], masks[0])
        out["total"] = sum(out.values(), torch.zeros((), device=device))
        return out

    def _noised(self, clean, masks, level: float, source: Noise) -> list[Tensor]:
        noise = [rows(torch.randn, x.shape, source).to(x.device) for x in clean]
        sigma = torch.full((len(clean[0]),), level, device=clean[0].device)
        return [restore_clean(mix(x, n, sigma), x, mask) for x, n, mask in zip(clean, noise, masks)]

    @torch.no_grad()
    def _teach(self, start, clean, masks, conditioning: Conditioning, levels: list[float]) -> list[Tensor]:
        """Where the teacher's flow leads."""
        state = list(start)
        for level, below in zip(levels[:-1], levels[1:]):
            sigma = torch.full((len(state[0]),), level, device=state[0].device)
            velocity = self.teacher.velocity(*state, sigma, conditioning)
            state = [x if v is None else restore_clean(x + (below - level) * v.float(), x0, mask)
                     for x, v, x0, mask in zip(state, velocity, clean, masks)]
        return state

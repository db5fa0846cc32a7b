"""Step distillation: what the student is asked to do is what its teacher does."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_training import CONFIG

from action_images_ros.engines.torch_eager import TorchEager
from action_images_ros.errors import ConfigError, ModelError
from action_images_ros.model.canvas import CanvasLayout, Mode
from action_images_ros.model.config import SamplerConfig
from action_images_ros.model.denoiser import Conditioning
from action_images_ros.model.sampler import Canvas, sample
from action_images_ros.model.small import ConvCanvas
from action_images_ros.training.augment import NO_AUGMENT
from action_images_ros.training.data import Window
from action_images_ros.training.distil import DistilConfig, Distillation
from action_images_ros.training.loss import LossConfig

T = CONFIG.chunk_size


def random_model(seed):
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    made = ConvCanvas(CONFIG)
    with torch.no_grad():
        for value in made.parameters():
            if not value.any():
                value.normal_(0, 0.05)
    return made.eval()


def a_batch(source, mode=Mode.JOINT):
    layout = CanvasLayout.for_mode(mode, 2, T, T)
    return source.windows([Window(0, 0), Window(1, 0)], layout, NO_AUGMENT, np.random.default_rng(0))


@pytest.mark.parametrize("mode", [Mode.POLICY, Mode.JOINT, Mode.WORLD, Mode.LABEL])
def test_the_teacher_leads_where_the_sampler_leads(source, mode):
    """From the same noise, the target of a one-step student is the sampler's own result in the teacher's steps."""
    teacher, batch = random_model(0), a_batch(source, mode)
    made = Distillation(teacher, DistilConfig(1, 4), LossConfig(), SamplerConfig())
    clean = torch.from_numpy(batch.video), torch.from_numpy(batch.action)
    masks = batch.layout.video_mask(clean[0]), batch.layout.action_mask(clean[1])
    given = Conditioning(*map(torch.from_numpy, (batch.rays, batch.text, batch.text_mask)))
    start = made._noised(clean, masks, 1.0, torch.Generator().manual_seed(5))
    end = made._teach(start, clean, masks, given, made.sigmas)

    class SameNoise:
        """Gives the sampler the noise that the student starts from."""

        def __init__(self):
            self.left = [x.numpy() for x in start]

        def standard_normal(self, shape, dtype):
            return self.left.pop(0).astype(dtype)

    sampled = sample(TorchEager(teacher), Canvas(batch.video, batch.action), batch.layout,
                     Conditioning(batch.rays, batch.text, batch.text_mask), SamplerConfig(4), SameNoise())
    np.testing.assert_allclose(end[0].numpy(), sampled.video, atol=1e-5)
    np.testing.assert_allclose(end[1].numpy(), sampled.action, atol=1e-5)


def test_a_student_that_does_what_the_teacher_does_has_no_loss(source):
    """Where teacher and student take the same single step, the student's answer is the target itself."""
    teacher, batch = random_model(0), a_batch(source)
    made = Distillation(teacher, DistilConfig(1, 1), LossConfig(), SamplerConfig())
    with torch.no_grad():
        same, other = (made(m, batch, torch.Generator().manual_seed(1)) for m in (teacher, random_model(1)))
    assert float(same["total"]) < 1e-8 < 1e-3 < float(other["total"])


def test_distilling_lowers_the_distance_to_the_teachers_samples(source):
    teacher, batch = random_model(0), a_batch(source)
    student = random_model(0).train()
    made = Distillation(teacher, DistilConfig(1, 4), LossConfig(), SamplerConfig())
    optimiser = torch.optim.AdamW(student.parameters(), lr=2e-3)

    def distance():
        with torch.no_grad():
            return float(made(student, batch, torch.Generator().manual_seed(9))["total"])

    before = distance()
    for k in range(25):
        optimiser.zero_grad()
        made(student, batch, torch.Generator().manual_seed(k))["total"].backward()
        optimiser.step()
    assert distance() < 0.7 * before


@pytest.mark.parametrize("steps", [(0, 4), (8, 4), (3, 4)])
def test_steps_that_do_not_divide_are_refused(steps):
    with pytest.raises(ConfigError, match="whole multiple"):
        DistilConfig(*steps)


def test_a_guided_teacher_is_refused():
    with pytest.raises(ModelError, match="guidance_scale"):
        Distillation(random_model(0), DistilConfig(), LossConfig(), replace(SamplerConfig(), guidance_scale=2.0))

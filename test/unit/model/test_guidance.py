"""Classifier-free guidance of the one sampler, on a denoiser whose velocities are known."""

import numpy as np
import pytest

from action_images_ros.errors import ModelError
from action_images_ros.model.canvas import CanvasLayout, Mode
from action_images_ros.model.config import SamplerConfig
from action_images_ros.model.denoiser import Conditioning
from action_images_ros.model.sampler import Canvas, sample

LAYOUT = CanvasLayout.for_mode(Mode.POLICY, 2, 4, 4)
GIVEN = Canvas(np.full((1, 2, 1, 3, 2, 2), 7, np.float32), np.full((1, 2, 4, 3, 2, 2), 7, np.float32))


def saying(value):
    return Conditioning(np.zeros(1), np.full((1, 1, 1), value, np.float32), np.ones((1, 1), bool))


class Straight:
    """Flows to what the instruction says, in a straight line."""

    def velocity(self, video, action, sigma, conditioning):
        return None, (action - conditioning.text[0, 0, 0]) / sigma.reshape(-1, 1, 1, 1, 1, 1)


@pytest.mark.parametrize(("scale", "goal"), [(1.0, 2.0), (3.0, 0.5 + 3 * (2.0 - 0.5))])
def test_the_flow_ends_as_far_from_no_instruction_as_the_scale_says(scale, goal):
    made = sample(Straight(), GIVEN, LAYOUT, saying(2.0), SamplerConfig(3, 1.0, scale), np.random.default_rng(0),
                  without_instruction=saying(0.5))
    np.testing.assert_allclose(made.action[:, :, 1:], goal, atol=1e-5)
    np.testing.assert_array_equal(made.action[:, :, 0], GIVEN.action[:, :, 0])
    np.testing.assert_array_equal(made.video, GIVEN.video)


def test_guidance_without_that_conditioning_is_refused():
    with pytest.raises(ModelError, match="needs the conditioning without an instruction"):
        sample(Straight(), GIVEN, LAYOUT, saying(2.0), SamplerConfig(3, 1.0, 2.0), np.random.default_rng(0))

"""generate_mode, the one door to every mode."""

from dataclasses import replace

import numpy as np
import pytest

from action_images_ros.errors import ModelError
from action_images_ros.geometry.se3 import make
from action_images_ros.model.canvas import Mode
from action_images_ros.model.config import ModelConfig, SamplerConfig
from action_images_ros.model.frames import PixelCodec, model_camera
from action_images_ros.model.noise import velocity_from_clean
from action_images_ros.model.pipeline import Pipeline
from action_images_ros.policy import ActionImagePolicy
from action_images_ros.types import SyncedFrames

CONFIG = ModelConfig(chunk_size=4, sampler=SamplerConfig(denoising_steps=3))
DOWN = np.diag([1.0, -1.0, -1.0])


class Foresees:
    """A denoiser whose only data is one video (T, V, H, W, 3), and black action images."""

    def __init__(self, video):
        self.clean = np.ascontiguousarray(PixelCodec(CONFIG.pixel_factor).encode(video).swapaxes(0, 1)[None])

    def velocity(self, video, action, sigma, conditioning):
        moved = None if video.shape[2] == 1 else velocity_from_clean(video, self.clean, sigma)
        return moved, velocity_from_clean(action, np.full_like(action, -1.0), sigma)


class Counts:
    def __init__(self, inner, asked):
        self._inner, self._asked = inner, asked

    def velocity(self, video, action, sigma, conditioning):
        self._asked.append(sigma)
        return self._inner.velocity(video, action, sigma, conditioning)


@pytest.fixture(scope="module")
def sets(cameras):
    """chunk_size sets of live frames."""
    rng = np.random.default_rng(0)
    return [SyncedFrames(("left", "right"),
                         tuple(rng.integers(0, 256, (*c.image_size[::-1], 3), np.uint8) for c in cameras),
                         cameras, (k * 400, k * 400 + 7)) for k in range(4)]


@pytest.fixture
def policy(sets):
    video = np.concatenate([Pipeline(CONFIG, None).model_images(s.images) for s in sets])
    return ActionImagePolicy(CONFIG, Pipeline(CONFIG, Foresees(video)), "known")


def poses(n):
    return make(np.repeat(DOWN[None], n, 0), np.array([0.5, 0.0, 0.2]) + np.arange(n)[:, None] * [0.02, 0, 0])


def test_world_mode_returns_the_given_targets_with_the_picture_s_stamp(policy, sets, cameras):
    made = policy.generate_mode(Mode.WORLD, sets[1:2], poses(4), np.ones(4), "reach the red ball")
    assert np.array_equal(made.chunk.base_T_tcps, poses(4)) and made.chunk.credible.all()
    assert made.chunk.stamp_ns == made.action_images.stamp_ns == 400 and made.chunk.dt_s == CONFIG.dt_s
    expected = np.concatenate([policy.pipeline.model_images(s.images) for s in sets])
    assert np.array_equal(made.video[0], expected[1]), "the frame that was given"
    assert np.array_equal(made.video[1:], expected[1:]), "what the denoiser foresees"
    for camera, live in zip(made.video_cameras, cameras):
        assert np.allclose(camera.K, model_camera(live, CONFIG.image_size).K), "the cameras of such frames"


def test_label_mode_takes_every_set_of_frames(policy, sets):
    made = policy.generate_mode(Mode.LABEL, sets, poses(1), np.ones(1), "reach the red ball")
    assert np.array_equal(made.video, np.concatenate([policy.pipeline.model_images(s.images) for s in sets]))
    chunk = made.chunk
    assert chunk.credible.tolist() == [True, False, False, False], "the pose that was given, then black pictures"
    assert np.linalg.norm(chunk.base_T_tcps[0, :3, 3] - poses(1)[0, :3, 3]) < 2e-3
    with pytest.raises(ModelError, match="label needs 4 video frames"):
        policy.generate_mode(Mode.LABEL, sets[:1], poses(1), np.ones(1), "reach the red ball")


def test_modes_that_were_not_trained_are_refused(policy, sets):
    config = replace(CONFIG, modes=("policy",))
    untrained = ActionImagePolicy(config, Pipeline(config, policy.pipeline.denoiser), "known")
    with pytest.raises(ModelError, match="not trained for mode 'world'; legal: policy"):
        untrained.generate_mode(Mode.WORLD, sets[:1], poses(4), np.ones(4), "reach the red ball")


def test_a_mode_may_have_its_own_number_of_denoising_steps(policy, sets):
    sampler = SamplerConfig(3, reused=(1,), by_mode={"joint": 5})
    policy.config = policy.pipeline.config = replace(CONFIG, sampler=sampler)
    steps = {}
    for mode in (Mode.POLICY, Mode.JOINT):
        asked, known = [], policy.pipeline.denoiser
        policy.pipeline.denoiser = Counts(known, asked)
        policy.generate_mode(mode, sets[:1], poses(1), np.ones(1), "reach the red ball")
        policy.pipeline.denoiser, steps[mode] = known, len(asked)
    assert steps == {Mode.POLICY: 2, Mode.JOINT: 5}
    assert sampler.of(Mode.POLICY).reused == (1,) and sampler.of(Mode.JOINT).reused == ()

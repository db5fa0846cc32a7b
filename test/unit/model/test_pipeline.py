"""The road from pictures, poses and words to action images, with a denoiser that knows its answer."""

from dataclasses import replace

import numpy as np
import pytest

from action_images_ros.codec import decode, encode
from action_images_ros.errors import ModelError
from action_images_ros.geometry.se3 import make, so3_exp
from action_images_ros.model.canvas import Mode
from action_images_ros.model.config import ModelConfig, SamplerConfig
from action_images_ros.model.frames import PixelCodec, model_camera
from action_images_ros.model.noise import velocity_from_clean
from action_images_ros.model.pipeline import Given, Pipeline
from action_images_ros.model.rays import plucker_rays
from action_images_ros.model.text import make_text_encoder
from action_images_ros.policy import ActionImagePolicy
from action_images_ros.types import ActionChunk, SyncedFrames

CONFIG = ModelConfig(sampler=SamplerConfig(denoising_steps=3))
T = CONFIG.chunk_size
DOWN = np.diag([1.0, -1.0, -1.0])


def motion(offset=(0.0, 0.0, 0.0)):
    """T poses in front of the arm, turning; closing at step 5."""
    k = np.arange(T)[:, None]
    points = np.array([0.45, -0.1, 0.3]) + k * np.array([0.015, 0.02, -0.015]) + np.array(offset)
    turns = so3_exp(k * np.array([0.02, 0.03, 0.1]))
    return make(turns @ DOWN, points), (np.arange(T) < 5).astype(float)


class Knows:
    """A denoiser whose data is one sample: action images (T, V, h, w, 3) and, where wanted, a video (T, V, H, W, 3)."""

    def __init__(self, action_images, video):
        self.calls = []
        self.clean = [np.ascontiguousarray(PixelCodec(f).encode(x).swapaxes(0, 1)[None])
                      for f, x in ((CONFIG.pixel_factor, video), (1, action_images))]

    def velocity(self, video, action, sigma, conditioning):
        self.calls.append((video, action, float(sigma[0]), conditioning))
        v_video = None if video.shape[2] == 1 else velocity_from_clean(video, self.clean[0], sigma)
        return v_video, velocity_from_clean(action, self.clean[1], sigma)


@pytest.fixture(scope="module")
def live(cameras):
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (c.image_size[1], c.image_size[0], 3), np.uint8) for c in cameras]


@pytest.fixture(scope="module")
def movie(live):
    seen = Pipeline(CONFIG, None).model_images(live)
    future = np.random.default_rng(1).integers(0, 256, (T - 1, *seen.shape[1:]), np.uint8)
    return np.concatenate([seen, future])


@pytest.fixture
def pipeline(cameras, movie):
    drawn = encode(*motion(), [model_camera(c, CONFIG.action_size) for c in cameras], CONFIG.encoding)
    return Pipeline(CONFIG, Knows(drawn, movie))


def given(video, known=1, offset=(0.0, 0.0, 0.0), instruction="reach the red ball"):
    poses, openness = motion(offset)
    return Given(video, poses[:known], openness[:known], instruction)


def run(pipeline, mode, request, cameras, seed=0):
    return pipeline.run(mode, request, cameras, np.random.default_rng(seed))


def test_policy_mode_returns_the_actions_in_the_live_cameras_frame(pipeline, cameras, movie):
    made = run(pipeline, Mode.POLICY, given(movie[:1]), cameras)
    assert made.video is None and made.action_images.dtype == np.uint8
    assert made.action_images.shape == (T, 2, 24, 24, 3)
    chunk = decode(made.action_images, pipeline.action_cameras(cameras), CONFIG.encoding)
    poses, openness = motion()
    assert chunk.credible.all()
    assert np.linalg.norm(chunk.base_T_tcps[:, :3, 3] - poses[:, :3, 3], axis=-1).max() < 2e-3
    assert np.array_equal(chunk.openness > 0.5, openness > 0.5)


def test_joint_and_label_modes(pipeline, cameras, movie):
    joint = run(pipeline, Mode.JOINT, given(movie[:1]), cameras)
    assert np.array_equal(joint.video, movie)
    label = run(pipeline, Mode.LABEL, given(movie), cameras)
    assert np.array_equal(label.video, movie), "what is given is not generated"
    assert np.array_equal(label.action_images, joint.action_images)


def test_world_mode_keeps_the_given_actions(pipeline, cameras, movie):
    other = (0.0, 0.06, 0.0)
    made = run(pipeline, Mode.WORLD, given(movie[:1], T, other), cameras)
    assert np.array_equal(made.action_images, encode(*motion(other), pipeline.action_cameras(cameras), CONFIG.encoding))
    assert np.array_equal(made.video, movie)


def test_committed_poses_come_back_as_they_are(pipeline, cameras, movie):
    """Where the arm is and goes in any case is given, even where the model would have done something else."""
    other = (0.0, 0.06, 0.0)
    made = run(pipeline, Mode.POLICY, given(movie[:1], 3, other), cameras).action_images
    drawn = encode(*motion(other), pipeline.action_cameras(cameras), CONFIG.encoding)
    assert np.array_equal(made[:3], drawn[:3])
    assert not np.array_equal(made[3:], drawn[3:])


def test_denoiser_is_told_cameras_words_and_the_picture(pipeline, cameras, movie):
    run(pipeline, Mode.POLICY, given(movie[:1], instruction="reach the blue ball"), cameras)
    video, action, sigma, conditioning = pipeline.denoiser.calls[0]
    seen = [model_camera(c, CONFIG.image_size) for c in cameras]
    words, mask = make_text_encoder(CONFIG.text)("reach the blue ball")
    assert sigma == 1.0
    assert np.array_equal(video[0, :, 0], PixelCodec(CONFIG.pixel_factor).encode(movie[0]))
    assert np.array_equal(conditioning.rays[0], plucker_rays(seen, CONFIG.action_size, CONFIG.ray_frame))
    assert np.array_equal(conditioning.text[0], words) and np.array_equal(conditioning.text_mask[0], mask)


def test_new_cameras_and_new_words_are_noticed(pipeline, cameras, movie):
    """What is computed once a calibration and once an instruction is computed again when they change."""
    shifted = tuple(c.moved(make(np.eye(3), np.array([0.0, 0.02 * i, 0.01]))) for i, c in enumerate(cameras))
    seen = []
    red, drawer = "reach the red ball", "close the drawer"
    for cams, words in ((cameras, red), (shifted, red), (shifted, drawer)):
        run(pipeline, Mode.POLICY, given(movie[:1], instruction=words), cams)
        seen.append(pipeline.denoiser.calls[-1][3])
    assert not np.array_equal(seen[0].rays, seen[1].rays) and np.array_equal(seen[0].text, seen[1].text)
    assert np.array_equal(seen[1].rays, seen[2].rays) and not np.array_equal(seen[1].text, seen[2].text)


def test_requests_that_do_not_fit_are_refused(pipeline, cameras, movie):
    with pytest.raises(ModelError, match="not trained for mode 'joint'"):
        run(Pipeline(replace(CONFIG, modes=("policy",)), None), Mode.JOINT, given(movie[:1]), cameras)
    with pytest.raises(ModelError, match="sees 2 views; got 1.*cell file"):
        run(pipeline, Mode.POLICY, given(movie[:1]), cameras[:1])
    with pytest.raises(ModelError, match="label needs 9 video frames"):
        run(pipeline, Mode.LABEL, given(movie[:1]), cameras)
    with pytest.raises(ModelError, match="world needs .*9.*got 1 and 3"):
        run(pipeline, Mode.WORLD, given(movie[:1], 3), cameras)
    with pytest.raises(ModelError, match="instruction is empty"):
        run(pipeline, Mode.POLICY, given(movie[:1], instruction=" "), cameras)


def test_policy_turns_live_frames_into_stamped_targets(pipeline, cameras, live):
    policy = ActionImagePolicy(CONFIG, pipeline, "known")
    frames = SyncedFrames(("left", "right"), tuple(live), cameras, (2_000, 1_000))
    poses, openness = motion()
    chunk = policy.infer(frames, poses[0], 1.0, "reach the red ball")
    assert (chunk.stamp_ns, chunk.dt_s, len(chunk)) == (1_000, CONFIG.dt_s, T)
    assert np.linalg.norm(chunk.base_T_tcps[:, :3, 3] - poses[:, :3, 3], axis=-1).max() < 2e-3
    images = policy.generate(frames, poses[0], 1.0, "reach the red ball")
    assert images.views == ("left", "right") and images.images.shape == (T, 2, 24, 24, 3)


def test_policy_continues_what_is_committed(pipeline, cameras, live):
    """However much is committed, at least one step is generated."""
    policy = ActionImagePolicy(CONFIG, pipeline, "known")
    frames = SyncedFrames(("left", "right"), tuple(live), cameras, (0, 0))
    poses, openness = motion((0.0, 0.06, 0.0))
    for count, kept in ((0, 1), (2, 3), (T, T - 1)):
        committed = ActionChunk.from_poses(poses[1:1 + count], openness[1:1 + count])
        made = policy.generate(frames, poses[0], 1.0, "reach the red ball", committed).images
        drawn = encode(poses, openness, pipeline.action_cameras(cameras), CONFIG.encoding)
        same = [np.array_equal(a, b) for a, b in zip(made, drawn)]
        assert same == [k < kept for k in range(T)]


def test_model_directory_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(ModelError, match="no_such_model is not a model directory"):
        ActionImagePolicy.from_pretrained(tmp_path / "no_such_model")

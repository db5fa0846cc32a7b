"""Every runtime computes what torch computes."""

import numpy as np
import pytest
from engine_models import CONFIG

from action_images_ros.engines import EngineOptions, Precision, load_engine
from action_images_ros.engines.verify import random_canvas, velocity_error
from action_images_ros.errors import EngineError
from action_images_ros.model.canvas import CanvasLayout, Mode
from action_images_ros.model.denoiser import Conditioning
from action_images_ros.model.sampler import Canvas, sample

RUNTIMES = [("onnxruntime", Precision.F32), ("openvino", Precision.F32)]


def load(directory, name, precision=Precision.AUTO):
    return load_engine(name, directory, CONFIG, EngineOptions(1, precision))[1]


@pytest.fixture(scope="module")
def reference(exported):
    return load(exported, "torch")


@pytest.mark.parametrize(("name", "precision"), RUNTIMES)
@pytest.mark.parametrize("frames", [1, 4])
@pytest.mark.parametrize("sigma", [1.0, 0.25])
def test_velocity_is_that_of_torch(exported, reference, name, precision, frames, sigma):
    video, action, _, conditioning = random_canvas(CONFIG, frames, seed=3)
    canvas = (video, action, np.array([sigma], np.float32), conditioning)
    engine = load(exported, name, precision)
    assert velocity_error(engine, reference, *canvas) < 1e-4
    v_video, v_action = engine.velocity(*canvas)
    assert v_action.shape == action.shape and v_action.dtype == np.float32
    assert v_video is None if frames == 1 else v_video.shape == video.shape


def test_bfloat16_is_near_and_no_worse_at_high_noise(exported, reference):
    """The angles of the noise level's features reach 1000 rad; rounded to bfloat16 they would mean nothing."""
    engine = load(exported, "openvino", Precision.BF16)
    for frames in (1, 4):
        video, action, _, conditioning = random_canvas(CONFIG, frames, seed=3)
        for sigma in (0.97, 0.5):
            canvas = (video, action, np.array([sigma], np.float32), conditioning)
            made, true = engine.velocity(*canvas)[1], reference.velocity(*canvas)[1]
            rms = np.sqrt(np.mean((made - true) ** 2)) * sigma / np.sqrt(np.mean((action - sigma * true) ** 2))
            assert rms < 0.02


@pytest.mark.parametrize(("name", "precision"), RUNTIMES)
def test_sampled_chunks_are_those_of_torch(exported, reference, name, precision):
    layout = CanvasLayout.for_mode(Mode.JOINT, 2, 4, 4, committed_frames=1)
    video, action, _, conditioning = random_canvas(CONFIG, 4, seed=8)
    made = [sample(engine, Canvas(video, action), layout, conditioning, CONFIG.sampler, np.random.default_rng(1))
            for engine in (load(exported, name, precision), reference)]
    assert np.abs(made[0].action - made[1].action).max() < 1e-3
    assert np.abs(made[0].video - made[1].video).max() < 1e-3


@pytest.mark.parametrize(("name", "precision"), RUNTIMES)
def test_a_batch_is_its_canvases_one_by_one(exported, name, precision):
    engine = load(exported, name, precision)
    one, other = random_canvas(CONFIG, 4, seed=1), random_canvas(CONFIG, 4, seed=2)
    sigma = np.array([0.9, 0.3], np.float32)
    parts = ("rays", "text", "text_mask")
    joined = Conditioning(*(np.concatenate([getattr(c[3], k) for c in (one, other)]) for k in parts))
    both = engine.velocity(np.concatenate([one[0], other[0]]), np.concatenate([one[1], other[1]]), sigma, joined)
    for b, (video, action, _, conditioning) in enumerate((one, other)):
        alone = engine.velocity(video, action, sigma[b:b + 1], conditioning)
        for x, y in zip(both, alone):
            assert np.array_equal(x[b:b + 1], y)


@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
def test_results_are_the_callers_own(exported, name):
    """A second call does not write into what the first returned."""
    engine = load(exported, name)
    first = engine.velocity(*random_canvas(CONFIG, 1, seed=1))[1]
    kept = first.copy()
    engine.velocity(*random_canvas(CONFIG, 1, seed=2))
    assert np.array_equal(first, kept)


@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
def test_a_canvas_of_another_shape_is_refused_with_the_right_one(exported, name):
    engine = load(exported, name)
    video, action, sigma, conditioning = random_canvas(CONFIG, 1, seed=1)
    with pytest.raises(EngineError, match=r"action has shape \(1, 2, 3, 3, 16, 16\).*\(1, 2, 4, 3, 16, 16\)"):
        engine.velocity(video, action[:, :, :3], sigma, conditioning)
    with pytest.raises(EngineError, match="no exported graph for 2 video frames; there are graphs for 1, 4"):
        engine.velocity(np.concatenate([video, video], 2), action, sigma, conditioning)

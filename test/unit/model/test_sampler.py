"""The sampler against flows whose end is known in closed form."""

import numpy as np
import pytest

from action_images_ros.errors import EngineError, ModelError
from action_images_ros.model.canvas import CanvasLayout, Mode
from action_images_ros.model.config import SamplerConfig
from action_images_ros.model.denoiser import Conditioning
from action_images_ros.model.sampler import Canvas, noise_levels, sample

NOTHING = Conditioning(np.zeros((1, 2, 6, 4, 4)), np.zeros((1, 1, 1)), np.ones((1, 1), bool))
SHAPE = (1, 2, 4, 3, 6, 6)


class Gaussian:
    """The exact denoiser of data ~ N(mean, sd^2): x_s = (1 - s) x + s eps, velocity E[eps - x | x_s]."""

    def __init__(self, mean, sd):
        self.mean, self.sd, self.seen = mean, sd, []

    def velocity(self, video, action, sigma, conditioning):
        self.seen.append((video, action, float(sigma[0])))
        return self._velocity(video, sigma[0]), self._velocity(action, sigma[0])

    def _velocity(self, x, s):
        a = 1.0 - s
        from_mean = (x - a * self.mean) / (a**2 * self.sd**2 + s**2)
        return s * from_mean - (self.mean + a * self.sd**2 * from_mean)


def canvas(layout, seed=5):
    rng = np.random.default_rng(seed)
    video = (1, 2, len(layout.clean_video), *SHAPE[3:])
    return Canvas(rng.standard_normal(video, np.float32), rng.standard_normal(SHAPE, np.float32))


def noise(given, seed):
    rng = np.random.default_rng(seed)
    return rng.standard_normal(given.video.shape, np.float32), rng.standard_normal(given.action.shape, np.float32)


@pytest.mark.parametrize("shift", [1.0, 5.0])
def test_integrates_a_gaussian_flow_to_its_closed_form(shift):
    """The exact flow keeps a sample's standardised value, so noise z ends at mean + sd z."""
    layout = CanvasLayout.for_mode(Mode.JOINT, 2, 4, 4)
    given, errors = canvas(layout), []
    for steps in (100, 200):
        config, rng = SamplerConfig(steps, shift), np.random.default_rng(7)
        made = sample(Gaussian(0.3, 0.5), given, layout, NOTHING, config, rng)
        off = [(got - (0.3 + 0.5 * z))[:, :, 1:] for got, z in zip((made.video, made.action), noise(given, 7))]
        errors.append(max(np.abs(x).max() for x in off))
    assert errors[1] < 0.05
    assert 1.7 < errors[0] / errors[1] < 2.3, "Euler's error falls with the first power of the step"


@pytest.mark.parametrize("steps", [1, 4])
def test_a_single_possible_sample_is_reached_exactly_in_any_number_of_steps(steps):
    layout = CanvasLayout.for_mode(Mode.JOINT, 2, 4, 4)
    made = sample(Gaussian(0.3, 0.0), canvas(layout), layout, NOTHING, SamplerConfig(steps), np.random.default_rng(0))
    assert np.abs(made.action[:, :, 1:] - 0.3).max() < 1e-5
    assert np.abs(made.video[:, :, 1:] - 0.3).max() < 1e-5


@pytest.mark.parametrize("mode", [Mode.POLICY, Mode.JOINT, Mode.WORLD, Mode.LABEL])
def test_clean_frames_are_exact_at_every_step_and_at_the_end(mode):
    committed = 1 if mode in (Mode.POLICY, Mode.JOINT) else 0
    layout = CanvasLayout.for_mode(mode, 2, 4, 4, committed)
    given, denoiser = canvas(layout), Gaussian(0.0, 1.0)
    made = sample(denoiser, given, layout, NOTHING, SamplerConfig(3), np.random.default_rng(1))
    for video, action in [*((v, a) for v, a, _ in denoiser.seen), (made.video, made.action)]:
        for got, true, clean in ((video, given.video, layout.clean_video), (action, given.action, layout.clean_action)):
            assert np.array_equal(got[:, :, np.array(clean)], true[:, :, np.array(clean)])
            assert not np.any(got[:, :, ~np.array(clean)] == true[:, :, ~np.array(clean)]), "the truth leaks in"


def test_what_is_not_given_does_not_matter():
    """Garbage in the frames to be generated changes nothing."""
    layout = CanvasLayout.for_mode(Mode.POLICY, 2, 4, 4)
    given = canvas(layout)
    spoiled = Canvas(given.video, given.action.copy())
    spoiled.action[:, :, 1:] = np.nan
    runs = [sample(Gaussian(0.1, 1.0), g, layout, NOTHING, SamplerConfig(4), np.random.default_rng(2))
            for g in (given, spoiled)]
    assert np.array_equal(runs[0].action, runs[1].action)


def test_steps_see_the_shifted_noise_levels_and_are_reported():
    layout = CanvasLayout.for_mode(Mode.POLICY, 2, 4, 4)
    denoiser, told = Gaussian(0.0, 1.0), []
    config = SamplerConfig(4, 5.0)
    sample(denoiser, canvas(layout), layout, NOTHING, config, np.random.default_rng(0), lambda *x: told.append(x))
    s = np.array([1.0, 0.75, 0.5, 0.25, 0.0])
    assert noise_levels(config) == pytest.approx(5 * s / (1 + 4 * s))
    assert [level for _, _, level in denoiser.seen] == pytest.approx(noise_levels(config)[:-1])
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_the_same_seed_gives_the_same_sample_and_another_seed_another():
    layout = CanvasLayout.for_mode(Mode.POLICY, 2, 4, 4)
    made = [sample(Gaussian(0.0, 1.0), canvas(layout), layout, NOTHING, SamplerConfig(2), np.random.default_rng(seed))
            for seed in (3, 3, 4)]
    assert np.array_equal(made[0].action, made[1].action)
    assert not np.array_equal(made[0].action, made[2].action)


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_or_infinity_from_the_engine_never_becomes_a_chunk(value):
    class Broken(Gaussian):
        def velocity(self, video, action, sigma, conditioning):
            moved = super().velocity(video, action, sigma, conditioning)
            moved[1][0, 1, 3, 0, 0, 0] = value
            return moved

    layout = CanvasLayout.for_mode(Mode.POLICY, 2, 4, 4)
    with pytest.raises(EngineError, match="NaN or infinity"):
        sample(Broken(0.0, 1.0), canvas(layout), layout, NOTHING, SamplerConfig(2), np.random.default_rng(0))


def test_reused_steps_go_straight_on_without_asking():
    """Every second of 200 steps reused is the flow in 100 steps, for half the evaluations."""
    layout = CanvasLayout.for_mode(Mode.JOINT, 2, 4, 4)
    given, made = canvas(layout), []
    for config in (SamplerConfig(200, reused=tuple(range(1, 200, 2))), SamplerConfig(100)):
        denoiser = Gaussian(0.3, 0.5)
        made.append(sample(denoiser, given, layout, NOTHING, config, np.random.default_rng(7)))
        assert len(denoiser.seen) == 100
    np.testing.assert_allclose(made[0].action, made[1].action, atol=1e-5)


@pytest.mark.parametrize("reused", [(0,), (4,), (1, -1)])
def test_reusing_a_step_that_is_not_there_is_refused(reused):
    with pytest.raises(ModelError, match="reused"):
        SamplerConfig(4, reused=reused)


@pytest.mark.parametrize(("steps", "shift"), [(0, 1.0), (4, 0.0), (1001, 1.0)])
def test_senseless_samplers_are_refused(steps, shift):
    with pytest.raises(ModelError, match="sampler"):
        SamplerConfig(steps, shift)

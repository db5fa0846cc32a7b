"""The training loop: it learns, and stops and goes on without a trace."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tiny_training import CONFIG

from action_images_ros.errors import ConfigError, DatasetError
from action_images_ros.model.canvas import CanvasLayout, Mode
from action_images_ros.model.config import ModelConfig
from action_images_ros.model.denoiser import Prediction
from action_images_ros.model.small import ConvCanvas
from action_images_ros.training.augment import NO_AUGMENT
from action_images_ros.training.data import Window
from action_images_ros.training.loop import TrainConfig, Trainer
from action_images_ros.training.loss import LossConfig, canvas_loss

T = CONFIG.chunk_size
STEPS = TrainConfig(samples=16, batch_size=2, learning_rate=1e-3, warmup_samples=4, seed=3)


def trainer(source, out, config=STEPS):
    torch.set_num_threads(1)
    return Trainer(source, CONFIG, config, out, clock=lambda: 0.0)


def weights(made):
    return {**made.model.state_dict(), **{f"average.{k}": v for k, v in made.average.items()}}


def stop_after(samples):
    def on_progress(progress):
        if progress.samples >= samples:
            raise InterruptedError

    return on_progress


def quiet(progress):
    pass


def test_gradient_steps_on_one_batch_lower_its_loss(source):
    torch.manual_seed(0)
    model = ConvCanvas(CONFIG)
    layout = CanvasLayout.for_mode(Mode.JOINT, 2, T, T)
    batch = source.windows([Window(0, 0), Window(1, 0)], layout, NO_AUGMENT, np.random.default_rng(0))
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)

    def loss():
        return canvas_loss(model, batch, LossConfig(), torch.Generator().manual_seed(1))

    before = {k: v.item() for k, v in loss().items()}
    for _ in range(8):
        optimiser.zero_grad()
        loss()["total"].backward()
        optimiser.step()
    after = {k: v.item() for k, v in loss().items()}
    assert after["action"] < 0.6 * before["action"]
    assert after["total"] < before["total"]


@pytest.mark.parametrize(("mode", "names"), [
    (Mode.POLICY, {"action", "total"}), (Mode.JOINT, {"action", "video", "total"}),
    (Mode.WORLD, {"video", "total"}), (Mode.LABEL, {"action", "total"}),
])
def test_loss_covers_what_the_mode_generates_and_nothing_that_is_given(source, mode, names):
    layout = CanvasLayout.for_mode(mode, 2, T, T)
    batch = source.windows([Window(0, 0)], layout, NO_AUGMENT, np.random.default_rng(0))
    video, action = torch.from_numpy(batch.video), torch.from_numpy(batch.action)

    class WrongIn:
        """Right everywhere but 1 off in some frames."""

        predicts, config = Prediction.CLEAN, CONFIG

        def __init__(self, video_frames, action_frames):
            self.off = [torch.where(mask, 1.0, 0.0) for mask in (video_frames, action_frames)]

        def __call__(self, *_):
            return action + self.off[1], None if video.shape[2] == 1 else video + self.off[0]

    def losses(model):
        made = canvas_loss(model, batch, LossConfig(), torch.Generator().manual_seed(0))
        return {name: float(value) for name, value in made.items()}

    given = layout.video_mask(video), layout.action_mask(action)
    assert losses(WrongIn(*given)) == {name: 0.0 for name in names}
    assert min(losses(WrongIn(*(~mask for mask in given))).values()) >= 1.0


def test_a_run_writes_a_model_that_loads_and_a_log(source, tmp_path):
    made = trainer(source, tmp_path)
    initial = {k: v.clone() for k, v in made.model.state_dict().items()}
    seen = []
    made.run(seen.append, lambda model: {"val_mm": float(model.see.weight.abs().sum() > 0)}, every_samples=8)
    assert [p.samples for p in seen] == [2, 4, 6, 8, 10, 12, 14, 16] and seen[-1].share == 1.0
    assert ModelConfig.load(tmp_path) == CONFIG
    stored = load_file(tmp_path / "model.safetensors")
    assert all(torch.equal(stored[k], v) for k, v in made.average.items()) and set(stored) == set(initial)
    moved = [not torch.equal(v, initial[k]) for k, v in made.model.state_dict().items()]
    assert np.mean(moved) > 0.9
    log = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [row["samples"] for row in log] == [8, 16] and log[0]["val_mm"] == 1.0 and "total" in log[0]


def test_an_interrupted_run_goes_on_exactly_where_it_was_saved(source, tmp_path):
    whole = trainer(source, tmp_path / "whole")
    whole.run(quiet, every_samples=8)
    first = trainer(source, tmp_path / "parts")
    with pytest.raises(InterruptedError):
        first.run(stop_after(10), every_samples=8)
    second = trainer(source, tmp_path / "parts")
    second.resume()
    assert second.samples == 8, "what came after the checkpoint is done again"
    second.run(quiet, every_samples=8)
    expected, got = weights(whole), weights(second)
    assert [k for k in expected if not torch.equal(expected[k], got[k])] == []
    assert second.losses == whole.losses
    states = [made.optimiser.state_dict()["state"] for made in (whole, second)]
    assert states[0].keys() == states[1].keys() and len(states[0]) == len(list(whole.model.parameters()))
    assert all(torch.equal(states[0][k][n], states[1][k][n]) for k in states[0] for n in states[0][k])


def test_the_same_seed_gives_the_same_model_and_another_seed_another(source, tmp_path):
    made = []
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        one = trainer(source, tmp_path / name, TrainConfig(samples=4, batch_size=2, warmup_samples=1, seed=seed))
        one.run(quiet)
        made.append(one.model.state_dict())
    assert all(torch.equal(v, made[1][k]) for k, v in made[0].items())
    assert not all(torch.equal(v, made[2][k]) for k, v in made[0].items())


def test_time_budget_ends_a_run(source, tmp_path):
    now = iter(np.arange(0.0, 1000.0, 20.0))
    config = TrainConfig(samples=1000, minutes=1.0, batch_size=2)
    made = Trainer(source, CONFIG, config, tmp_path, clock=lambda: float(next(now)))
    made.run(quiet)
    assert made.samples == 6, "three steps of 20 s in a minute"


def test_resuming_nothing_is_refused(source, tmp_path):
    with pytest.raises(DatasetError, match="no state.json to resume from; train without --resume"):
        trainer(source, tmp_path).resume()


@pytest.mark.parametrize("wrong", [{"samples": 0}, {"batch_size": 0}, {"learning_rate": 0.0}, {"minutes": 0.0}])
def test_senseless_training_is_refused(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        TrainConfig(**wrong)


def test_only_named_parameters_are_trained(source, tmp_path):
    config = TrainConfig(samples=4, batch_size=2, warmup_samples=1, only=r"^blocks\.")
    made = trainer(source, tmp_path, config)
    before = {k: v.clone() for k, v in made.model.state_dict().items()}
    made.run(quiet)
    moved = {k for k, v in made.model.state_dict().items() if not torch.equal(v, before[k])}
    assert moved and all(k.startswith("blocks.") for k in moved)
    with pytest.raises(ConfigError, match="no trained parameter's name has 'nothing'"):
        trainer(source, tmp_path, TrainConfig(only="nothing"))

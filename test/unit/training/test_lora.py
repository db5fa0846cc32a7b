"""Adapters: without effect at first, alone in what is trained, and merged into a model that every engine loads."""

import copy

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tiny_training import CONFIG

from action_images_ros.cli import main
from action_images_ros.engines.torch_eager import load_denoiser
from action_images_ros.errors import ConfigError, DatasetError
from action_images_ros.model.canvas import CanvasLayout, Mode
from action_images_ros.model.config import ModelConfig, SamplerConfig, TextConfig
from action_images_ros.model.factory import build_denoiser, save_denoiser
from action_images_ros.model.wan.config import WanConfig
from action_images_ros.training.augment import NO_AUGMENT
from action_images_ros.training.data import CanvasSource, Window
from action_images_ros.training.loop import Arithmetic, TrainConfig, Trainer
from action_images_ros.training.lora import LoraSettings, add_adapters, merged_weights
from action_images_ros.training.loss import LossConfig, canvas_loss
from action_images_ros.training.recompute import recompute_blocks
from action_images_ros.training.sharing import blocks_of

pytest.importorskip("peft", reason="adapters need the training extra")
pytest.importorskip("diffusers", reason="the Wan-style transformer needs the training extra")

WAN = ModelConfig(
    chunk_size=5, image_size=(32, 32), action_size=(32, 32), denoiser="wan", ray_frame="first_view",
    text=TextConfig(max_tokens=16), sampler=SamplerConfig(2, 5.0),
    wan=WanConfig(24, 32, heads=2, layers=1, latent_channels=3, patch=8, freq_dim=16, camera_pool=(6, 2, 2)))
BOTH = pytest.mark.parametrize("config", [CONFIG, WAN], ids=["conv_canvas", "wan"])
RANK = LoraSettings(rank=4)


def trained(config):
    """Not the zero output of a new model."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model = build_denoiser(config)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.05 * torch.randn_like(p))
    return model


def loss_of(model, source, mode=Mode.JOINT):
    config = source.config
    layout = CanvasLayout.for_mode(mode, 2, config.latent_frames, config.latent_frames)
    batch = source.windows([Window(0, 0), Window(1, 0)], layout, NO_AUGMENT, np.random.default_rng(0))
    return canvas_loss(model, batch, LossConfig(), torch.Generator().manual_seed(0))["total"]


@BOTH
def test_new_adapters_change_nothing_and_are_all_that_learns(episodes, config):
    source, model = CanvasSource(episodes, config), trained(config)
    before = loss_of(model, source).item()
    add_adapters(model, RANK)
    loss = loss_of(model, source)
    assert loss.item() == before
    loss.backward()
    learning = {n for n, p in model.named_parameters() if p.requires_grad}
    assert learning and all("lora_" in n for n in learning)
    assert {n for n, p in model.named_parameters() if p.grad is not None} <= learning
    assert sum(p.numel() for n, p in model.named_parameters() if n in learning) < 0.6 * sum(
        p.numel() for n, p in model.named_parameters() if n not in learning)


@BOTH
def test_merged_weights_do_what_the_adapters_did(episodes, config):
    source, model = CanvasSource(episodes, config), trained(config)
    plain = copy.deepcopy(model)
    add_adapters(model, RANK)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "lora_" in name:
                p.normal_(0, 0.1)
        adapted = float(loss_of(model, source))
        assert abs(adapted - float(loss_of(plain, source))) > 1e-3
        plain.load_state_dict(merged_weights(model))
        assert float(loss_of(plain, source)) == pytest.approx(adapted, rel=1e-4)


@pytest.fixture
def start(tmp_path):
    directory = tmp_path / "start"
    directory.mkdir()
    CONFIG.save(directory)
    save_denoiser(trained(CONFIG), directory)
    return directory


def test_a_run_with_adapters_writes_an_ordinary_model_and_resumes_exactly(source, start, tmp_path):
    def trainer(out, samples=16):
        steps = TrainConfig(samples=16, batch_size=2, learning_rate=1e-2, warmup_samples=1, lora=RANK, seed=3,
                            arithmetic=Arithmetic.F32)
        return Trainer(source, CONFIG, steps, tmp_path / out, lambda: 0.0, start=start)

    def stop(progress):
        if progress.samples >= 10:
            raise InterruptedError

    whole = trainer("whole")
    frozen = {k: v.clone() for k, v in whole.model.state_dict().items() if "lora_" not in k}
    whole.run(lambda progress: None, every_samples=8)
    assert all(torch.equal(whole.model.state_dict()[k], v) for k, v in frozen.items())
    assert set(whole.average) == {k for k in whole.model.state_dict() if "lora_" in k}
    stored, before = (load_file(d / "model.safetensors") for d in (tmp_path / "whole", start))
    assert {k: v.shape for k, v in stored.items()} == {k: v.shape for k, v in before.items()}
    assert any(not torch.equal(stored[k], before[k]) for k in stored)
    assert load_denoiser(tmp_path / "whole", CONFIG) is not None
    first = trainer("parts")
    with pytest.raises(InterruptedError):
        first.run(stop, every_samples=8)
    second = trainer("parts")
    second.resume()
    assert second.samples == 8
    second.run(lambda progress: None, every_samples=8)
    assert all(torch.equal(v, whole.average[k]) for k, v in second.average.items())
    with pytest.raises(DatasetError, match="resume with the same model and adapters"):
        Trainer(source, CONFIG, TrainConfig(), tmp_path / "parts", lambda: 0.0).resume()


def test_adapters_need_a_model_to_adapt(source, tmp_path):
    with pytest.raises(ConfigError, match="give the model directory to start from"):
        Trainer(source, CONFIG, TrainConfig(lora=RANK), tmp_path, lambda: 0.0)


def test_the_command_takes_sizes_from_where_it_starts_and_logs_samples(shards, start, tmp_path, capsys):
    pytest.importorskip("tensorboard")
    out = tmp_path / "out"
    assert main(["train", "--data", str(shards), "--validation", str(shards), "--start-from", str(start), "--out",
                 str(out), "--lora-rank", "2", "--samples", "4", "--batch-size", "2", "--threads", "1", "--mode-mix",
                 "policy=1", "--mirror", "0.5", "--track", "tensorboard"]) == 0
    text = capsys.readouterr().out
    assert "parameters trained" in text and "held out: val_mm" in text
    made = ModelConfig.load(out)
    assert made.conv_canvas == CONFIG.conv_canvas and made.modes == ("policy",)
    import cv2

    sheet = cv2.imread(str(out / "samples" / "00000004.png"))
    assert sheet is not None and sheet.shape[0] > 3 * 4 * 128 and sheet.std() > 10
    assert list(out.rglob("events.out.tfevents*"))


@BOTH
def test_recomputed_blocks_give_the_same_gradients_and_run_twice(episodes, config):
    source = CanvasSource(episodes, config)
    plain, thrifty = trained(config).train(), trained(config).train()
    recompute_blocks(thrifty)
    runs = []
    blocks_of(thrifty)[0].register_forward_pre_hook(lambda *_: runs.append(1))
    inner = next(m for n, m in blocks_of(thrifty)[0].named_modules() if isinstance(m, torch.nn.Linear))
    inner.register_forward_pre_hook(lambda *_: runs.append(0))
    for model in (plain, thrifty):
        loss_of(model, source).backward()
    assert runs.count(0) == 2, "once forward, once again for the gradients"
    for (name, a), (_, b) in zip(plain.named_parameters(), thrifty.named_parameters()):
        assert (a.grad is None) == (b.grad is None), name
        assert a.grad is None or torch.allclose(a.grad, b.grad, atol=1e-6), name

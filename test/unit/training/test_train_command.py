"""`action-images train --config`: any denoiser, on collected episodes, to a directory that the policy loads."""

import dataclasses

import pytest
import torch
from tiny_training import CONFIG

pytest.importorskip("diffusers", reason="the Wan-style transformer needs the training extra")

from action_images_ros.cli import main  # noqa: E402
from action_images_ros.engines.torch_eager import load_denoiser  # noqa: E402
from action_images_ros.model.config import ModelConfig, SamplerConfig, TextConfig  # noqa: E402
from action_images_ros.model.wan.config import WanConfig  # noqa: E402
from action_images_ros.policy import ActionImagePolicy, EngineOptions  # noqa: E402

WAN = ModelConfig(
    chunk_size=5, image_size=(32, 32), action_size=(32, 32), denoiser="wan", ray_frame="first_view",
    text=TextConfig(max_tokens=16), sampler=SamplerConfig(2, 5.0),
    wan=WanConfig(24, 32, heads=2, layers=1, latent_channels=3, patch=8, freq_dim=16, camera_pool=(6, 2, 2)))


def train(shards, out, *more):
    return main(["train", "--data", str(shards), "--out", str(out), "--samples", "4", "--batch-size", "2",
                 "--threads", "1", "--mode-mix", "policy=0.5,joint=0.5", *map(str, more)])


@pytest.mark.parametrize("config", [WAN, CONFIG], ids=["wan", "conv_canvas"])
def test_a_config_decides_what_is_trained(shards, tmp_path, capsys, config):
    (tmp_path / "given").mkdir()
    config.save(tmp_path / "given")
    assert train(shards, tmp_path / "out", "--config", tmp_path / "given", "--validation", shards) == 0
    assert "held out: val_mm" in capsys.readouterr().out
    policy = ActionImagePolicy.from_pretrained(tmp_path / "out", "torch", EngineOptions(threads=1))
    assert policy.config == dataclasses.replace(config, modes=("policy", "joint"))
    first = load_denoiser(tmp_path / "out", policy.config).state_dict()
    assert train(shards, tmp_path / "next", "--config", tmp_path / "out", "--start-from", tmp_path / "out",
                 "--learning-rate", 1e-9) == 0
    again = load_denoiser(tmp_path / "next", policy.config).state_dict()
    assert max(float((again[k] - v).abs().max()) for k, v in first.items() if v.dtype == torch.float32) < 1e-6


def test_a_directory_without_a_config_is_named(shards, tmp_path, capsys):
    assert train(shards, tmp_path / "out", "--config", tmp_path) == 2
    assert "has no config.json" in capsys.readouterr().err

"""`action-images convert` from its command line."""

import argparse
import dataclasses
import json

import pytest
import torch
from instances import random_model
from wan_directory import LATENTS, Pictures, cell_cameras, poses_along, write_model

from action_images_ros.cli import convert as command
from action_images_ros.engines import EngineOptions
from action_images_ros.errors import ConfigError, ModelError
from action_images_ros.model.config import ModelConfig
from action_images_ros.model.wan.load import load_transformer
from action_images_ros.model.wan.rays import RayConvention
from action_images_ros.policy import ActionImagePolicy
from action_images_ros.types import SyncedFrames


def call(*argv):
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.run(parser.parse_args([str(a) for a in argv]))


def test_options_reach_the_folder_and_the_report(tmp_path, capsys):
    model = random_model()
    torch.save({"model": model.state_dict(), "step": 3}, tmp_path / "release.pt")
    assert call(tmp_path / "release.pt", tmp_path / "out", "--heads", 2, "--convention", "project", "--dtype",
                "bfloat16", "--shard-gb", 0.0003, "--json", tmp_path / "report.json", "--transformer-only") == 0
    loaded = load_transformer(tmp_path / "out", torch.bfloat16)
    assert torch.equal(loaded.blocks[1].ffn[0].weight, model.blocks[1].ffn[0].weight.bfloat16())
    assert loaded.ray_convention is RayConvention.PROJECT
    report = json.loads((tmp_path / "report.json").read_text())
    files = len(list((tmp_path / "out").glob("*.safetensors")))
    assert report["shards"] == files > 1 and report["kind"] == "released" and report["left_out"] == ["step"]
    printed = capsys.readouterr().out
    assert f"in {files} files" in printed and "project convention" in printed and "step" in printed


def test_a_converted_directory_runs_at_once_and_like_the_model_it_came_from(tmp_path, capsys):
    """A release in the original layout and the video model's own folders are all that is needed."""
    model = dataclasses.replace(LATENTS, wan=dataclasses.replace(LATENTS.wan, latent_channels=48,
                                                                 camera_pool=(48, 16, 16)))
    source = write_model(tmp_path / "source", model)
    weights = load_transformer(source / "transformer").state_dict()
    torch.save({"model": weights}, tmp_path / "release.pt")
    sizes = {"dim": 24, "num_heads": 2}
    (tmp_path / "config.json").write_text(json.dumps(sizes))
    command_line = (tmp_path / "release.pt", tmp_path / "out", "--frames", 9, "--image", 32, "--dt-s", 0.4,
                    "--steps", 3, "--guidance", 1.0)
    with pytest.raises(ModelError, match="has no vae, text_encoder, tokenizer; give the folder"):
        call(*command_line, "--parts", tmp_path)
    assert not (tmp_path / "out").exists()
    assert call(*command_line, "--parts", source) == 0
    assert "still to be put there" not in capsys.readouterr().out
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    config["text"]["max_tokens"] = LATENTS.text.max_tokens  # 512 words are what UMT5 models take; the tiny one's 8
    (tmp_path / "out" / "config.json").write_text(json.dumps(config))
    policies = [ActionImagePolicy.from_pretrained(d, "torch", EngineOptions(1)) for d in (source, tmp_path / "out")]
    assert policies[1].config == policies[0].config
    cameras = cell_cameras()
    frames = SyncedFrames(("left", "right"), tuple(Pictures.random(1).images[0]), cameras, (0, 0))
    made = [p.generate(frames, poses_along(1)[0], 1.0, "reach the red ball").images for p in policies]
    assert (made[0] == made[1]).all()


def test_what_is_still_missing_is_said(tmp_path, capsys):
    torch.save(random_model().state_dict(), tmp_path / "release.pt")
    assert call(tmp_path / "release.pt", tmp_path / "out", "--heads", 2) == 0
    assert "still to be put there, from Wan2.2-TI2V in diffusers' layout: vae, text_encoder, tokenizer" in (
        capsys.readouterr().out)
    assert ModelConfig.load(tmp_path / "out").wan.ray_convention == "release"


def test_bad_options_are_one_clear_error(tmp_path):
    with pytest.raises(ConfigError, match="--shard-gb is 0"):
        call(tmp_path / "x.pt", tmp_path / "out", "--shard-gb", 0)
    with pytest.raises(ModelError, match="does not exist"):
        call(tmp_path / "x.pt", tmp_path / "out")

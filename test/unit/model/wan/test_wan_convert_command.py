"""`action-images convert` from its command line."""

import argparse
import json

import pytest
import torch
from instances import random_model

from action_images_ros.cli import convert as command
from action_images_ros.errors import ConfigError, ModelError
from action_images_ros.model.wan.load import load_transformer
from action_images_ros.model.wan.rays import RayConvention


def call(*argv):
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.run(parser.parse_args([str(a) for a in argv]))


def test_options_reach_the_folder_and_the_report(tmp_path, capsys):
    model = random_model()
    torch.save({"model": model.state_dict(), "step": 3}, tmp_path / "release.pt")
    assert call(tmp_path / "release.pt", tmp_path / "out", "--heads", 2, "--convention", "project", "--dtype",
                "bfloat16", "--shard-gb", 0.0003, "--json", tmp_path / "report.json") == 0
    loaded = load_transformer(tmp_path / "out", torch.bfloat16)
    assert torch.equal(loaded.blocks[1].ffn[0].weight, model.blocks[1].ffn[0].weight.bfloat16())
    assert loaded.ray_convention is RayConvention.PROJECT
    report = json.loads((tmp_path / "report.json").read_text())
    files = len(list((tmp_path / "out").glob("*.safetensors")))
    assert report["shards"] == files > 1 and report["kind"] == "released" and report["left_out"] == ["step"]
    printed = capsys.readouterr().out
    assert f"in {files} files" in printed and "project convention" in printed and "step" in printed


def test_bad_options_are_one_clear_error(tmp_path):
    with pytest.raises(ConfigError, match="--shard-gb is 0"):
        call(tmp_path / "x.pt", tmp_path / "out", "--shard-gb", 0)
    with pytest.raises(ModelError, match="does not exist"):
        call(tmp_path / "x.pt", tmp_path / "out")

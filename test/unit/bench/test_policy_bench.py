"""`bench policy`: its figures are about what ran, and its bars fail what misses them."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from action_images_ros.bench.policy import chunk_drift, variants
from action_images_ros.cli import main
from action_images_ros.engines import Precision
from action_images_ros.errors import EngineError
from action_images_ros.geometry.se3 import make, so3_exp
from action_images_ros.model.config import ConvCanvasConfig, ModelConfig
from action_images_ros.model.small import ConvCanvas
from action_images_ros.sim.collect import CollectConfig, collect_episodes
from action_images_ros.sim.split import Split
from action_images_ros.types import ActionChunk

CONFIG = ModelConfig(chunk_size=4, image_size=(32, 32), action_size=(16, 16), modes=("policy",),
                     conv_canvas=ConvCanvasConfig(width=48, channels=16, blocks=1, heads=3))


def chunk(offset_m=0.0, angle_rad=0.0, not_credible=()):
    poses = make(so3_exp(np.full((5, 1), angle_rad) * [0, 0, 1.0]), np.full((5, 1), offset_m) * [0, 1.0, 0])
    credible = np.array([k not in not_credible for k in range(5)])
    return ActionChunk(poses, np.ones(5), np.zeros((5, 6, 6)), np.zeros(5), credible)


def test_drift_is_the_distance_of_targets_credible_in_both():
    drift = chunk_drift([chunk(0.002, 0.01), chunk(0.004, 0.02, {1, 2})], [chunk(), chunk(not_credible={2, 3})])
    assert drift["credible"] == pytest.approx(5 / 8) and drift["verdicts_differ"] == pytest.approx(2 / 8)
    assert (drift["median_mm"], drift["max_mm"]) == (pytest.approx(2.0), pytest.approx(4.0))
    assert drift["max_deg"] == pytest.approx(np.degrees(0.02))


def test_drift_of_what_is_not_credible_is_unknown_not_zero():
    assert chunk_drift([chunk(not_credible=range(5))], [chunk()]) is None


def test_torch_runs_first_because_the_others_are_held_against_it():
    names = variants(["openvino", "onnxruntime", "torch"])
    assert names[0] == ("torch", Precision.F32)
    assert set(names[1:]) == {("openvino", Precision.F32), ("openvino", Precision.BF16), ("onnxruntime", Precision.F32)}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """A model directory that was never exported, and an episode."""
    model, shards = tmp_path_factory.mktemp("model"), tmp_path_factory.mktemp("shards")
    torch.manual_seed(0)
    CONFIG.save(model)
    save_file(ConvCanvas(CONFIG).state_dict(), model / "model.safetensors")
    collect_episodes(shards, CollectConfig("reach_target", 1, 5, Split.TEST, image_px=32))
    return model, shards


def bench(inputs, *options):
    model, shards = inputs
    return main(["bench", "policy", "--model", str(model), "--episodes", str(shards), "--observations", "2", "--chunks",
                 "3", "--threads", "1", *options])


def test_every_stage_of_what_ran_and_the_reason_of_what_did_not(inputs, tmp_path, capsys):
    assert bench(inputs, "--engine", "torch", "onnxruntime", "--json", str(tmp_path / "b.json")) == 0
    report = json.loads((tmp_path / "b.json").read_text())
    ran, not_run = report["engines"]["torch f32"], report["engines"]["onnxruntime f32"]
    ms = {name: figures["median"] for name, figures in ran["ms"].items()}
    assert min(ms.values()) > 0
    assert ms["denoise"] == pytest.approx(report["denoising_steps"] * ms["step"], rel=0.5)
    assert max(ms["prepare"], ms["denoise"], ms["decode"]) < ms["total"]
    assert ran["memory_mb"] > 50 and ran["loop_period_error_p99_ms"] > 0
    assert ran["drift"] is None and not ran["within_bars"], "no step of an untrained model is credible"
    assert "has no exported graph" in not_run["failed"] and "has no exported graph" in capsys.readouterr().out


def test_verify_fails_where_an_engine_cannot_run(inputs):
    assert bench(inputs, "--engine", "onnxruntime", "--verify") == 1


def test_wrong_arguments_are_one_line_and_status_2(inputs, tmp_path, capsys):
    assert main(["bench", "policy", "--model", str(tmp_path / "none")]) == 2
    assert "none is not a model directory" in capsys.readouterr().err
    assert bench(inputs, "--engine", "cuda") == 2
    legal = "onnxruntime, openvino, tensorrt, tensorrt-rtx, torch, torch-compile"
    assert f"engine is 'cuda'; legal: {legal}" in capsys.readouterr().err


def test_nothing_installed_is_an_error(monkeypatch):
    monkeypatch.setattr("action_images_ros.engines.onnxruntime_cpu.available", lambda: "onnxruntime is not installed")
    with pytest.raises(EngineError, match="onnxruntime is not installed"):
        variants(["onnxruntime"])

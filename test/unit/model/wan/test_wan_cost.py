"""What the cost model says is what torch counts."""

import json

import numpy as np
import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from action_images_ros.bench.engine_model import config_of, random_denoiser, random_request
from action_images_ros.cli import main
from action_images_ros.engines.torch_device import TorchDevice
from action_images_ros.model.canvas import Mode
from action_images_ros.model.wan.cost import cost_of
from action_images_ros.model.wan.fused import fuse
from action_images_ros.model.wan.transformer import WanActionTransformer


@pytest.mark.parametrize("mode", [Mode.POLICY, Mode.JOINT])
def test_operations_tokens_and_parameters_are_those_of_the_transformer(mode):
    config = config_of("tiny", 64, 9, 3)
    denoiser = random_denoiser(config, torch.float32, torch.device("cpu"))
    cost = cost_of(config, mode)
    assert cost.parameters == sum(p.numel() for p in denoiser.transformer.parameters())
    start, _, _, conditioning = random_request(config, mode)
    for fused, expected in ((False, cost.flop), (True, cost.fused_flop)):
        if fused:
            fuse(denoiser.transformer)
        engine = TorchDevice(denoiser, torch.device("cpu"))
        state = (start.video, start.action, np.array([0.5], np.float32), conditioning)
        engine.velocity(*state)  # conditions are made once and do not count
        # torch does not count the fused attention of CPUs
        with sdpa_kernel([SDPBackend.MATH]), FlopCounterMode(display=False) as counter:
            engine.velocity(*state)
        assert counter.get_total_flops() == pytest.approx(expected, rel=1e-9)
        denoiser.forget()


def test_full_size_is_the_published_model():
    cost = cost_of(config_of("full", 512, 41, 2), Mode.POLICY)
    with torch.device("meta"):
        count = sum(p.numel() for p in WanActionTransformer().parameters())
    assert cost.parameters == count == 6_415_549_632
    assert (cost.latent_frames, cost.tokens) == (24, 6144) and cost.flop / 1e12 == pytest.approx(71.9, abs=0.1)
    assert cost_of(config_of("full", 512, 41, 2), Mode.JOINT).tokens == 11_264


def test_memory_table_by_command(tmp_path, capsys):
    out = tmp_path / "m.json"
    assert main(["bench", "memory", "--image", "256", "512", "--mode", "policy", "--json", str(out)]) == 0
    rows = {(r["image"], r["precision"]): r for r in json.loads((tmp_path / "m.json").read_text())}
    assert rows[512, "bf16"]["weights"] == pytest.approx(6.4155e9 * 2 / 2**30, rel=1e-3)
    assert rows[512, "f32"]["fits_gb"] == [80] and 24 in rows[512, "bf16"]["fits_gb"]
    assert rows[256, "fp8"]["total"] < rows[256, "bf16"]["total"] < rows[512, "bf16"]["total"]
    assert "tokens" in capsys.readouterr().out

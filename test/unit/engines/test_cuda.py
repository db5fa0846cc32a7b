"""What only a GPU can show: the captured graph. Run where there is one (bench/h200.sh does)."""

import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the training extra")
pytest.importorskip("diffusers", reason="needs the training extra")
sys.path.insert(0, str(Path(__file__).parent))

from action_images_ros.bench.engine_model import config_of, random_denoiser, random_request  # noqa: E402
from action_images_ros.engines.options import Precision  # noqa: E402
from action_images_ros.engines.torch_compiled import compile_module  # noqa: E402
from action_images_ros.engines.torch_device import TorchDevice  # noqa: E402
from action_images_ros.engines.torch_eager import place_wan  # noqa: E402
from action_images_ros.model.canvas import Mode  # noqa: E402
from action_images_ros.model.config import SamplerConfig  # noqa: E402

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
CONFIG, SAMPLER = config_of("tiny", 64, 9, 2), SamplerConfig(3, 5.0)


def engine(capture, dtype=torch.float32, **place):
    module = random_denoiser(CONFIG, dtype, torch.device("cuda"))
    if place:
        compile_module(place_wan(module, **place))
    return TorchDevice(module, torch.device("cuda"), capture)


@pytest.mark.parametrize("guidance", [1.0, 3.0])
@pytest.mark.parametrize("mode", [Mode.POLICY, Mode.JOINT])
def test_the_graph_replays_what_the_steps_compute_for_every_instruction(mode, guidance):
    stepwise, captured = engine(False), engine(True)
    sampler = SamplerConfig(3, 5.0, guidance)
    for seed in (1, 2, 1, 3):
        start, given, layout, told = random_request(CONFIG, mode, seed)
        untold = random_request(CONFIG, mode, seed + 10)[3]
        a, b = (e.sample(start, given, layout, told, sampler, untold) for e in (stepwise, captured))
        assert np.abs(a.video - b.video).max() < 1e-3 and np.abs(a.action - b.action).max() < 1e-3
        assert np.abs(a.action).max() > 0.1


def test_nothing_is_allocated_on_the_device_after_the_first_chunk():
    captured = engine(True)
    requests = [random_request(CONFIG, Mode.POLICY, seed) for seed in (1, 2)]
    conditioning = requests[0][3]
    captured.sample(*requests[0][:3], conditioning, SAMPLER)
    before = torch.cuda.memory_stats()["allocation.all.allocated"]
    for start, given, layout, _ in requests * 2:
        captured.sample(start, given, layout, conditioning, SAMPLER)
    assert torch.cuda.memory_stats()["allocation.all.allocated"] == before


@pytest.mark.parametrize(("precision", "limit"), [(Precision.BF16, 0.05), (Precision.FP8, 0.15)])
def test_compiled_graphs_in_reduced_precision_stay_close(precision, limit):
    if precision is Precision.FP8 and torch.cuda.get_device_capability() < (8, 9):
        pytest.skip("no 8-bit matrix product here")
    start, given, layout, told = random_request(CONFIG, Mode.POLICY, 1)
    a = engine(False).sample(start, given, layout, told, SAMPLER)
    b = engine(True, torch.bfloat16, precision=precision, fused=True).sample(start, given, layout, told, SAMPLER)
    assert np.sqrt(np.mean((a.action - b.action) ** 2)) < limit * np.sqrt(np.mean(a.action**2))

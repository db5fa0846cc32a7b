"""Sampling on the device gives what the step-by-step sampler gives, and prepares everything once."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the training extra")
pytest.importorskip("diffusers", reason="needs the training extra")
sys.path.insert(0, str(Path(__file__).parents[1] / "model" / "wan"))

from engine_models import CONFIG  # noqa: E402
from wan_directory import PIXELS, write_model  # noqa: E402

from action_images_ros.engines import EngineOptions, Precision, load_engine  # noqa: E402
from action_images_ros.engines.resident import ResidentSampler  # noqa: E402
from action_images_ros.engines.torch_compiled import compile_module  # noqa: E402
from action_images_ros.engines.torch_device import TorchDevice  # noqa: E402
from action_images_ros.engines.torch_eager import TorchEager, load_denoiser, place_wan  # noqa: E402
from action_images_ros.errors import EngineError, ModelError  # noqa: E402
from action_images_ros.model.canvas import CanvasLayout, Mode  # noqa: E402
from action_images_ros.model.config import SamplerConfig  # noqa: E402
from action_images_ros.model.denoiser import Conditioning  # noqa: E402
from action_images_ros.model.device_faults import device_faults  # noqa: E402
from action_images_ros.model.sampler import Canvas, sample  # noqa: E402

CPU = torch.device("cpu")
WAN = replace(PIXELS, image_size=(32, 32), action_size=(32, 32), wan=replace(PIXELS.wan, dim=64, ffn_dim=96))


@pytest.fixture(scope="module")
def wan_directory(tmp_path_factory):
    torch.set_num_threads(1)
    return write_model(tmp_path_factory.mktemp("wan") / "model", WAN)


def conditioning_of(config, seed):
    rng, (w, h) = np.random.default_rng(seed), config.action_size
    rays = (1, config.views, 6, h, w) if config.denoiser == "conv_canvas" else (
        1, config.views, config.latent_frames, 6, h, w)
    text = rng.standard_normal((1, config.text.max_tokens, config.text.width), np.float32)
    mask = np.arange(config.text.max_tokens)[None] < 3
    return Conditioning(rng.standard_normal(rays, np.float32), text, mask)


def canvas_of(config, mode, seed):
    layout = CanvasLayout.for_mode(mode, config.views, config.chunk_size, config.chunk_size)
    rng, (w, h) = np.random.default_rng(seed), config.action_size
    video = (1, config.views, len(layout.clean_video), 3 * config.pixel_factor**2, h, w)
    action = (1, config.views, len(layout.clean_action), 3, h, w)
    return Canvas(rng.standard_normal(video, np.float32), rng.standard_normal(action, np.float32)), layout


def sampled(engine, config, mode, conditioning, sampler, without=None, seed=0):
    canvas, layout = canvas_of(config, mode, seed=9)
    return sample(engine, canvas, layout, conditioning, sampler, np.random.default_rng(seed), None, without)


def pair(directory, config):
    module = load_denoiser(directory, config)
    return TorchEager(module), TorchDevice(load_denoiser(directory, config), CPU)


@pytest.mark.parametrize("mode", [Mode.POLICY, Mode.JOINT, Mode.VIDEO, Mode.WORLD])
@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_wan_canvases_are_those_of_the_step_by_step_sampler(wan_directory, mode, guidance):
    stepwise, resident = pair(wan_directory, WAN)
    told, untold = conditioning_of(WAN, 1), conditioning_of(WAN, 2)
    sampler = SamplerConfig(3, 5.0, guidance, reused=(1,))
    a, b = (sampled(engine, WAN, mode, told, sampler, untold) for engine in (stepwise, resident))
    assert np.abs(a.video - b.video).max() < 1e-4 and np.abs(a.action - b.action).max(initial=0) < 1e-4


@pytest.mark.parametrize("mode", [Mode.POLICY, Mode.JOINT])
def test_small_denoisers_canvases_are_those_of_the_step_by_step_sampler(trained, mode):
    stepwise, resident = pair(trained, CONFIG)
    conditioning = conditioning_of(CONFIG, 1)
    a, b = (sampled(engine, CONFIG, mode, conditioning, CONFIG.sampler) for engine in (stepwise, resident))
    assert np.abs(a.video - b.video).max() < 1e-4 and np.abs(a.action - b.action).max() < 1e-4


def test_a_new_instruction_or_calibration_is_served_by_the_same_program(wan_directory):
    """What a captured graph reads must be overwritten in place, and completely."""
    stepwise, resident = pair(wan_directory, WAN)
    for seed in (1, 2, 1, 3):
        conditioning = conditioning_of(WAN, seed)
        a, b = (sampled(engine, WAN, Mode.JOINT, conditioning, WAN.sampler) for engine in (stepwise, resident))
        assert np.abs(a.action - b.action).max() < 1e-4
    assert len(resident._programs._results) == 1


def test_results_are_the_callers_own(wan_directory):
    resident = TorchDevice(load_denoiser(wan_directory, WAN), CPU)
    conditioning = conditioning_of(WAN, 1)
    first = sampled(resident, WAN, Mode.POLICY, conditioning, WAN.sampler, seed=1)
    kept = first.action.copy()
    sampled(resident, WAN, Mode.POLICY, conditioning, WAN.sampler, seed=2)
    assert np.array_equal(first.action, kept)


class Counted:
    """How often parts of a transformer run."""

    def __init__(self, transformer):
        self.calls = {}
        block = transformer.blocks[0]
        for name, part in (("camera", block.cam_encoder[2]), ("text", transformer.text_embedding),
                           ("time", transformer.time_embedding), ("text keys", block.cross_attn.k),
                           ("block", block)):
            part.register_forward_hook(lambda *_, name=name: self.calls.update({name: self.calls.get(name, 0) + 1}))


@pytest.mark.parametrize("kind", [TorchEager, lambda m: TorchDevice(m, CPU)], ids=["stepwise", "resident"])
def test_static_parts_are_computed_once_and_not_every_chunk_or_step(wan_directory, kind, monkeypatch):
    from action_images_ros.model.wan import transformer as module

    denoiser = load_denoiser(wan_directory, WAN)
    counted, tables, real = Counted(denoiser.transformer), [], module.rope_tables
    monkeypatch.setattr(module, "rope_tables", lambda *a: tables.append(a) or real(*a))
    engine, conditioning, sampler = kind(denoiser), conditioning_of(WAN, 1), SamplerConfig(4, 5.0)
    for chunk in range(3):
        sampled(engine, WAN, Mode.POLICY, conditioning, sampler, seed=chunk)
    assert counted.calls == {"camera": 1, "text": 1, "text keys": 1, "time": 4, "block": 12} and len(tables) == 1
    sampled(engine, WAN, Mode.POLICY, conditioning_of(WAN, 2), sampler)
    assert counted.calls == {"camera": 2, "text": 2, "text keys": 2, "time": 4, "block": 16}


@pytest.mark.parametrize(("precision", "limit"), [(Precision.F32, 1e-4), (Precision.BF16, 0.03), (Precision.FP8, 0.1)])
def test_fused_and_reduced_denoisers_stay_close(wan_directory, precision, limit):
    from action_images_ros.model.wan.fp8 import Fp8Linear

    plain = load_denoiser(wan_directory, WAN)
    dtype = torch.float32 if precision is Precision.F32 else torch.bfloat16
    reduced = place_wan(load_denoiser(wan_directory, WAN, dtype), precision, fused=True)
    count = sum(isinstance(m, Fp8Linear) for m in reduced.modules())
    assert count == (6 * WAN.wan.layers if precision is Precision.FP8 else 0)
    conditioning = conditioning_of(WAN, 1)
    canvas, _ = canvas_of(WAN, Mode.JOINT, 3)
    a, b = (TorchDevice(m, CPU).velocity(canvas.video, canvas.action, np.array([0.7], np.float32), conditioning)
            for m in (plain, reduced))
    for x, y in zip(a, b):
        assert np.sqrt(np.mean((x - y) ** 2)) < limit * np.sqrt(np.mean(x**2))


def test_compiled_denoisers_compute_the_same(wan_directory):
    plain, module = load_denoiser(wan_directory, WAN), load_denoiser(wan_directory, WAN)
    compile_module(place_wan(module, Precision.F32, fused=True))
    conditioning = conditioning_of(WAN, 1)
    a, b = (sampled(TorchDevice(m, CPU), WAN, Mode.POLICY, conditioning, WAN.sampler) for m in (plain, module))
    assert np.abs(a.action - b.action).max() < 1e-3


def test_engine_by_name_and_what_auto_does_with_it(wan_directory):
    name, engine = load_engine("torch-compile", wan_directory, WAN, EngineOptions(1, Precision.BF16, "cpu"))
    assert name == "torch-compile" and isinstance(engine, ResidentSampler)
    assert next(engine.module.transformer.blocks.parameters()).dtype in (torch.bfloat16, torch.float32)
    assert load_engine("auto", wan_directory, WAN, EngineOptions(1, device="cpu"))[0] == "torch"
    with pytest.raises(EngineError, match="no precision fp8; legal: auto, f32"):
        load_engine("torch", wan_directory, CONFIG, EngineOptions(1, Precision.FP8))


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_gpu_that_is_not_there_is_named(wan_directory):
    with pytest.raises(EngineError, match="device is cuda, but torch sees no GPU"):
        load_engine("torch", wan_directory, WAN, EngineOptions(1, device="cuda"))


def test_memory_and_device_faults_become_one_clear_line():
    with pytest.raises(EngineError, match="out of memory on cpu.*lower precision.*docs/deployment.md"):
        with device_faults(CPU):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 3 GiB")
    with pytest.raises(EngineError, match="out of memory on cpu") as caught:
        with device_faults(CPU):
            torch.empty(1 << 60)
    assert "\n" not in str(caught.value)
    with pytest.raises(EngineError, match="the model failed on cpu: mat1 and mat2"):
        with device_faults(CPU):
            torch.ones(2, 3) @ torch.ones(2, 3)


def test_guidance_needs_something_to_be_measured_from(wan_directory):
    resident = TorchDevice(load_denoiser(wan_directory, WAN), CPU)
    with pytest.raises(ModelError, match="guidance_scale 3.0 needs"):
        sampled(resident, WAN, Mode.POLICY, conditioning_of(WAN, 1), SamplerConfig(2, 5.0, 3.0))

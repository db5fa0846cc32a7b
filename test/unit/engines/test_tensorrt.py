"""TensorRT for RTX really builds engines here, without a GPU; what needs one says so."""

import importlib.util
import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="needs the training extra")
pytest.importorskip("diffusers", reason="needs the training extra")
sys.path.insert(0, str(Path(__file__).parents[1] / "model" / "wan"))

import numpy as np  # noqa: E402
from engine_models import CONFIG  # noqa: E402
from wan_directory import PIXELS, write_model  # noqa: E402

from action_images_ros.cli import main  # noqa: E402
from action_images_ros.engines import EngineOptions, Precision, load_engine  # noqa: E402
from action_images_ros.engines import tensorrt_api as trt  # noqa: E402
from action_images_ros.engines.plans import build_engines, layouts  # noqa: E402
from action_images_ros.engines.plans_wan import EngineDenoiser, export  # noqa: E402
from action_images_ros.engines.store import EngineManifest, model_fingerprint, read_plan, trusted_root  # noqa: E402
from action_images_ros.engines.torch_device import TorchDevice  # noqa: E402
from action_images_ros.errors import EngineError  # noqa: E402
from action_images_ros.model.canvas import CanvasLayout, Mode  # noqa: E402
from action_images_ros.model.denoiser import Conditioning  # noqa: E402
from action_images_ros.model.sampler import Canvas, sample  # noqa: E402
from action_images_ros.model.wan.denoiser import load_wan  # noqa: E402

WAN = replace(PIXELS, modes=("policy",))
HAS_RTX = any(importlib.util.find_spec(n) for n in ("tensorrt_rtx", "tensorrt_rtx_bindings"))
needs_rtx = pytest.mark.skipif(not HAS_RTX, reason="needs the tensorrt-rtx extra")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    torch.set_num_threads(1)
    return write_model(tmp_path_factory.mktemp("wan") / "model", WAN)


@pytest.fixture(scope="module")
def built(tmp_path_factory, model):
    """(model, trusted directory, report, what was printed) of `compile` for two GPU generations."""
    root = tmp_path_factory.mktemp("trusted") / "engines"
    report = root.parent / "report.json"
    status = main(["compile", str(model), "--engine", "tensorrt-rtx", "--precision", "fp32", "--target", "86", "89",
                   "--engine-dir", str(root), "--json", str(report)])
    assert status == 0
    return model, root, json.loads(report.read_text())


@needs_rtx
def test_compile_stores_an_engine_with_its_manifest(built):
    model, root, report = built
    folder = Path(report["stored"])
    assert folder.is_relative_to(root) and sorted(p.name for p in folder.iterdir()) == [
        "denoiser_1_5.plan", "engine.json"]
    manifest = EngineManifest.load(folder)
    assert manifest.model == model_fingerprint(model) and manifest.precision == "f32"
    assert manifest.built_for["capability"] == [86, 89] and manifest.checks == {}
    assert manifest.shapes["denoiser_1_5"]["latents"] == [1, 3, 12, 16, 16]
    assert len(read_plan(root, folder, manifest.plans[0])) > 50_000  # the weights are in it


@needs_rtx
@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_without_a_gpu_the_engine_is_refused_with_the_reason(built):
    model, root, report = built
    with pytest.raises(EngineError, match="needs a CUDA GPU, and torch sees none; use engine auto"):
        load_engine("tensorrt-rtx", model, WAN, EngineOptions(1, engine_dir=root))
    assert load_engine("auto", model, WAN, EngineOptions(1, engine_dir=root))[0] == "torch"
    plan = next(Path(report["stored"]).glob("*.plan")).read_bytes()
    with pytest.raises(EngineError, match="TensorRT .* (refuses the engine|can not start)"):
        trt.Graph(trt.load_api("tensorrt-rtx"), plan)


@needs_rtx
def test_bfloat16_builds_too(model, tmp_path):
    options = EngineOptions(1, Precision.BF16, engine_dir=tmp_path / "e")
    assert EngineManifest.load(build_engines(model, WAN, "tensorrt-rtx", options, (89,))).precision == "bf16"


@needs_rtx
def test_the_small_denoiser_builds_from_its_exported_graph(exported, tmp_path):
    folder = build_engines(exported, replace(CONFIG, modes=("policy",)), "tensorrt-rtx",
                           EngineOptions(1, engine_dir=tmp_path / "e"), (120,))
    assert [p.video_frames for p in EngineManifest.load(folder).plans] == [1]


@needs_rtx
@pytest.mark.parametrize(("arguments", "message"), [
    (("--target", "90"), "compute capability 90 is not served by TensorRT for RTX.*legal: 75, 80, 86"),
    (("--precision", "fp8", "--target", "89"), "no precision fp8; legal: f32, bf16, f16; 8 bits are served by"),
])
def test_what_can_not_be_built_is_one_line_and_leaves_nothing(model, tmp_path, capsys, arguments, message):
    import re

    root = tmp_path / "e"
    assert main(["compile", str(model), "--engine", "tensorrt-rtx", "--engine-dir", str(root), *arguments]) == 2
    error = capsys.readouterr().err
    assert re.search(message, error) and error.count("\n") == 1
    assert not list(root.rglob("*")) if root.exists() else True


@needs_rtx
def test_a_damaged_graph_is_refused_in_the_parsers_words(tmp_path):
    (tmp_path / "x.onnx").write_bytes(b"not a graph")
    with pytest.raises(EngineError, match="does not read x.onnx"):
        trt.build(trt.load_api("tensorrt-rtx"), tmp_path / "x.onnx", (89,))


def test_an_engine_that_was_never_built_is_named_with_the_command(model, tmp_path):
    if not HAS_RTX:
        with pytest.raises(EngineError, match=r"not installed \(.*pip install 'action_images_ros\[tensorrt-rtx\]'"):
            load_engine("tensorrt-rtx", model, WAN, EngineOptions(1, engine_dir=tmp_path))
        return
    with pytest.raises(EngineError, match="no tensorrt-rtx engine of .*run `action-images compile .* --engine"):
        load_engine("tensorrt-rtx", model, WAN, EngineOptions(1, engine_dir=tmp_path))


@pytest.mark.skipif(importlib.util.find_spec("tensorrt") is not None, reason="TensorRT is installed")
def test_the_full_library_is_named_where_it_is_missing(model, capsys):
    assert main(["compile", str(model), "--engine", "tensorrt"]) == 2
    said = capsys.readouterr().err
    assert "tensorrt is not installed (" in said and "pip install 'action_images_ros[tensorrt]')" in said
    assert trusted_root(EngineOptions()).name == "engines"


def test_every_canvas_of_the_modes_gets_a_layout():
    assert layouts(PIXELS) == [(1, 5), (5, 0), (5, 5)] and layouts(WAN) == [(1, 5)]


class OnnxGraph:
    """The exported file on ONNX Runtime, called as an engine is: everything of the road but TensorRT itself."""

    def __init__(self, path):
        onnxruntime = pytest.importorskip("onnxruntime")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def __call__(self, inputs):
        named = {i.name: inputs[i.name].numpy() for i in self.session.get_inputs()}
        names = [o.name for o in self.session.get_outputs()]
        return {k: torch.from_numpy(v) for k, v in zip(names, self.session.run(names, named))}


def test_the_graph_that_is_built_from_and_stripped_conditions_make_torchs_chunks(model, tmp_path):
    frames = layouts(WAN)[0]
    shapes = export(model, WAN, Precision.F32, frames, tmp_path / "x.onnx")
    assert shapes["text_k"] == [2, 1, 2, 6, 12] and shapes["latents"] == [1, 3, 12, 16, 16]
    whole = load_wan(model, WAN)
    engine = EngineDenoiser(WAN, load_wan(model, WAN).transformer, {frames: OnnxGraph(tmp_path / "x.onnx")}).eval()
    left, of = (sum(p.numel() for p in m.transformer.parameters()) for m in (engine, whole))
    assert left < 0.7 * of
    layout = CanvasLayout.for_mode(Mode.POLICY, 2, 5, 5)
    rng = np.random.default_rng(0)
    canvas = Canvas(*(rng.standard_normal((1, 2, n, 3, 16, 16), np.float32) for n in frames))
    for _ in range(2):
        rays, text = rng.standard_normal((1, 2, 5, 6, 16, 16), np.float32), rng.standard_normal((1, 6, 256), np.float32)
        conditioning = Conditioning(rays, text, np.ones((1, 6), bool))
        a, b = (sample(TorchDevice(m, torch.device("cpu")), canvas, layout, conditioning, WAN.sampler,
                       np.random.default_rng(1)) for m in (whole, engine))
        assert np.abs(a.action - b.action).max() < 1e-3
    with pytest.raises(EngineError, match="no canvas of 20 latent frames; it has 12"):
        TorchDevice(engine, torch.device("cpu")).velocity(
            canvas.action, canvas.action, np.array([0.5], np.float32), conditioning)

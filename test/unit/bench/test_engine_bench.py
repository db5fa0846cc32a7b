"""`bench engine` and `compile` report what ran; what could not run is said and costs nothing else."""

import json
import shutil

import pytest

torch = pytest.importorskip("torch", reason="needs the training extra")
pytest.importorskip("diffusers", reason="needs the training extra")

import numpy as np  # noqa: E402
import onnx  # noqa: E402
from safetensors.torch import save_file  # noqa: E402

from action_images_ros.bench.engine_runs import attempt, likeness  # noqa: E402
from action_images_ros.cli import main  # noqa: E402
from action_images_ros.errors import EngineError  # noqa: E402
from action_images_ros.model.config import ConvCanvasConfig, ModelConfig  # noqa: E402
from action_images_ros.model.small import ConvCanvas  # noqa: E402
from action_images_ros.sim.collect import CollectConfig, collect_episodes  # noqa: E402
from action_images_ros.sim.split import Split  # noqa: E402

SMALL = ModelConfig(chunk_size=4, image_size=(32, 32), action_size=(16, 16), modes=("policy",),
                    conv_canvas=ConvCanvasConfig(width=48, channels=16, blocks=1, heads=3))


def bench(path, *options):
    out = path / "report.json"
    status = main(["bench", "engine", "--device", "cpu", "--threads", "1", "--json", str(out), *options])
    return status, json.loads(out.read_text())


def test_random_model_figures_hang_together(tmp_path, capsys):
    status, report = bench(tmp_path, "--size", "tiny", "--image", "32", "--frames", "5", "--nfe", "1", "3",
                           "--variants", "eager", "--no-vae")
    assert status == 0 and report["faults"] == [] and report["model"] == "random tiny"
    assert set(report["peak_tflop_s"]) >= {"bf16", "f32"}
    one, three = report["denoising"]
    assert (one["nfe"], three["nfe"]) == (1, 3) and one["tokens"] == 6 and one["finite"]
    for row in (one, three):
        assert row["seconds_per_nfe"] == pytest.approx(row["seconds"] / row["nfe"])
        assert row["tflop_s"] == pytest.approx(row["tflop"] / row["seconds_per_nfe"])
        assert row["of_peak"]["f32"] == pytest.approx(row["tflop_s"] / report["peak_tflop_s"]["f32"])
    assert "published, one H100" not in capsys.readouterr().out  # no whole chunk was measured to hold beside it


def test_time_that_is_used_up_is_said(tmp_path):
    status, report = bench(tmp_path, "--size", "tiny", "--image", "32", "--frames", "5", "--budget-s", "0")
    assert status == 0 and report["denoising"] == []
    assert any("the time of --budget-s was used up" in fault for fault in report["faults"])


def test_bad_arguments_are_one_line(tmp_path, capsys):
    assert main(["bench", "engine", "--variants", "quick"]) == 2
    assert "legal: compile, compile+graph, eager" in capsys.readouterr().err
    assert main(["bench", "engine", "--model", str(tmp_path / "none")]) == 2


def test_a_part_that_fails_is_noted():
    faults = []
    assert attempt("this", lambda: (_ for _ in ()).throw(EngineError("no memory\nat all")), faults) is None
    assert faults == ["this: EngineError: no memory"]


def test_likeness():
    x = np.random.default_rng(0).standard_normal(1000)
    assert likeness(x, 2 * x) == {"cosine": pytest.approx(1.0), "relative_rms": pytest.approx(1.0)}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """A model directory that was never exported, and an episode."""
    model, shards = tmp_path_factory.mktemp("model"), tmp_path_factory.mktemp("shards")
    torch.manual_seed(0)
    made = ConvCanvas(SMALL)
    for value in made.parameters():
        if not value.any():
            value.data.normal_(0, 0.1)
    SMALL.save(model)
    save_file(made.state_dict(), model / "model.safetensors")
    collect_episodes(shards, CollectConfig("reach_target", 1, 5, Split.TEST, image_px=32))
    return model, shards


def test_compile_exports_verifies_on_real_canvases_and_fails_what_computes_something_else(inputs, tmp_path, capsys):
    model, shards = shutil.copytree(inputs[0], tmp_path / "model"), inputs[1]
    out = tmp_path / "report.json"
    command = ["compile", str(model), "--engine", "onnxruntime", "--episodes", str(shards), "--observations", "2",
               "--threads", "1", "--json", str(out)]
    assert main(command) == 0
    report = json.loads(out.read_text())
    assert (model / "denoiser.json").is_file() and report["cosine"] > 0.99999 and report["observations"] == 2
    assert report["passed"] and report["chunk_ms"] > 0 and report["latent_rms"] < 0.01
    graph = onnx.load_from_string((model / "denoiser_1.onnx").read_bytes())
    next(node for node in graph.graph.node if node.op_type == "Add").op_type = "Sub"
    data = graph.SerializeToString()
    (model / "denoiser_1.onnx").write_bytes(data)
    import hashlib

    manifest = json.loads((model / "denoiser.json").read_text())
    manifest["graphs"][0]["sha256"] = hashlib.sha256(data).hexdigest()
    (model / "denoiser.json").write_text(json.dumps(manifest))
    assert main([*command, "--verify-only"]) == 1
    assert "FAILED: it will not be used" in capsys.readouterr().out

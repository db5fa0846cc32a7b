"""What an export writes: small graphs without weights, which come back complete."""

import hashlib
import json
from dataclasses import replace

import numpy as np
import onnx
import pytest
from engine_models import CONFIG
from safetensors.numpy import load_file

from action_images_ros.cli import main
from action_images_ros.engines.export import layouts
from action_images_ros.engines.graph import ExportedModel
from action_images_ros.engines.onnx_weights import attach
from action_images_ros.engines.verify import verify_graphs
from action_images_ros.errors import EngineError


def test_graphs_hold_no_weights_and_no_paths(exported):
    weights = load_file(exported / "model.safetensors")
    for frames in (1, 4):
        data = (exported / f"denoiser_{frames}.onnx").read_bytes()
        assert len(data) < 200_000
        constants = {i.name: i for i in onnx.load_from_string(data).graph.initializer}
        assert not set(constants) & set(weights)
        assert sum(len(i.raw_data) for i in constants.values()) < 20_000
        for word in (b"site-packages", b"action_images_ros", str(exported.parent).encode()):
            assert word not in data


@pytest.mark.parametrize("frames", [1, 4])
def test_attached_weights_make_a_valid_model_with_every_tensor_bit_for_bit(exported, frames):
    model = onnx.load_from_string(ExportedModel(exported, CONFIG).model_bytes(frames))
    onnx.checker.check_model(model, full_check=True)
    weights = load_file(exported / "model.safetensors")
    attached = {i.name: onnx.numpy_helper.to_array(i) for i in model.graph.initializer if i.name in weights}
    future = ("see_future.", "frames.", "frame_heads.")
    unused = {name for name in weights if name.startswith(future)} if frames == 1 else set()
    assert set(weights) - set(attached) == unused
    for name, value in attached.items():
        assert value.dtype == weights[name].dtype and np.array_equal(value, weights[name])
    assert [i.name for i in model.graph.input] == ["video", "action", "level", "rays", "text", "text_mask"]


def test_attach_writes_what_onnx_reads():
    rng = np.random.default_rng(0)
    weights = {"a": rng.standard_normal((3, 200), np.float32), "scalar": np.float32(2.5).reshape(()),
               "b.c": rng.integers(-5, 5, (129,)), "empty": np.zeros((0, 4), np.float32)}
    stored = onnx.helper.make_model(onnx.helper.make_graph([], "g", [], []))
    read = onnx.load_from_string(attach(stored.SerializeToString(), weights))
    back = {i.name: onnx.numpy_helper.to_array(i) for i in read.graph.initializer}
    assert read.graph.name == "g" and set(back) == set(weights)
    for name, value in weights.items():
        assert back[name].shape == value.shape and np.array_equal(back[name], value)


def test_command_exports_verifies_and_reports(export):
    directory, status, printed = export
    report = json.loads(printed)
    assert status == 0
    assert report["bytes"] == {n: (directory / n).stat().st_size for n in ("denoiser_1.onnx", "denoiser_4.onnx")}
    assert set(report["relative_error"]) == {"openvino", "onnxruntime"}
    assert max(report["relative_error"].values()) < 1e-4


@pytest.mark.parametrize(("modes", "expected"), [
    (("policy",), (1,)), (("joint", "world"), (4,)), (("policy", "joint", "label"), (1, 4)),
])
def test_only_layouts_that_the_modes_need_are_exported(modes, expected):
    assert layouts(replace(CONFIG, modes=modes)) == expected


def test_verification_finds_a_graph_that_computes_something_else(copy):
    model = onnx.load_from_string((copy / "denoiser_4.onnx").read_bytes())
    next(node for node in model.graph.node if node.op_type == "Add").op_type = "Sub"
    changed = model.SerializeToString()
    (copy / "denoiser_4.onnx").write_bytes(changed)
    manifest = json.loads((copy / "denoiser.json").read_text())
    manifest["graphs"][1]["sha256"] = hashlib.sha256(changed).hexdigest()
    (copy / "denoiser.json").write_text(json.dumps(manifest))
    with pytest.raises(EngineError, match="differs from torch"):
        verify_graphs(copy)


@pytest.mark.parametrize(("spoil", "message"), [
    (lambda d: None, "is not a model directory"),
    (lambda d: d.mkdir(), "is not a model directory"),
    (lambda d: (d.mkdir(), CONFIG.save(d)), "has no model.safetensors"),
])
def test_command_names_what_is_missing_and_exits_with_2(spoil, message, tmp_path, capsys):
    spoil(tmp_path / "model")
    assert main(["export", str(tmp_path / "model")]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1

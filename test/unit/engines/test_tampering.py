"""Files that are missing, cut short, changed or of another model: refused, with the remedy."""

import hashlib
import json
import struct
from dataclasses import replace

import numpy as np
import pytest
from engine_models import CONFIG, write_model
from safetensors.numpy import load_file, save_file

from action_images_ros.engines import EngineOptions, load_engine
from action_images_ros.errors import EngineError, ModelError
from action_images_ros.model.config import ConvCanvasConfig, SamplerConfig, TextConfig

GRAPH_ENGINES = ("onnxruntime", "openvino")
ALL_ENGINES = (*GRAPH_ENGINES, "torch")
REMEDY = "action-images export"


def refused(directory, error, message, engines=GRAPH_ENGINES, config=CONFIG):
    for name in engines:
        with pytest.raises(error, match=message) as caught:
            load_engine(name, directory, config, EngineOptions(1))
        assert "\n" not in str(caught.value)


def flip(path, at):
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def rewrite_weights(directory, change):
    weights = dict(load_file(directory / "model.safetensors"))
    change(weights)
    save_file(weights, directory / "model.safetensors")


def edit_manifest(directory, change):
    path = directory / "denoiser.json"
    raw = json.loads(path.read_text())
    change(raw)
    path.write_text(json.dumps(raw))


@pytest.mark.parametrize("at", [0, 5_000, -1])
def test_a_graph_with_one_bit_changed(copy, at):
    flip(copy / "denoiser_1.onnx", at)
    refused(copy, EngineError, f"denoiser_1.onnx was changed or damaged.*{REMEDY}")


def test_a_graph_cut_short_missing_or_of_another_layout(copy):
    graph = copy / "denoiser_1.onnx"
    whole = graph.read_bytes()
    graph.write_bytes(whole[: len(whole) // 2])
    refused(copy, EngineError, "changed or damaged")
    graph.write_bytes((copy / "denoiser_4.onnx").read_bytes())
    refused(copy, EngineError, "changed or damaged")
    graph.unlink()
    refused(copy, EngineError, f"denoiser_1.onnx is missing.*{REMEDY}")


def test_an_unreadable_graph_that_the_manifest_vouches_for(copy):
    """Even then the runtime's refusal is one clear line."""
    (copy / "denoiser_1.onnx").write_bytes(b"not a graph")
    digest = hashlib.sha256(b"not a graph").hexdigest()
    edit_manifest(copy, lambda m: m["graphs"][0].update(sha256=digest))
    refused(copy, EngineError, "refuses the graph")


@pytest.mark.parametrize("config", [
    replace(CONFIG, chunk_size=5),
    replace(CONFIG, image_size=(64, 64)),
    replace(CONFIG, text=TextConfig(max_tokens=8)),
    replace(CONFIG, conv_canvas=ConvCanvasConfig(width=48, channels=16, blocks=2, heads=3)),
])
def test_a_graph_of_another_configuration(copy, config):
    refused(copy, EngineError, f"exported for another config.json.*{REMEDY}", config=config)


def test_settings_that_do_not_shape_the_graph_may_change(copy):
    config = replace(CONFIG, sampler=SamplerConfig(2, 3.0), dt_s=0.2)
    for name in GRAPH_ENGINES:
        load_engine(name, copy, config, EngineOptions(1))


@pytest.mark.parametrize(("change", "message"), [
    (lambda m: m.update(format_version=99), "format_version 99; this version reads 1"),
    (lambda m: m.pop("tensors"), "not a manifest"),
    (lambda m: m.update(surprise=1), "not a manifest"),
    (lambda m: m["graphs"][0].update(file="../denoiser_1.onnx"), "not a file of its directory"),
    (lambda m: m.update(graphs=[]), "no graphs"),
    (lambda m: m["graphs"][0].update(weights=["level.0.weight"]), "refuses the graph"),
    (lambda m: m["graphs"][0]["weights"].append("no.such.weight"), "weight 'no.such.weight' that it does not list"),
])
def test_a_manifest_that_was_edited(copy, change, message):
    edit_manifest(copy, change)
    refused(copy, EngineError, message)


def test_a_manifest_cut_short(copy):
    path = copy / "denoiser.json"
    path.write_text(path.read_text()[:500])
    refused(copy, EngineError, f"not a manifest.*{REMEDY}")


@pytest.mark.parametrize("keep", [0, 4, 1_000, -1])
def test_weights_cut_short(copy, keep):
    path = copy / "model.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    refused(copy, ModelError, "not a whole safetensors file.*copy the model directory again", ALL_ENGINES)


def test_weights_that_are_something_else(copy):
    (copy / "model.safetensors").write_bytes(struct.pack("<Q", 1 << 60) + b"x" * 100)
    refused(copy, ModelError, "not a whole safetensors file", ALL_ENGINES)
    (copy / "model.safetensors").unlink()
    refused(copy, ModelError, "has no model.safetensors", ALL_ENGINES)


@pytest.mark.parametrize(("change", "message"), [
    (lambda w: w.pop("blocks.0.qkv.bias"), "blocks.0.qkv.bias is missing"),
    (lambda w: w.update(extra=np.zeros(3, np.float32)), "extra is unexpected"),
    (lambda w: w.update({"see.bias": np.zeros(17, np.float32)}), r"see.bias is F32 \[17\], expected F32 \[16\]"),
    (lambda w: w.update({"see.bias": np.zeros(16, np.float16)}), r"see.bias is F16 \[16\], expected F32 \[16\]"),
])
def test_weights_of_another_model(copy, change, message):
    rewrite_weights(copy, change)
    refused(copy, ModelError, message, ALL_ENGINES)


def test_weights_that_hold_nan(copy):
    def spoil(weights):
        weights["see.bias"][3] = np.nan

    rewrite_weights(copy, spoil)
    refused(copy, ModelError, "see.bias holds NaN or infinity", ALL_ENGINES)


def test_weights_with_one_bit_changed_are_not_those_that_were_exported(copy):
    flip(copy / "model.safetensors", -1_000)
    refused(copy, EngineError, f"model.safetensors is not the file that was exported.*{REMEDY}")


def test_weights_trained_on_after_the_export_are_not_served_silently_by_another_engine(copy):
    write_model(copy, seed=1)
    refused(copy, EngineError, f"after training on, run `{REMEDY}", (*GRAPH_ENGINES, "auto"))
    assert load_engine("torch", copy, CONFIG, EngineOptions(1))[0] == "torch"

"""A trained torch denoiser -> ONNX graphs without weights, and their manifest. Needs torch, onnx and onnxscript.

The weights are arguments of what is exported, named as in the state dict, and are declared neither input nor
initializer in what is stored: nothing can rename, fold or drop them, and `onnx_weights.attach` gives them back from
model.safetensors.
"""

from __future__ import annotations

import hashlib
import logging
import warnings
from collections.abc import Collection
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..model.config import ModelConfig
from .graph import input_shapes
from .manifest import MANIFEST_FILE, GraphFile, GraphManifest, config_sha256
from .torch_eager import load_module, tensor_specs
from .weights import file_sha256, weights_path

OPSET = 18
"""Newest that both runtimes take: OpenVINO 2026.4 crashes on this graph at opset 23."""


def layouts(config: ModelConfig) -> tuple[int, ...]:
    """Frames of a video segment, one entry a graph that the model's modes need."""
    short = (1,) if "policy" in config.modes else ()
    return short + ((config.chunk_size,) if set(config.modes) - {"policy"} else ())


def export_graphs(directory: Path) -> GraphManifest:
    """Write `denoiser_<frames>.onnx` and, last, `denoiser.json` beside the weights of `directory`.

    Raises ModelError where the directory is not a model of the small denoiser.
    """
    directory = Path(directory)
    config = ModelConfig.load(directory)
    model = load_module(directory, config)
    weights = file_sha256(weights_path(directory))
    remove_graphs(directory)
    graphs = []
    for frames in layouts(config):
        graph, used = trace(model, config, frames)
        name = f"denoiser_{frames}.onnx"
        (directory / name).write_bytes(graph)
        graphs.append(GraphFile(frames, name, hashlib.sha256(graph).hexdigest(), used))
    manifest = GraphManifest(config_sha256(config), weights, OPSET, torch.__version__, tuple(graphs),
                             tensor_specs(model))
    manifest.save(directory)
    return manifest


def remove_graphs(directory: Path) -> None:
    """Delete what a former export wrote: a half-written export must not look like a whole one."""
    (Path(directory) / MANIFEST_FILE).unlink(missing_ok=True)
    for path in Path(directory).glob("denoiser_*.onnx"):
        path.unlink()


def trace(model: nn.Module, config: ModelConfig, video_frames: int) -> tuple[bytes, tuple[str, ...]]:
    """(serialised ONNX graph of batch 1 without weights, names of the weights that it uses).

    Inputs: `graph.input_shapes`. Outputs: the clean samples clean_action and, for more than one frame, clean_video.
    The velocity is left to float32 outside of the graph: dividing by sigma would magnify a reduced precision.
    """
    shapes = input_shapes(config, video_frames)
    inputs = [torch.zeros(s, dtype=torch.bool if k == "text_mask" else torch.float32) for k, s in shapes.items()]
    state = {name: value.detach() for name, value in model.state_dict().items()}
    outputs = ["clean_action"] + (["clean_video"] if video_frames > 1 else [])
    with quiet_exporter():
        program = torch.onnx.export(_Stateless(model, tuple(state)).eval(), (*inputs, list(state.values())),
                                    input_names=[*shapes, *state], output_names=outputs, opset_version=OPSET,
                                    dynamo=True, external_data=False, verbose=False)
    assert program is not None, "dynamo=True returns one"
    return _without_weights(program.model_proto, state)


class _Predict(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model: Any = model

    def forward(self, *inputs):
        return self.model.predict(*inputs)


class _Stateless(nn.Module):
    """A module that owns no weights: they come as the last argument, a list in the order of `names`."""

    def __init__(self, model: nn.Module, names: tuple[str, ...]) -> None:
        super().__init__()
        # In a tuple, so that torch does not register the model's own parameters as this module's.
        self._held, self._names = (_Predict(model),), names

    def forward(self, video, action, level, rays, text, text_mask, weights):
        given = {f"model.{name}": value for name, value in zip(self._names, weights)}
        action, future = torch.func.functional_call(self._held[0], given, (video, action, level, rays, text, text_mask))
        return action if future is None else (action, future)


def _without_weights(proto, state: Collection[str]) -> tuple[bytes, tuple[str, ...]]:
    """Drop the declarations of the weights, and the notes that name the exporting machine's files."""
    graph = proto.graph
    kept = [i for i in graph.input if i.name not in state]
    del graph.input[:], graph.value_info[:], graph.metadata_props[:], proto.metadata_props[:]
    graph.input.extend(kept)
    for part in (*graph.node, *graph.input, *graph.output, *graph.initializer):
        part.doc_string = ""
        del part.metadata_props[:]
    used = {name for node in graph.node for name in node.input}
    return proto.SerializeToString(), tuple(name for name in state if name in used)


@contextmanager
def quiet_exporter():
    """torch's exporter warns of packages that this model does not need."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)

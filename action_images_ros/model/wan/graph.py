"""The transformer as a function of plain tensors, for exporters, CUDA graphs and engines that know no dataclasses."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from ...errors import ModelError
from .cache import WanCache, WanModulation
from .transformer import WanActionTransformer

INPUTS = ("latents", "block_modulation", "head_modulation", "camera", "text_k", "text_v", "rope_cos", "rope_sin")
OUTPUT = "velocity"


class WanGraph(nn.Module):
    """forward takes INPUTS in order, in the shapes of WanCache and WanModulation, and returns the velocity."""

    def __init__(self, model: WanActionTransformer) -> None:
        super().__init__()
        self.model = model

    def forward(self, latents: Tensor, block_modulation: Tensor, head_modulation: Tensor, camera: Tensor,
                text_k: Tensor, text_v: Tensor, rope_cos: Tensor, rope_sin: Tensor) -> Tensor:
        grid = self.model.token_grid(*latents.shape[2:])
        cache = WanCache(camera, text_k, text_v, rope_cos, rope_sin, grid)
        return self.model.forward_cached(latents, WanModulation(block_modulation, head_modulation), cache)


def graph_inputs(latents: Tensor, modulation: WanModulation, cache: WanCache) -> tuple[Tensor, ...]:
    """The tensors of one denoising step in the order of INPUTS."""
    return (latents, modulation.blocks, modulation.head, cache.camera, cache.text_k, cache.text_v, cache.cos, cache.sin)


def export_onnx(model: WanActionTransformer, example: tuple[Tensor, ...], path: Path, opset: int = 18) -> None:
    """Write the ONNX graph for exactly the shapes and dtypes of `example` (see `graph_inputs`) to `path`.

    Weights above 2 GB go to `path` + ".data". opset 18 for TensorRT, 23 for ONNX Runtime. Raises ModelError where the
    graph can not be exported.
    """
    try:
        program = torch.onnx.export(WanGraph(model).eval(), example, dynamo=True, opset_version=opset, verbose=False,
                                    input_names=list(INPUTS), output_names=[OUTPUT])
    except torch.onnx.errors.OnnxExporterError as e:
        raise ModelError(f"the transformer can not be exported at opset {opset}: {e}") from e
    assert program is not None, "dynamo=True returns one"
    program.save(path)

"""The Wan-style transformer for TensorRT: export of its step graph, and the denoiser around the built engine."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from ..errors import EngineError
from ..model.config import ModelConfig
from ..model.denoiser import Conditioning
from ..model.wan.cache import WanCache, WanModulation
from ..model.wan.denoiser import WanDenoiser, load_wan
from ..model.wan.fused import fuse
from ..model.wan.graph import INPUTS, OUTPUT, export_onnx, graph_inputs
from ..model.wan.transformer import MODEL_TIME, WanActionTransformer
from .export import quiet_exporter
from .options import Precision
from .tensorrt_api import Graph
from .torch_device import TorchDevice

OPSET = 18
_DTYPES = {Precision.F32: torch.float32, Precision.BF16: torch.bfloat16, Precision.F16: torch.float16}


class EngineDenoiser(WanDenoiser):
    """Conditions by torch, denoising steps by the engine of the canvas's layout."""

    def __init__(self, config: ModelConfig, transformer: WanActionTransformer,
                 graphs: dict[tuple[int, int], Graph]) -> None:
        super().__init__(config, strip(transformer))
        self._by_length = {config.views * (video + action): g for (video, action), g in graphs.items()}

    def run_cached(self, latents: Tensor, modulation: WanModulation, cache: WanCache) -> Tensor:
        graph = self._by_length.get(latents.shape[2])
        if graph is None:
            raise EngineError(f"the engine has no canvas of {latents.shape[2]} latent frames; it has "
                              f"{', '.join(map(str, sorted(self._by_length)))}: build it again")
        return graph(dict(zip(INPUTS, graph_inputs(latents, modulation, cache))))[OUTPUT]


def engine_denoiser(directory: Path, config: ModelConfig, graphs: dict[tuple[int, int], Graph],
                    precision: Precision) -> TorchDevice:
    """The model directory's denoiser on the GPU, with engines for its steps; sampling is one captured graph."""
    loaded = load_wan(directory, config, _DTYPES[precision])
    return TorchDevice(EngineDenoiser(config, loaded.transformer, graphs).to("cuda").eval(), torch.device("cuda"))


def strip(transformer: WanActionTransformer) -> WanActionTransformer:
    """Drop, in place, the weights that only the engine uses: nearly all of them."""
    for block in transformer.blocks:
        block.self_attn = block.projector = block.ffn = nn.Identity()
        for name in ("q", "o"):
            setattr(block.cross_attn, name, nn.Identity())
    setattr(transformer.head, "head", nn.Identity())
    return transformer


def export(directory: Path, config: ModelConfig, precision: Precision, frames: tuple[int, int], path: Path) -> dict:
    """Write the step graph of one layout as ONNX; returns its input shapes. frames: video, action latent frames."""
    denoiser = load_wan(directory, config, _DTYPES[precision])
    fuse(denoiser.transformer)
    inputs = example(denoiser, frames)
    with quiet_exporter():
        export_onnx(denoiser.transformer, inputs, path, OPSET)
    return {name: list(value.shape) for name, value in zip(INPUTS, inputs)}


@torch.no_grad()
def example(denoiser: WanDenoiser, frames: tuple[int, int]) -> tuple[Tensor, ...]:
    """Inputs of the step graph for one layout, batch 1."""
    config = denoiser.config
    side = config.image_size[0] // config.compression.space
    views, channels = config.views, config.wan.latent_channels
    rays = torch.zeros(1, views, config.latent_frames, 2 * channels, side, side)
    mask = torch.ones(1, config.text.max_tokens, dtype=torch.bool)
    words = torch.zeros(1, config.text.max_tokens, config.text.width)
    cache = denoiser.cache_of(Conditioning(rays, words, mask), *frames)
    latents = torch.zeros(1, channels, views * sum(frames), side, side)
    return graph_inputs(latents, denoiser.transformer.modulate(MODEL_TIME * torch.tensor([0.5])), cache)

"""Sampling that stays on its device: noise and clean frames in, finished canvas out, one synchronisation a chunk.

On a CUDA device the whole multi-step loop, guidance included, is one captured graph for each canvas shape, layout and
schedule; inputs and outputs go through pinned memory, and nothing is allocated on the device after the first chunk.
Elsewhere the same loop runs uncaptured. Needs torch.
"""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np
import torch
from torch import Tensor

from ..errors import ModelError
from ..model.canvas import CanvasLayout
from ..model.config import SamplerConfig
from ..model.denoiser import Conditioning
from ..model.device_faults import device_faults
from ..model.recent import Recent
from ..model.sampler import Canvas, noise_levels
from ..model.steps import fields_of, make_steps
from .attention import fastest_first

_PROGRAMS = 4
_CONDITIONINGS = 8
_WARM_UPS = 3


class ResidentSampler:
    """Runs all denoising steps of a canvas. Not thread-safe.

    capture: whether a CUDA device records the steps as one graph; False runs them one by one there too.
    """

    def __init__(self, module, device: torch.device, capture: bool = True) -> None:
        self.module, self.device = module, torch.device(device)
        self._capture = capture and self.device.type == "cuda"
        self._programs, self._conditionings = Recent(_PROGRAMS), Recent(_CONDITIONINGS)
        self._attentions = Recent(_PROGRAMS)

    def sample(self, start: Canvas, given: Canvas, layout: CanvasLayout, conditioning: Conditioning,
               config: SamplerConfig, without: Conditioning | None = None) -> Canvas:
        """start: noise where `layout` is not clean; given: latents whose clean frames are true -> the canvas at
        sigma 0.

        Raises ModelError where guidance lacks `without`, EngineError where the device has no memory left or fails.
        """
        if config.guidance_scale != 1.0 and without is None:
            raise ModelError(f"guidance_scale {config.guidance_scale} needs the conditioning without an instruction")
        shapes = (start.video.shape, start.action.shape)
        with device_faults(self.device), torch.no_grad(), self._attention(shapes)():
            told = self._on_device(conditioning)
            untold = None if without is None or config.guidance_scale == 1.0 else self._on_device(without)
            program = self._programs.get((*shapes, layout, config), lambda: _Program(
                self.module, self.device, shapes, layout, config, (told, untold)))
            return program.run(start, given, (told, untold), self._capture)

    def _attention(self, shapes: tuple):
        """The context for the attention of this canvas: the fastest kernel first, where the transformer is large.
        What is compiled in it keeps that kernel."""
        return self._attentions.get(shapes, lambda: _attention(self.module, shapes, self.device))

    def _on_device(self, conditioning: Conditioning) -> Conditioning:
        return self._conditionings.get(conditioning, lambda: Conditioning(
            *(torch.from_numpy(np.ascontiguousarray(x)).to(self.device) for x in fields_of(conditioning))))


class _Program:
    """Static tensors of one shape, layout and schedule, and the loop over them."""

    def __init__(self, module, device: torch.device, shapes: tuple, layout: CanvasLayout, config: SamplerConfig,
                 conditionings: tuple[Conditioning, Conditioning | None]) -> None:
        self._device, self._config = device, config
        self._graph: torch.cuda.CUDAGraph | None = None
        self._inputs = [_Slot(shape, device) for shape in (*shapes, *shapes)]
        self._outputs = [_Slot(shape, device) for shape in shapes]
        self._masks = [mask(slot.device) for mask, slot in zip((layout.video_mask, layout.action_mask), self._outputs)]
        sigmas = noise_levels(config)
        self._widths = [float(np.float32(b - a)) for a, b in zip(sigmas[:-1], sigmas[1:])]
        frames, batch = (shapes[0][2], shapes[1][2]), shapes[0][0]
        levels = [float(np.float32(s)) for s in sigmas[:-1]]
        self._conditionings = list(conditionings)
        self._steps = [None if c is None else make_steps(module, c, levels, batch, *frames) for c in conditionings]

    def run(self, start: Canvas, given: Canvas, conditionings: tuple, capture: bool) -> Canvas:
        for i, new in enumerate(conditionings):
            if new is not self._conditionings[i]:
                steps = self._steps[i]
                assert steps is not None, "made for as many as there were at first"
                steps.replace(new)
                self._conditionings[i] = new
        for slot, value in zip(self._inputs, (start.video, start.action, given.video, given.action)):
            slot.write(value)
        if capture and self._graph is None:
            self._graph = _captured(self._loop, self._device)
        if self._graph is None:
            self._loop()
        else:
            self._graph.replay()
        for slot in self._outputs:
            slot.fetch()
        if self._device.type == "cuda":
            torch.cuda.current_stream(self._device).synchronize()
        return Canvas(*(slot.read() for slot in self._outputs))

    def _loop(self) -> None:
        """Euler steps from the input slots to the output slots; no host synchronisation."""
        *state, video, action = (slot.device for slot in self._inputs)
        clean, moved = (video, action), (None, None)
        for k, width in enumerate(self._widths):
            moved = moved if k in self._config.reused else self._velocity(k, *state)
            state = [x if v is None else torch.where(mask, true, x + width * v)
                     for x, v, mask, true in zip(state, moved, self._masks, clean)]
        for slot, value in zip(self._outputs, state):
            slot.device.copy_(value)

    def _velocity(self, k: int, video: Tensor, action: Tensor):
        told, untold = self._steps
        assert told is not None
        if untold is None:
            return told.velocity(k, video, action)
        a, b, scale = told.velocity(k, video, action), untold.velocity(k, video, action), self._config.guidance_scale
        return tuple(None if x is None or y is None else y + scale * (x - y) for x, y in zip(a, b))


class _Slot:
    """A float32 tensor on the device and its twin in host memory, page-locked where the device is a GPU."""

    def __init__(self, shape: tuple[int, ...], device: torch.device) -> None:
        self.device = torch.zeros(shape, dtype=torch.float32, device=device)
        on_gpu = device.type == "cuda"
        self._host = torch.zeros(shape, dtype=torch.float32, pin_memory=on_gpu) if on_gpu else self.device

    def write(self, value: np.ndarray) -> None:
        self._host.numpy()[...] = value
        if self._host is not self.device:
            self.device.copy_(self._host, non_blocking=True)

    def fetch(self) -> None:
        if self._host is not self.device:
            self._host.copy_(self.device, non_blocking=True)

    def read(self) -> np.ndarray:
        """The caller's own copy, of what was fetched before the last synchronisation."""
        return self._host.numpy().copy()


def _attention(module, shapes: tuple, device: torch.device):
    transformer = getattr(module, "transformer", None)
    if transformer is None or device.type != "cuda":
        return nullcontext
    config, (batch, views, _, _, h, w) = transformer.config, shapes[0]
    patch = config.patch_size[1] * config.patch_size[2]
    tokens = views * (shapes[0][2] + shapes[1][2]) * h * w // patch
    dtype = transformer.patch_embedding.weight.dtype
    return fastest_first((batch, config.num_heads, tokens, config.dim // config.num_heads), dtype, device)


def _captured(loop, device: torch.device) -> torch.cuda.CUDAGraph:
    """Warm up on a side stream (compilation, library handles, workspaces), then record."""
    side = torch.cuda.Stream(device)
    side.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(side):
        for _ in range(_WARM_UPS):
            loop()
    torch.cuda.current_stream(device).wait_stream(side)
    torch.cuda.synchronize(device)
    graph = torch.cuda.CUDAGraph()
    # other threads of a node may use the driver meanwhile
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        loop()
    return graph

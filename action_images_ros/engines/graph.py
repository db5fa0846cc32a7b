"""The denoiser as an exported graph: files checked against their manifest, weights attached, numpy in and out."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from ..errors import EngineError
from ..model.config import ModelConfig
from ..model.denoiser import Conditioning
from ..model.noise import level_features, velocity_from_clean
from .manifest import MANIFEST_FILE, GraphManifest, config_sha256, missing_graph, remedy
from .onnx_weights import attach
from .options import EngineOptions
from .weights import file_sha256, read_weights, weights_path

Runner = Callable[[Mapping[str, np.ndarray]], Mapping[str, np.ndarray]]
"""Graph inputs by name -> graph outputs by name."""


def serves(directory: Path, options: EngineOptions = EngineOptions()) -> str:
    """ "" where the directory has exported graphs, otherwise what to do."""
    return "" if (Path(directory) / MANIFEST_FILE).is_file() else missing_graph(directory)


def input_shapes(config: ModelConfig, video_frames: int) -> dict[str, tuple[int, ...]]:
    """The graph's inputs: all float32, but text_mask bool. level: `model.noise.level_features` of sigma."""
    (w, h), v = config.action_size, config.views
    return {
        "video": (1, v, video_frames, 3 * config.pixel_factor**2, h, w),
        "action": (1, v, config.chunk_size, 3, h, w),
        "level": (1, config.conv_canvas.width),
        "rays": (1, v, 6, h, w),
        "text": (1, config.text.max_tokens, config.text.width),
        "text_mask": (1, config.text.max_tokens),
    }


class ExportedModel:
    """The exported graphs of one model directory."""

    def __init__(self, directory: Path, config: ModelConfig) -> None:
        """Raises ModelError where the weights are not this model's, EngineError where the graphs are not."""
        self.directory, self.config = Path(directory), config
        self.manifest = GraphManifest.load(directory)
        if self.manifest.config_sha256 != config_sha256(config):
            raise EngineError(f"the graphs in {directory} were exported for another config.json; {remedy(directory)}")

    def model_bytes(self, video_frames: int) -> bytes:
        """A whole ONNX model. Every file it comes from is checked first."""
        graph = self.manifest.graph(video_frames)
        path = self.directory / graph.file
        if not path.is_file():
            raise EngineError(f"{path} is missing; {remedy(self.directory)}")
        topology = path.read_bytes()
        if hashlib.sha256(topology).hexdigest() != graph.sha256:
            raise EngineError(f"{path} was changed or damaged after its export; {remedy(self.directory)}")
        stored = weights_path(self.directory)
        weights = read_weights(stored, self.manifest.tensors, graph.weights)
        if file_sha256(stored) != self.manifest.weights_sha256:
            raise EngineError(f"{stored} is not the file that was exported: after training on, "
                              f"{remedy(self.directory)}; otherwise it is damaged: copy the model directory again")
        return attach(topology, weights)


class GraphDenoiser:
    """A Denoiser on numpy arrays around one compiled graph a layout. Not thread-safe.

    compile: turns a whole ONNX model into a Runner. The layout with the fewest frames is compiled and run once at
    construction, so that neither compilation nor warm-up falls into the first chunk; others when first asked for.
    """

    def __init__(self, exported: ExportedModel, compile: Callable[[bytes], Runner] | None) -> None:
        self._exported, self._compile = exported, compile
        self._runners: dict[int, Runner] = {}
        first = min(g.video_frames for g in exported.manifest.graphs)
        shapes = input_shapes(exported.config, first)
        self._run(first, {k: np.zeros(s, bool if k == "text_mask" else np.float32) for k, s in shapes.items()})

    def velocity(self, video: np.ndarray, action: np.ndarray, sigma: np.ndarray, conditioning: Conditioning):
        """The Denoiser Protocol. Raises EngineError for canvases of another shape and where the runtime fails."""
        level = level_features(sigma, self._exported.config.conv_canvas.width)
        arrays = {"video": video, "action": action, "level": level, "rays": conditioning.rays,
                  "text": conditioning.text, "text_mask": conditioning.text_mask}
        rows = [self._run(video.shape[2], {k: np.ascontiguousarray(x[b:b + 1]) for k, x in arrays.items()})
                for b in range(len(action))]
        moved = [velocity_from_clean(arrays[kind], np.concatenate([row[f"clean_{kind}"] for row in rows]), sigma)
                 if f"clean_{kind}" in rows[0] else None for kind in ("video", "action")]
        return moved[0], moved[1]

    def _run(self, video_frames: int, inputs: dict[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        if video_frames not in self._runners:
            self._runners[video_frames] = self._make_runner(video_frames)
        for name, shape in input_shapes(self._exported.config, video_frames).items():
            if inputs[name].shape != shape:
                raise EngineError(f"graph input {name} has shape {inputs[name].shape}; this model's is {shape}")
        return self._runners[video_frames](inputs)

    def _make_runner(self, video_frames: int) -> Runner:
        assert self._compile is not None, "only a class with its own _make_runner goes without"
        return self._compile(self._exported.model_bytes(video_frames))

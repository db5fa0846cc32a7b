"""What an exported graph was made from, beside it as JSON: an engine runs nothing that does not match."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from ..errors import EngineError
from ..model.config import ModelConfig
from .weights import TensorSpec

MANIFEST_FILE = "denoiser.json"
MANIFEST_VERSION = 1
_SHAPING = ("views", "chunk_size", "image_size", "action_size", "denoiser", "frame_codec", "text", "conv_canvas")


@dataclass(frozen=True)
class GraphFile:
    """One graph: frames of its video segment, file name, sha256, names of the weights that it uses."""

    video_frames: int
    file: str
    sha256: str
    weights: tuple[str, ...]


@dataclass(frozen=True)
class GraphManifest:
    """config_sha256: of the part of config.json that shapes the graph; weights_sha256: of model.safetensors;
    tensors: every tensor of that file; opset, torch: of the export."""

    config_sha256: str
    weights_sha256: str
    opset: int
    torch: str
    graphs: tuple[GraphFile, ...]
    tensors: dict[str, TensorSpec]
    format_version: int = MANIFEST_VERSION

    def graph(self, video_frames: int) -> GraphFile:
        """Raises EngineError where the model was exported without that layout."""
        for graph in self.graphs:
            if graph.video_frames == video_frames:
                return graph
        legal = ", ".join(str(g.video_frames) for g in self.graphs)
        raise EngineError(f"there is no exported graph for {video_frames} video frames; there are graphs for {legal}: "
                          "add the mode to config.json and export again")

    def save(self, directory: Path) -> None:
        (Path(directory) / MANIFEST_FILE).write_text(json.dumps(dataclasses.asdict(self), indent=1) + "\n")

    @classmethod
    def load(cls, directory: Path) -> GraphManifest:
        """Raises EngineError where there is none or it is not one of this version."""
        path = Path(directory) / MANIFEST_FILE
        if not path.is_file():
            raise EngineError(missing_graph(directory))
        try:
            raw = json.loads(path.read_text())
            version = raw["format_version"]
            if version != MANIFEST_VERSION:
                raise EngineError(f"{path} has format_version {version}; this version reads {MANIFEST_VERSION}; "
                                  + remedy(directory))
            raw["graphs"] = tuple(GraphFile(**{**g, "weights": tuple(g["weights"])}) for g in raw["graphs"])
            raw["tensors"] = {k: TensorSpec(v["dtype"], tuple(v["shape"])) for k, v in raw["tensors"].items()}
            manifest = cls(**raw)
        except (ValueError, TypeError, KeyError, AttributeError) as e:
            raise EngineError(f"{path} is not a manifest of exported graphs ({e!r}); {remedy(directory)}") from e
        faults = manifest._faults()
        if faults:
            raise EngineError(f"{path} {faults[0]}; {remedy(directory)}")
        return manifest

    def _faults(self) -> list[str]:
        faults = [] if self.graphs else ["lists no graphs"]
        for graph in self.graphs:
            if Path(graph.file).name != graph.file:
                faults.append(f"names {graph.file!r}, which is not a file of its directory")
            faults += [f"names a weight {n!r} that it does not list" for n in graph.weights if n not in self.tensors]
        return faults


def config_sha256(config: ModelConfig) -> str:
    """Hash of what shapes the graph: the sampler or the encoding may be changed without a new export."""
    values = dataclasses.asdict(config)
    shaping = json.dumps({name: values[name] for name in _SHAPING}, sort_keys=True)
    return hashlib.sha256(shaping.encode()).hexdigest()


def missing_graph(directory: Path) -> str:
    return f"{directory} has no exported graph ({MANIFEST_FILE}); {remedy(directory)}"


def remedy(directory: Path) -> str:
    return f"run `action-images export {directory}` where torch is installed"

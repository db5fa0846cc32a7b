"""A model directory -> engine files of TensorRT or TensorRT for RTX in the trusted directory, and back as a Denoiser.

The small denoiser's engine is its exported graph in float32. Of the Wan-style transformer the engine is everything that
changes from step to step; cameras, text and noise levels stay with torch, which computes them once.
"""

from __future__ import annotations

import hashlib
import importlib.util
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..errors import EngineError, pip_install
from ..model.canvas import CanvasLayout, Mode
from ..model.config import ModelConfig
from ..model.denoiser import Denoiser
from . import tensorrt_api as trt
from .graph import ExportedModel, GraphDenoiser, Runner
from .manifest import config_sha256
from .options import EngineOptions, Precision
from .store import (
    MANIFEST,
    EngineManifest,
    Plan,
    folder_of,
    make_root,
    model_fingerprint,
    read_plan,
    require_match,
    trusted_root,
)

PRECISIONS = (Precision.AUTO, Precision.F32, Precision.BF16, Precision.F16)
OPSET = 18


def available(kind: str) -> str:
    if not importlib.util.find_spec("torch"):
        return f"torch is not installed ({pip_install('train')})"
    return trt.missing(kind)


def precision_of(config: ModelConfig, precision: Precision) -> Precision:
    """AUTO resolved. Raises EngineError for one that this denoiser is not built in."""
    legal = (Precision.F32,) if config.denoiser != "wan" else PRECISIONS[1:]
    wanted = legal[1 if len(legal) > 1 else 0] if precision is Precision.AUTO else precision
    if wanted not in legal:
        note = "; 8 bits are served by engine torch-compile" if wanted is Precision.FP8 else ""
        raise EngineError(f"TensorRT engines of denoiser {config.denoiser} have no precision {wanted.value}; legal: "
                          f"{', '.join(p.value for p in legal)}{note}")
    return wanted


def remedy(kind: str, directory: Path, precision: Precision) -> str:
    return f"run `action-images compile {directory} --engine {kind} --precision {precision.value}`"


def machine_facts(kind: str, api) -> dict:
    """What an engine must have been built for to run here. Raises EngineError where there is no GPU."""
    import torch

    if not torch.cuda.is_available():
        raise EngineError(f"{kind} needs a CUDA GPU, and torch sees none; use engine auto, openvino or torch")
    major, minor = torch.cuda.get_device_capability()
    found = {kind: api.__version__, "capability": 10 * major + minor}
    if kind == "tensorrt":
        found |= {"gpu": torch.cuda.get_device_name(), "driver": driver_version()}
    return found


def driver_version() -> str:
    """Of the NVIDIA kernel driver, from where it says so itself; "unknown" without one."""
    path = Path("/sys/module/nvidia/version")
    try:
        return path.read_text().strip()
    except OSError:
        return "unknown"


def build_engines(directory: Path, config: ModelConfig, kind: str, options: EngineOptions,
                  capabilities: tuple[int, ...] = ()) -> Path:
    """Export and build every layout that the model's modes need; returns the engine's folder, not yet verified.

    capabilities: see `tensorrt_api.build`. An engine of the same model, kind and precision is replaced when the new one
    is whole. Raises EngineError or ModelError with what stands in the way.
    """
    api, precision = trt.load_api(kind), precision_of(config, options.precision)
    trt.capability_members(api, capabilities)
    target = ({kind: api.__version__, "capability": list(capabilities)} if capabilities else machine_facts(kind, api))
    root, model = trusted_root(options), model_fingerprint(directory)
    make_root(root)
    folder = folder_of(root, model, kind, precision)
    work = Path(tempfile.mkdtemp(prefix=".building-", dir=root))
    try:
        plans, shapes = [], {}
        for video, action in layouts(config):
            name = f"denoiser_{video}_{action}"
            onnx, shapes[name] = _export(Path(directory), config, precision, video, action, work)
            data = trt.build(api, onnx, capabilities)
            (work / f"{name}.plan").write_bytes(data)
            plans.append(Plan(video, action, f"{name}.plan", hashlib.sha256(data).hexdigest()))
        for path in work.glob("*.onnx*"):
            path.unlink()
        EngineManifest(kind, precision.value, model, config_sha256(config), target, tuple(plans), shapes).save(work)
        folder.parent.mkdir(exist_ok=True, mode=0o700)
        shutil.rmtree(folder, ignore_errors=True)
        work.rename(folder)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise
    return folder


def note(folder: Path, checks: dict, timings: dict) -> EngineManifest:
    """Write what a verification found into the engine's manifest."""
    manifest = replace(EngineManifest.load(folder), checks=checks, timings=timings)
    manifest.save(folder)
    return manifest


def layouts(config: ModelConfig) -> list[tuple[int, int]]:
    """(video, action) latent frames of every canvas that the model's modes make."""
    whole = config.latent_frames
    made = [CanvasLayout.for_mode(Mode.parse(m), config.views, whole, whole) for m in config.modes]
    return sorted({(len(x.clean_video), len(x.clean_action)) for x in made})


def serves(kind: str, directory: Path, options: EngineOptions) -> str:
    """ "" where an engine of this model was built, in any precision that the options allow."""
    if found_folder(kind, directory, options) is not None:
        return ""
    wanted = Precision.BF16 if options.precision is Precision.AUTO else options.precision
    return f"there is no {kind} engine of {directory} in {trusted_root(options)}; {remedy(kind, directory, wanted)}"


def load(kind: str, directory: Path, config: ModelConfig, options: EngineOptions, verified: bool = True) -> Denoiser:
    """verified: refuse an engine whose verification is missing. Raises EngineError where there is no engine, or it does
    not match the model or the machine, is damaged, or lies where others can write."""
    folder = found_folder(kind, directory, options)
    if folder is None:
        raise EngineError(serves(kind, directory, options))
    api, manifest, root = trt.load_api(kind), EngineManifest.load(folder), trusted_root(options)
    how = remedy(kind, directory, Precision.parse(manifest.precision))
    checked = manifest if verified else replace(manifest, checks={"cosine": 1.0})
    plans = {(p.video_frames, p.action_frames): read_plan(root, folder, p) for p in manifest.plans}
    require_match(checked, model_fingerprint(directory), config, machine_facts(kind, api), how)
    graphs = {layout: trt.Graph(api, plan) for layout, plan in plans.items()}
    if config.denoiser == "wan":
        from .plans_wan import engine_denoiser

        return engine_denoiser(Path(directory), config, graphs, Precision.parse(manifest.precision))
    return PlanDenoiser(ExportedModel(directory, config), {video: graph for (video, _), graph in graphs.items()})


class PlanEngine:
    """What `engines.base` asks of an engine's module, for one kind of TensorRT."""

    def __init__(self, kind: str) -> None:
        self._kind = kind

    def available(self) -> str:
        return available(self._kind)

    def serves(self, directory: Path, options: EngineOptions = EngineOptions()) -> str:
        """ "" where the trusted directory has an engine of this model."""
        return serves(self._kind, directory, options)

    def only_by_name(self, config: ModelConfig) -> str:
        """`auto` takes a built engine wherever there is a GPU to run it."""
        import torch

        return "" if torch.cuda.is_available() else f"{self._kind} needs a CUDA GPU"

    def load(self, directory: Path, config: ModelConfig, options: EngineOptions = EngineOptions()) -> Denoiser:
        """Raises EngineError where the engine does not match the model or this machine, or must not be trusted."""
        return load(self._kind, directory, config, options)


class PlanDenoiser(GraphDenoiser):
    """The small denoiser on TensorRT; numpy in and out."""

    def __init__(self, exported: ExportedModel, graphs: Mapping[int, trt.Graph]) -> None:
        self._graphs = graphs
        super().__init__(exported, compile=None)

    def _make_runner(self, video_frames: int) -> Runner:
        import torch

        if video_frames not in self._graphs:
            raise EngineError(f"the engine has no layout of {video_frames} video frames; it has "
                              f"{', '.join(map(str, sorted(self._graphs)))}: build it again")
        graph = self._graphs[video_frames]

        def run(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
            given = {k: torch.from_numpy(np.ascontiguousarray(v)).to("cuda") for k, v in inputs.items()}
            return {k: v.float().cpu().numpy() for k, v in graph(given).items()}

        return run


def found_folder(kind: str, directory: Path, options: EngineOptions) -> Path | None:
    try:
        root, model = trusted_root(options), model_fingerprint(directory)
    except EngineError:
        return None
    wanted = PRECISIONS[1:] if options.precision is Precision.AUTO else (options.precision,)
    order = sorted(wanted, key=(Precision.BF16, Precision.F16, Precision.F32).index) if len(wanted) > 1 else wanted
    folders = [folder_of(root, model, kind, precision) for precision in order]
    return next((f for f in folders if (f / MANIFEST).is_file()), None)


def _export(directory: Path, config: ModelConfig, precision: Precision, video: int, action: int,
            work: Path) -> tuple[Path, dict]:
    path = work / f"denoiser_{video}_{action}.onnx"
    if config.denoiser == "wan":
        from .plans_wan import export

        return path, export(directory, config, precision, (video, action), path)
    path.write_bytes(ExportedModel(directory, config).model_bytes(video))
    from .graph import input_shapes

    return path, {name: list(shape) for name, shape in input_shapes(config, video).items()}

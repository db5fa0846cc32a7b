"""Choice of engine. An engine is a `Denoiser` on numpy arrays that was built from one model directory."""

from __future__ import annotations

import importlib
from pathlib import Path

from ..errors import EngineError, one_of
from ..model.config import ModelConfig
from ..model.denoiser import Denoiser
from .options import EngineOptions

ENGINES = {
    "openvino": "action_images_ros.engines.openvino_cpu",
    "onnxruntime": "action_images_ros.engines.onnxruntime_cpu",
    "torch": "action_images_ros.engines.torch_eager",
    "torch-compile": "action_images_ros.engines.torch_compiled",
    "tensorrt": "action_images_ros.engines.tensorrt_gpu",
    "tensorrt-rtx": "action_images_ros.engines.tensorrt_rtx",
}
"""Engine name -> module with `PRECISIONS`, `available()` and `serves(directory, options)` ("" or what is missing) and
`load(directory, config, options) -> Denoiser`. It may have `unfit(config, options)`, where its precisions depend on the
model, and `only_by_name()`: why `auto` passes over it on this machine."""

GRAPH_ENGINES = ("openvino", "onnxruntime")
"""Those that run what `action-images export` writes, on the CPU."""

PREFERENCE = ("tensorrt", "tensorrt-rtx", "torch-compile", *GRAPH_ENGINES, "torch")
"""Order of `auto`: fastest first, as `action-images bench policy` and `bench engine` measure."""


def load_engine(name: str, directory: Path, config: ModelConfig,
                options: EngineOptions = EngineOptions()) -> tuple[str, Denoiser]:
    """name: a key of ENGINES or "auto" -> (the engine's name, denoiser).

    auto passes over engines that are not installed and, where the directory has no exported graph, over those that need
    one; it never passes over a graph that does not match. Raises EngineError naming what is missing and the remedy.
    """
    one_of("engine", name, ("auto", *ENGINES), EngineError)
    reasons = []
    for candidate in PREFERENCE if name == "auto" else (name,):
        module = importlib.import_module(ENGINES[candidate])
        missing = module.available() or module.serves(Path(directory), options) or _unfit(module, config, options)
        if name == "auto" and not missing and hasattr(module, "only_by_name"):
            missing = module.only_by_name(config)
        if not missing:
            return candidate, module.load(Path(directory), config, options)
        reasons.append(f"{candidate}: {missing}")
    raise EngineError(f"no engine for {directory}; " + "; ".join(reasons))


def _unfit(module, config: ModelConfig, options: EngineOptions) -> str:
    if hasattr(module, "unfit"):
        return module.unfit(config, options)
    if options.precision in module.PRECISIONS:
        return ""
    return f"it has no precision {options.precision.value}; legal: {', '.join(p.value for p in module.PRECISIONS)}"

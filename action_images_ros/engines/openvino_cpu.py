"""The exported denoiser on OpenVINO's CPU plugin, float32 or bfloat16."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ..errors import EngineError
from ..model.config import ModelConfig
from ..model.denoiser import Denoiser
from .graph import ExportedModel, GraphDenoiser, Runner, serves
from .options import EngineOptions, Precision

__all__ = ["PRECISIONS", "available", "load", "serves"]

PRECISIONS = (Precision.AUTO, Precision.F32, Precision.BF16)


def available() -> str:
    return "" if importlib.util.find_spec("openvino") else "openvino is not installed (pip install openvino)"


def load(directory: Path, config: ModelConfig, options: EngineOptions = EngineOptions()) -> Denoiser:
    """Raises ModelError or EngineError where the directory's files do not match one another."""
    return GraphDenoiser(ExportedModel(directory, config), lambda model: compile_graph(model, options))


def compile_graph(model: bytes, options: EngineOptions) -> Runner:
    """AUTO is bfloat16 where the processor computes it natively, else float32.

    Threads are not pinned to cores: another process may have a control loop on the same ones.
    """
    import openvino

    core = openvino.Core()
    native = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    reduced = native if options.precision is Precision.AUTO else options.precision is Precision.BF16
    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "bf16" if reduced else "f32",
        "INFERENCE_NUM_THREADS": options.thread_count,
        "ENABLE_CPU_PINNING": False,
    }
    try:
        request = core.compile_model(core.read_model(model), "CPU", settings).create_infer_request()
    except Exception as e:  # noqa: BLE001 - the runtime has no public error root
        raise EngineError(f"OpenVINO {openvino.__version__} refuses the graph: {str(e).splitlines()[0]}") from e

    def run(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        try:
            made = request.infer(dict(inputs), share_inputs=True)
        except Exception as e:  # noqa: BLE001
            raise EngineError(f"OpenVINO failed: {str(e).splitlines()[0]}") from e
        return {output.any_name: np.array(value) for output, value in made.items()}

    return run

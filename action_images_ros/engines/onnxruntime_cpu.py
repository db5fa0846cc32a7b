"""The exported denoiser on ONNX Runtime's CPU provider, float32."""

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

PRECISIONS = (Precision.AUTO, Precision.F32)
_ERRORS_ONLY = 3


def available() -> str:
    return "" if importlib.util.find_spec("onnxruntime") else "onnxruntime is not installed (pip install onnxruntime)"


def load(directory: Path, config: ModelConfig, options: EngineOptions = EngineOptions()) -> Denoiser:
    """Raises ModelError or EngineError where the directory's files do not match one another."""
    return GraphDenoiser(ExportedModel(directory, config), lambda model: compile_graph(model, options))


def compile_graph(model: bytes, options: EngineOptions) -> Runner:
    """Idle worker threads sleep instead of spinning: another process may have a control loop on the same cores."""
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = options.thread_count
    settings.inter_op_num_threads = 1
    settings.log_severity_level = _ERRORS_ONLY
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    settings.add_session_config_entry("session.inter_op.allow_spinning", "0")
    try:
        session = onnxruntime.InferenceSession(model, settings, providers=["CPUExecutionProvider"])
    except Exception as e:  # noqa: BLE001 - the runtime has no public error root
        raise EngineError(f"ONNX Runtime {onnxruntime.__version__} refuses the graph: {str(e).splitlines()[0]}") from e
    names = [output.name for output in session.get_outputs()]

    def run(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        try:
            return dict(zip(names, session.run(names, dict(inputs))))
        except Exception as e:  # noqa: BLE001
            raise EngineError(f"ONNX Runtime failed: {str(e).splitlines()[0]}") from e

    return run

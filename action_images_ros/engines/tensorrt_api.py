"""TensorRT and TensorRT for RTX through one native API: build an engine from an ONNX file, run it on torch's tensors.

Written to version 11, whose networks are always strongly typed: precision lives in the ONNX graph, no builder flag
changes it. Version 10 is served by asking for that kind of network.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import EngineError, pip_install

_MODULES = {"tensorrt": ("tensorrt",), "tensorrt-rtx": ("tensorrt_rtx", "tensorrt_rtx_bindings")}
_OLDEST = 10
_GIB = 1 << 30


def missing(kind: str) -> str:
    """ "" where the library is installed, otherwise what to install. kind: "tensorrt" or "tensorrt-rtx"."""
    if any(importlib.util.find_spec(name) for name in _MODULES[kind]):
        return ""
    return f"{kind} is not installed ({pip_install(kind)})"


def load_api(kind: str):
    """The Python module. Raises EngineError where it is absent, too old or can not load its libraries."""
    for name in _MODULES[kind]:
        if not importlib.util.find_spec(name):
            continue
        try:
            api = importlib.import_module(name)
        except (ImportError, OSError, RuntimeError, AttributeError) as e:
            raise EngineError(f"{kind} is installed but does not load ({_first_line(e)}); its libraries and bindings "
                              "must be of one version") from e
        if kind == "tensorrt" and int(api.__version__.split(".")[0]) < _OLDEST:
            raise EngineError(f"TensorRT {api.__version__} is too old; version {_OLDEST} or newer is served")
        return api
    raise EngineError(missing(kind))


def build(api, onnx: Path, capabilities: tuple[int, ...] = (), workspace_gib: float = 8.0) -> bytes:
    """A serialised engine for exactly the shapes and types of the ONNX file (weights may lie beside it).

    capabilities: of TensorRT for RTX, compute capabilities such as 86, 89, 120 to build for without a GPU; empty = the
    GPU of this machine. Raises EngineError where the parser or the builder refuses, with its own words.
    """
    heard = listener(api)
    builder = api.Builder(heard)
    network = builder.create_network(_network_flags(api))
    parser = api.OnnxParser(network, heard)
    if not parser.parse_from_file(str(onnx)):
        errors = "; ".join(str(parser.get_error(i)) for i in range(parser.num_errors))
        raise EngineError(f"TensorRT {api.__version__} does not read {Path(onnx).name}: {errors[:400]}")
    config = builder.create_builder_config()
    config.set_memory_pool_limit(api.MemoryPoolType.WORKSPACE, int(workspace_gib * _GIB))
    _aim(api, config, capabilities)
    made = builder.build_serialized_network(network, config)
    if made is None:
        raise EngineError(f"TensorRT {api.__version__} can not build {Path(onnx).name}: {heard.last()}")
    return bytes(made)


class Graph:
    """A deserialised engine. Inputs and outputs are torch tensors on the GPU; runs on torch's current stream, so that
    it can be part of a captured CUDA graph."""

    def __init__(self, api, plan: bytes) -> None:
        """Raises EngineError where the engine is of another GPU or version, damaged, or there is no GPU."""
        import torch

        self._heard = listener(api)
        try:
            self._runtime = api.Runtime(self._heard)
            self._engine = self._runtime.deserialize_cuda_engine(plan)
            self._context: Any = None if self._engine is None else self._engine.create_execution_context()
        except (RuntimeError, TypeError) as e:
            raise EngineError(f"TensorRT {api.__version__} can not start: {_first_line(e)}") from e
        if self._context is None:
            raise EngineError(f"TensorRT {api.__version__} refuses the engine: {self._heard.last()}")
        names = [self._engine.get_tensor_name(i) for i in range(self._engine.num_io_tensors)]
        of = {name: self._engine.get_tensor_mode(name) for name in names}
        self.inputs = tuple(n for n in names if of[n] == api.TensorIOMode.INPUT)
        types = _torch_types(api, torch)
        self.types = {n: types[self._engine.get_tensor_dtype(n)] for n in names}
        self.shapes = {n: tuple(self._engine.get_tensor_shape(n)) for n in names}
        self._outputs = {n: torch.empty(self.shapes[n], dtype=self.types[n], device="cuda")
                         for n in names if n not in self.inputs}

    def __call__(self, inputs: Mapping) -> dict:
        """Tensors by name -> tensors by name, which the next call overwrites. Raises EngineError where a shape is not
        the engine's or the execution can not start."""
        import torch

        given = {}
        for name in self.inputs:
            if tuple(inputs[name].shape) != self.shapes[name]:
                raise EngineError(f"engine input {name} has shape {tuple(inputs[name].shape)}; the engine was built "
                                  f"for {self.shapes[name]}")
            given[name] = inputs[name].to(self.types[name]).contiguous()
        for name, tensor in (given | self._outputs).items():
            self._context.set_tensor_address(name, tensor.data_ptr())
        if not self._context.execute_async_v3(torch.cuda.current_stream().cuda_stream):
            raise EngineError(f"TensorRT failed: {self._heard.last()}")
        return self._outputs


def listener(api: Any):
    """A logger that keeps errors and warnings instead of printing them."""

    class Listener(api.ILogger):
        def __init__(self) -> None:
            api.ILogger.__init__(self)
            self.errors: list[str] = []

        def log(self, severity, message: str) -> None:
            if severity in (api.ILogger.Severity.ERROR, api.ILogger.Severity.INTERNAL_ERROR):
                self.errors.append(" ".join(str(message).split()))

        def last(self) -> str:
            return self.errors[0][:300] if self.errors else "it gave no reason"

    return Listener()


def _network_flags(api) -> int:
    strongly: Any = getattr(api.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    major = int(api.__version__.split(".")[0])
    needs_asking = strongly is not None and api.__name__ == "tensorrt" and major < 11
    return 1 << int(strongly) if needs_asking else 0


def _aim(api, config, capabilities: tuple[int, ...]) -> None:
    members = capability_members(api, capabilities)
    if members:
        config.num_compute_capabilities = len(members)
    for i, member in enumerate(members):
        config.set_compute_capability(member, i)


def capability_members(api, capabilities: tuple[int, ...]) -> list:
    """The library's own names of them. Raises EngineError naming the legal ones."""
    if not capabilities:
        return []
    known = getattr(api, "ComputeCapability", None)
    if known is None:
        raise EngineError("only TensorRT for RTX builds for GPUs that are not there; leave the target out, or use "
                          "--engine tensorrt-rtx")
    legal = {int(m.value): m for m in known.__members__.values() if int(m.value) > 1}
    unknown = sorted(set(capabilities) - set(legal))
    if unknown:
        raise EngineError(f"compute capability {unknown[0]} is not served by TensorRT for RTX {api.__version__}; "
                          f"legal: {', '.join(map(str, sorted(legal)))}")
    return [legal[capability] for capability in capabilities]


def _torch_types(api, torch) -> dict:
    pairs = (("FLOAT", torch.float32), ("HALF", torch.float16), ("BF16", torch.bfloat16), ("BOOL", torch.bool),
             ("INT64", torch.int64), ("INT32", torch.int32))
    return {getattr(api.DataType, name): dtype for name, dtype in pairs if hasattr(api.DataType, name)}


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]

"""Attaches weights to an ONNX graph that was stored without them, so that no ONNX package is needed at run time.

A stored graph refers to its weights by name and does not carry them. Protocol buffers define that appending a second
serialised message merges it into the first: nested messages merge, repeated fields append (protobuf.dev, "Encoding",
"Last one wins"). So a graph plus an appended ModelProto with nothing but `graph.initializer` is the whole model.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

_LENGTH_DELIMITED = 2
_MODEL_GRAPH = 7
_GRAPH_INITIALIZER = 5
_TENSOR_DIMS, _TENSOR_TYPE, _TENSOR_NAME, _TENSOR_RAW = 1, 2, 8, 9
_ONNX_TYPES = {np.dtype("<f4"): 1, np.dtype("<i8"): 7, np.dtype("<f2"): 10}


def attach(graph: bytes, weights: Mapping[str, np.ndarray]) -> bytes:
    """A serialised ModelProto without weights -> the same with `weights` as its initializers."""
    tensors = b"".join(_field(_GRAPH_INITIALIZER, _tensor(name, value)) for name, value in weights.items())
    return graph + _field(_MODEL_GRAPH, tensors)


def _tensor(name: str, value: np.ndarray) -> bytes:
    dims = b"".join(_number(_TENSOR_DIMS, d) for d in value.shape)
    kind = _number(_TENSOR_TYPE, _ONNX_TYPES[value.dtype.newbyteorder("<")])
    raw = np.ascontiguousarray(value, value.dtype.newbyteorder("<")).tobytes()
    return dims + kind + _field(_TENSOR_NAME, name.encode()) + _field(_TENSOR_RAW, raw)


def _field(number: int, payload: bytes) -> bytes:
    return _varint(number << 3 | _LENGTH_DELIMITED) + _varint(len(payload)) + payload


def _number(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def _varint(n: int) -> bytes:
    out = bytearray()
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    return bytes(out) + bytes([n])

"""Trained weights from safetensors, every tensor accounted for before one is used. Needs no torch."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

from ..errors import ModelError

WEIGHTS_FILE = "model.safetensors"
_NAMED = 3


@dataclass(frozen=True)
class TensorSpec:
    """dtype as safetensors names it ("F32"); shape."""

    dtype: str
    shape: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.dtype} {list(self.shape)}"


def weights_path(directory: Path) -> Path:
    """Raises ModelError where the directory has no weights."""
    path = Path(directory) / WEIGHTS_FILE
    if not path.is_file():
        raise ModelError(f"{directory} has no {WEIGHTS_FILE}; copy the whole model directory or train again")
    return path


def stored_tensors(path: Path) -> dict[str, TensorSpec]:
    """What the file holds, from its header. Raises ModelError where it is not safetensors or is cut short."""
    with _opened(path) as f:
        slices = {name: f.get_slice(name) for name in f.keys()}
        return {name: TensorSpec(s.get_dtype(), tuple(s.get_shape())) for name, s in slices.items()}


def require_match(path: Path, expected: Mapping[str, TensorSpec]) -> None:
    """Raise ModelError unless the file holds exactly the expected tensors."""
    found = stored_tensors(path)
    faults = [f"{name} is missing" for name in expected if name not in found]
    faults += [f"{name} is unexpected" for name in found if name not in expected]
    faults += [f"{name} is {found[name]}, expected {want}" for name, want in expected.items()
               if name in found and found[name] != want]
    if faults:
        more = f" and {len(faults) - _NAMED} more" if len(faults) > _NAMED else ""
        raise ModelError(f"{path} does not hold this model's weights: {'; '.join(faults[:_NAMED])}{more}; "
                         "config.json and weights must come from the same training run")


def read_weights(path: Path, expected: Mapping[str, TensorSpec], names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """The tensors `names` of a file that must hold exactly `expected`.

    Raises ModelError where anything is missing, unexpected, of another shape or type, or not finite.
    """
    require_match(path, expected)
    with _opened(path) as f:
        weights = {name: f.get_tensor(name) for name in names}
    broken = [name for name, value in weights.items() if not np.all(np.isfinite(value))]
    if broken:
        raise ModelError(f"{path}: {', '.join(broken[:_NAMED])} holds NaN or infinity; copy the model directory again")
    return weights


def file_sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with Path(path).open("rb") as f:
        while block := f.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _opened(path: Path):
    try:
        return safe_open(str(path), framework="numpy")
    except (SafetensorError, OSError) as e:
        raise ModelError(f"{path} is not a whole safetensors file ({str(e).splitlines()[0]}); "
                         "copy the model directory again") from e

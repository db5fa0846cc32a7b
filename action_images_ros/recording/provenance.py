"""Where a recording comes from, kept inside it: cell file, calibration, versions, the model that acted."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from ..errors import ConfigError, ModelError
from .mcap_records import Attachment

CELL_NAME = "cell.yaml"
CALIBRATION_NAME = "calibration.yaml"
_BLOCK = 2**20


def attachments(cell: Path, calibration: Path | None) -> tuple[Attachment, ...]:
    """Of every bag. Raises ConfigError where a file cannot be read."""
    files = [(CELL_NAME, cell), *([(CALIBRATION_NAME, calibration)] if calibration is not None else [])]
    return tuple(Attachment(name, "application/yaml", _read(path)) for name, path in files)


def provenance(
    cell: Path, model: Path | None, version: str, host: str, command: Sequence[str]
) -> dict[str, object]:
    """What also travels as a message, for tools that drop attachments: the whole cell file among it."""
    out: dict[str, object] = {
        "package": "action_images_ros",
        "version": version,
        "host": host,
        "command": list(command),
        "cell": _read(cell).decode("utf-8"),
        "cell_sha256": hashlib.sha256(_read(cell)).hexdigest(),
    }
    if model is not None:
        out |= {"model": str(model), "model_sha256": model_hash(model)}
    return out


def model_hash(directory: Path) -> str:
    """Of config.json and all weights of a model directory. Raises ModelError where there are none."""
    files = sorted(p for p in Path(directory).rglob("*") if p.suffix in (".safetensors", ".onnx", ".json"))
    if not files:
        raise ModelError(f"{directory} holds no model; give a model directory or leave the model out")
    digest = hashlib.sha256()
    for path in files:
        digest.update(path.relative_to(directory).as_posix().encode())
        with open(path, "rb") as f:
            while block := f.read(_BLOCK):
                digest.update(block)
    return digest.hexdigest()


def _read(path: Path) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as e:
        raise ConfigError(f"{path} cannot be read ({e.strerror}); it becomes part of every recording") from e

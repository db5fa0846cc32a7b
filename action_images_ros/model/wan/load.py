"""A converted or trained transformer folder -> the transformer, with nothing missing and nothing left over."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path

import torch

from ...errors import ModelError
from .source import StoredTensor, listing, open_source, read_json
from .transformer import WanActionTransformer


def load_transformer(directory: Path, dtype: torch.dtype = torch.float32,
                     device: str | torch.device = "cpu") -> WanActionTransformer:
    """directory: as written by `convert` or `save_pretrained`. The parts that must stay float32 do, whatever `dtype`.

    Unlike diffusers' from_pretrained, which warns and goes on, raises ModelError where the folder, its config or any
    tensor is missing, unknown, of another shape, or not readable.
    """
    directory = Path(directory)
    model = _empty(directory)
    stored = open_source(directory).tensors
    _require_match(directory, {n: tuple(p.shape) for n, p in model.state_dict().items()}, stored)
    values = {}
    for name, tensor in stored.items():
        kept = any(part in model._keep_in_fp32_modules for part in name.split("."))
        value = tensor.read().to(device=device, dtype=torch.float32 if kept else dtype)
        if not torch.isfinite(value).all():
            raise ModelError(f"{directory}: {name} holds NaN or infinity; the file is damaged, or {dtype} too narrow")
        values[name] = value
    model.load_state_dict(values, assign=True)
    return model.eval().requires_grad_(False)


def _empty(directory: Path) -> WanActionTransformer:
    path = directory / "config.json"
    if not path.is_file():
        raise ModelError(f"{directory} is not a transformer folder: it has no config.json; make one with "
                         "`action-images convert`")
    config = read_json(path)
    name = config.get("_class_name")
    if name != WanActionTransformer.__name__:
        raise ModelError(f"{path} is of class {name!r}; expected {WanActionTransformer.__name__}: "
                         "a published checkpoint has to go through `action-images convert` first")
    values = {k: v for k, v in config.items() if not k.startswith("_")}
    legal = set(inspect.signature(WanActionTransformer.__init__).parameters) - {"self"}
    unknown = sorted(set(values) - legal)
    if unknown:
        raise ModelError(f"{path}: unknown key {listing(unknown)}; legal: {', '.join(sorted(legal))}")
    try:
        with torch.device("meta"):
            return WanActionTransformer(**values)
    except (TypeError, ValueError, RuntimeError) as e:
        raise ModelError(f"{path}: {e}") from e


def _require_match(directory: Path, expected: dict[str, tuple], stored: Mapping[str, StoredTensor]) -> None:
    found = {n: t.shape for n, t in stored.items()}
    odd = sorted(n for n in set(expected) | set(found) if expected.get(n) != found.get(n))
    if odd:
        raise ModelError(f"{directory}: weights and config.json disagree about {listing(odd)} (missing, unknown or of "
                         "another shape); convert or train it again")

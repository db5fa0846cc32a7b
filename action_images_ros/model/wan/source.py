"""Weights of a checkpoint file or folder, tensor by tensor, without reading it whole."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeGuard

import torch
from safetensors import SafetensorError, safe_open

from ...errors import ModelError

TORCH_SUFFIXES = (".pt", ".pth", ".bin", ".ckpt")
_DTYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


@dataclass(frozen=True)
class StoredTensor:
    """shape and dtype are known from the header; read() brings the values."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    read: Callable[[], torch.Tensor]


@dataclass(frozen=True)
class WeightSource:
    """tensors by stored name; config: the config.json beside them, or empty; left_out: what else a torch file held."""

    path: Path
    tensors: Mapping[str, StoredTensor]
    config: dict = field(default_factory=dict)
    left_out: tuple[str, ...] = ()


def open_source(path: Path, section: str | None = None) -> WeightSource:
    """path: a torch file, a safetensors file, or a folder of safetensors shards with their index.

    section: which part of a torch file holds the weights, where it holds several. Raises ModelError where the file is
    missing, truncated, not a checkpoint, or holds anything but tensors where tensors belong.
    """
    path = Path(path)
    if path.is_dir():
        if section is not None:
            raise ModelError(f"{path} is a folder of safetensors, which has no section {section!r}; leave it out")
        return _open_folder(path)
    if not path.is_file():
        raise ModelError(f"checkpoint {path} does not exist; give a torch file ({', '.join(TORCH_SUFFIXES)}), "
                         "a .safetensors file, or a folder of safetensors shards")
    if path.suffix == ".safetensors":
        return WeightSource(path, _safetensors(path), _config(path.parent))
    if path.suffix in TORCH_SUFFIXES:
        return _open_torch(path, section)
    raise ModelError(f"checkpoint {path} ends in {path.suffix!r}; legal: .safetensors, {', '.join(TORCH_SUFFIXES)}")


def _open_folder(folder: Path) -> WeightSource:
    indices = sorted(folder.glob("*.safetensors.index.json"))
    files = sorted(folder.glob("*.safetensors"))
    if len(indices) > 1 or (not indices and len(files) != 1):
        raise ModelError(f"{folder} must hold one *.safetensors.index.json with its shards, or one .safetensors file; "
                         f"it has {len(indices)} and {len(files)}: give the transformer's own folder, or the file")
    if not indices:
        return WeightSource(folder, _safetensors(files[0]), _config(folder))
    weight_map = read_json(indices[0]).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise ModelError(f"{indices[0]} has no weight_map; download the checkpoint again")
    shards = {name: _safetensors(_inside(folder, name)) for name in sorted(set(weight_map.values()))}
    tensors = {}
    for shard, held in shards.items():
        listed = {key for key, where in weight_map.items() if where == shard}
        if listed != set(held):
            odd = sorted(listed ^ set(held))
            raise ModelError(f"{folder / shard} and {indices[0].name} disagree about {listing(odd)}; download it again")
        tensors.update(held)
    return WeightSource(folder, tensors, _config(folder))


def _inside(folder: Path, name: object) -> Path:
    if not isinstance(name, str) or Path(name).name != name:
        raise ModelError(f"the index in {folder} names the shard {name!r}; a shard is a file of that folder")
    return folder / name


def _safetensors(path: Path) -> dict[str, StoredTensor]:
    def reader(key: str) -> Callable[[], torch.Tensor]:
        def read() -> torch.Tensor:
            with safe_open(path, "pt") as file:
                return file.get_tensor(key)
        return read

    tensors = {}
    try:
        with safe_open(path, "pt") as file:
            for key in file.keys():  # noqa: SIM118 - not a mapping
                header = file.get_slice(key)
                dtype = _DTYPES.get(header.get_dtype())
                if dtype is None:
                    raise ModelError(f"{path}: {key} is stored as {header.get_dtype()}; legal: {', '.join(_DTYPES)}: "
                                     "convert the unquantised checkpoint")
                tensors[key] = StoredTensor(tuple(header.get_shape()), dtype, reader(key))
    except (SafetensorError, OSError) as e:
        raise ModelError(f"{path} can not be read as safetensors ({e}); it is truncated or missing: "
                         "download it again") from e
    return tensors


def _open_torch(path: Path, section: str | None) -> WeightSource:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except pickle.UnpicklingError as e:
        raise ModelError(f"{path} is not a plain torch checkpoint of tensors ({_first_line(e)}); nothing in it was "
                         "run: convert only files from a source that you trust, saved as a state dict") from e
    except (RuntimeError, OSError, EOFError, ValueError) as e:
        raise ModelError(f"{path} can not be read as a torch file ({_first_line(e)}); it is truncated or of a format "
                         "older than torch 1.6: download it again, or save it again with a current torch") from e
    weights, left_out = _pick_section(path, content, section)
    for key, value in weights.items():
        if value.dtype not in _DTYPES.values():
            raise ModelError(f"{path}: {key} is stored as {value.dtype}; legal: float32, float16, bfloat16: convert "
                             "the unquantised checkpoint")
    tensors = {key: StoredTensor(tuple(value.shape), value.dtype, value.contiguous)
               for key, value in weights.items()}
    return WeightSource(path, tensors, _config(path.parent), left_out)


def _pick_section(path: Path, content: object, section: str | None) -> tuple[dict, tuple[str, ...]]:
    if _is_weights(content) and section is None:
        return content, ()
    sections = content if isinstance(content, dict) else {}
    parts = {k: v for k, v in sections.items() if _is_weights(v)}
    if section is None and len(parts) == 1:
        section = next(iter(parts))
    if section not in parts:
        raise ModelError(f"{path} holds {len(parts)} sets of weights ({', '.join(map(str, parts)) or 'none'}); "
                         f"{'choose one as the section' if section is None else f'it has no section {section!r}'}")
    return parts[section], tuple(sorted(str(k) for k in sections if k != section))


def _is_weights(content: object) -> TypeGuard[dict[str, torch.Tensor]]:
    return isinstance(content, dict) and bool(content) and all(
        isinstance(k, str) and isinstance(v, torch.Tensor) for k, v in content.items())


def _config(folder: Path) -> dict:
    path = folder / "config.json"
    return read_json(path) if path.is_file() else {}


def read_json(path: Path) -> dict:
    try:
        content = json.loads(path.read_text())
    except (ValueError, OSError) as e:
        raise ModelError(f"{path} is not valid JSON: {e}") from e
    if not isinstance(content, dict):
        raise ModelError(f"{path} holds a {type(content).__name__}; expected an object")
    return content


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def listing(names: list[str], most: int = 40) -> str:
    """The names for a message; past `most`, how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more

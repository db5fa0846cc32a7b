"""A published checkpoint -> our layout: config.json and safetensors shards, written one shard at a time.

Two kinds are taken: the released action weights (original Wan names plus camera modules), and a plain Wan2.2 video
checkpoint (original or diffusers names), whose camera modules start without influence: cam_encoder zero, projector
identity. Every stored tensor must have its place and every place its tensor.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import torch
from safetensors.torch import save_file

from ...errors import ModelError
from .naming import NamingStyle, common_prefix, is_camera, our_name, style_of
from .rays import RayConvention
from .source import StoredTensor, WeightSource, listing, open_source
from .transformer import WanActionTransformer

HEADS_OF_PUBLISHED_WIDTHS = {1536: 12, 3072: 24, 5120: 40}
SHARD_BYTES = 4 * 1024**3
STEM = "diffusion_pytorch_model"


class CheckpointKind(str, Enum):
    RELEASED = "released"
    PLAIN = "plain"


@dataclass(frozen=True)
class ConversionReport:
    """kind and style of the source; config written; tensors read and created (camera modules of a plain checkpoint);
    parameters and shards written; left_out: other sections of a torch file, not weights of this model."""

    kind: CheckpointKind
    style: NamingStyle
    ray_convention: RayConvention
    config: dict
    tensors_read: int
    tensors_created: int
    parameters: int
    shards: int
    left_out: tuple[str, ...]


@dataclass(frozen=True)
class _Plan:
    kind: CheckpointKind
    style: NamingStyle
    model: WanActionTransformer
    tensors: dict[str, StoredTensor]
    created: int


def convert(source: Path, target: Path, convention: RayConvention | None = None, heads: int | None = None,
            section: str | None = None, dtype: torch.dtype | None = None, shard_bytes: int = SHARD_BYTES,
            on_shard: Callable[[int, int], None] | None = None) -> ConversionReport:
    """Write `target`, a new folder for `load_transformer`; needs memory for one shard.

    convention: axes in which the camera modules expect rays; None = RELEASE for weights that bring camera modules,
    PROJECT for those that start without. heads: only where neither a config.json nor a published width tells.
    section: see `open_source`. dtype: float32, float16 or bfloat16; None = as stored. on_shard(done, total) reports.
    Raises ModelError for a checkpoint that does not fit, naming every such tensor; then nothing is left at `target`.
    """
    target = Path(target)
    if target.exists():
        raise ModelError(f"{target} exists already; remove it or choose another folder")
    weights = open_source(source, section)
    plan = _make_plan(weights, convention, heads)
    tensors = {k: _as_dtype(k, t, dtype) for k, t in plan.tensors.items()}
    shards = list(_split(tensors, shard_bytes))
    target.parent.mkdir(parents=True, exist_ok=True)
    _require_space(target.parent, sum(map(_bytes, tensors.values())))
    work = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        plan.model.save_config(work)
        _write_shards(work, shards, tensors, on_shard)
        work.chmod(0o755)
        os.replace(work, target)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise
    return ConversionReport(plan.kind, plan.style, plan.model.ray_convention, dict(plan.model.config),
                            len(tensors) - plan.created, plan.created,
                            sum(math.prod(t.shape) for t in tensors.values()), len(shards), weights.left_out)


def _make_plan(weights: WeightSource, convention: RayConvention | None, heads: int | None) -> _Plan:
    prefix = common_prefix(set(weights.tensors))
    foreign = sorted(n for n in weights.tensors if not n.startswith(prefix))
    if foreign:
        raise ModelError(f"{weights.path}: most weights are named {prefix}*; these are not: {listing(foreign)}. "
                         "Convert a checkpoint of the transformer alone")
    stored = {n.removeprefix(prefix): t for n, t in weights.tensors.items()}
    style = style_of(set(stored))
    found = {our_name(n, style): t for n, t in stored.items()}
    if len(found) != len(stored):
        raise ModelError(f"{weights.path}: several tensors have one meaning; it mixes two naming styles")
    kind = CheckpointKind.RELEASED if any(map(is_camera, found)) else CheckpointKind.PLAIN
    if convention is None:
        convention = RayConvention.RELEASE if kind is CheckpointKind.RELEASED else RayConvention.PROJECT
    with torch.device("meta"):
        model = WanActionTransformer(**_infer_config(weights, found, heads), ray_convention=convention.value)
    expected = {n: tuple(p.shape) for n, p in model.state_dict().items()}
    created = {}
    if kind is CheckpointKind.PLAIN:
        created = {n: _neutral(n, shape, found["patch_embedding.weight"].dtype)
                   for n, shape in expected.items() if is_camera(n)}
    _require_all(weights.path, expected, {**found, **created})
    return _Plan(kind, style, model, {n: {**found, **created}[n] for n in expected}, len(created))


def _require_all(path: Path, expected: dict[str, tuple], found: dict[str, StoredTensor]) -> None:
    unknown, missing = sorted(set(found) - set(expected)), sorted(set(expected) - set(found))
    odd = [f"{n} is {found[n].shape}, expected {shape}" for n, shape in expected.items()
           if n in found and found[n].shape != shape]
    kinds = (("unknown tensors", unknown), ("missing tensors", missing), ("tensors of another shape", odd))
    problems = [f"{text} {len(names)}: {listing(names)}" for text, names in kinds if names]
    if problems:
        raise ModelError(f"{path} is not a checkpoint of this transformer. " + ". ".join(problems)
                         + ". Give the transformer of Wan2.2-TI2V or the released action weights, complete")


def _infer_config(weights: WeightSource, found: dict[str, StoredTensor], heads: int | None) -> dict:
    """Sizes from the tensors themselves; only the number of heads leaves no trace in them."""
    def shape(name: str, axes: int) -> tuple[int, ...]:
        if name not in found or len(found[name].shape) != axes:
            raise ModelError(f"{weights.path} has no {axes}-dimensional tensor {name}: it is not a Wan transformer, or "
                             f"incomplete. Its tensors: {listing(sorted(found), 8)}")
        return found[name].shape

    dim, in_channels, *patch = shape("patch_embedding.weight", 5)
    heads = heads or _heads_beside(weights, dim) or HEADS_OF_PUBLISHED_WIDTHS.get(dim)
    if heads is None:
        raise ModelError(f"{weights.path}: the number of attention heads is not in the weights (width {dim}) and no "
                         "config.json beside them tells it; give heads")
    layers = {int(parts[1]) for parts in (n.split(".") for n in found) if parts[0] == "blocks" and parts[1].isdecimal()}
    return {
        "dim": dim, "num_heads": heads, "num_layers": max(layers, default=0) + 1,
        "in_channels": in_channels, "out_channels": shape("head.head.weight", 2)[0] // math.prod(patch),
        "patch_size": tuple(patch), "ffn_dim": shape("blocks.0.ffn.0.weight", 2)[0],
        "text_dim": shape("text_embedding.0.weight", 2)[1], "freq_dim": shape("time_embedding.0.weight", 2)[1],
        "eps": float(weights.config.get("eps", 1e-6)),
    }


def _heads_beside(weights: WeightSource, dim: int) -> int | None:
    config = weights.config
    heads = config.get("num_heads", config.get("num_attention_heads"))
    if heads is None:
        return None
    size = config.get("attention_head_dim")
    width = config.get("dim", heads * size if isinstance(size, int) and isinstance(heads, int) else dim)
    if not isinstance(heads, int) or width != dim:
        raise ModelError(f"config.json beside {weights.path} says {heads!r} heads and width {width!r}, the weights "
                         f"have width {dim}; it belongs to another model: remove it, or give heads")
    return heads


def _neutral(name: str, shape: tuple[int, ...], dtype: torch.dtype) -> StoredTensor:
    if name.endswith(".projector.weight"):
        return StoredTensor(shape, dtype, lambda: torch.eye(*shape, dtype=dtype))
    return StoredTensor(shape, dtype, lambda: torch.zeros(shape, dtype=dtype))


def _as_dtype(name: str, tensor: StoredTensor, dtype: torch.dtype | None) -> StoredTensor:
    kept = any(part in WanActionTransformer._keep_in_fp32_modules for part in name.split("."))
    if dtype is None or (kept and dtype != torch.float32):
        return tensor
    return StoredTensor(tensor.shape, dtype, lambda: tensor.read().to(dtype))


def _bytes(tensor: StoredTensor) -> int:
    return math.prod(tensor.shape) * tensor.dtype.itemsize


def _split(tensors: dict[str, StoredTensor], most: int) -> Iterator[list[str]]:
    """Names in groups of at most `most` bytes, a larger tensor alone."""
    group: list[str] = []
    size = 0
    for name, tensor in tensors.items():
        if group and size + _bytes(tensor) > most:
            yield group
            group, size = [], 0
        group.append(name)
        size += _bytes(tensor)
    yield group


def _require_space(folder: Path, need: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < need:
        raise ModelError(f"{folder} has {free / 1e9:.1f} GB free, the converted weights need {need / 1e9:.1f} GB; "
                         "make room or choose another folder")


def _write_shards(folder: Path, shards: list[list[str]], tensors: dict[str, StoredTensor],
                  on_shard: Callable[[int, int], None] | None) -> None:
    weight_map = {}
    for i, names in enumerate(shards, 1):
        file = f"{STEM}.safetensors" if len(shards) == 1 else f"{STEM}-{i:05d}-of-{len(shards):05d}.safetensors"
        values = {n: tensors[n].read().contiguous() for n in names}
        broken = sorted(n for n, v in values.items() if not torch.isfinite(v).all())
        if broken:
            raise ModelError(f"NaN or infinity in {listing(broken)}; the checkpoint is damaged"
                             " or overflows the chosen dtype: use bfloat16 or download it again")
        save_file(values, folder / file, metadata={"format": "pt"})
        weight_map.update(dict.fromkeys(names, file))
        del values
        if on_shard is not None:
            on_shard(i, len(shards))
    if len(shards) > 1:
        total = sum(map(_bytes, tensors.values()))
        index = {"metadata": {"total_size": total}, "weight_map": weight_map}
        (folder / f"{STEM}.safetensors.index.json").write_text(json.dumps(index, indent=1, sort_keys=True) + "\n")

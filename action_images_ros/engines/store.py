"""Built engines: where they are trusted, what they were built from and for, and who may use them.

An engine file is code: deserialising it runs what is in it. So it is loaded only from one directory that nobody but
its owner can write to, only when its bytes are those that its manifest names, and only for the model, GPU, driver and
library versions that it was built for.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import EngineError
from ..model.config import ModelConfig
from .manifest import config_sha256
from .options import EngineOptions, Precision

MANIFEST = "engine.json"
ENGINE_VERSION = 1
ROOT_VARIABLE = "ACTION_IMAGES_ENGINES"
LEAST_COSINE = 0.999
_SAMPLE = 1 << 20


@dataclass(frozen=True)
class Plan:
    """One engine file: frames of its video and action segments, name, sha256."""

    video_frames: int
    action_frames: int
    file: str
    sha256: str


@dataclass(frozen=True)
class EngineManifest:
    """model, config_sha256: what it was built from (`model_fingerprint`); built_for: GPU, driver and versions by name,
    a list where any of several serves; shapes: of the inputs, by plan; checks: cosine and drift against torch, empty
    until it was verified; timings: ms."""

    engine: str
    precision: str
    model: str
    config_sha256: str
    built_for: dict
    plans: tuple[Plan, ...]
    shapes: dict = field(default_factory=dict)
    checks: dict = field(default_factory=dict)
    timings: dict = field(default_factory=dict)
    format_version: int = ENGINE_VERSION

    def save(self, folder: Path) -> None:
        path = Path(folder) / MANIFEST
        path.write_text(json.dumps(dataclasses.asdict(self), indent=1) + "\n")

    @classmethod
    def load(cls, folder: Path) -> EngineManifest:
        """Raises EngineError where it is missing or not one of this version."""
        path = Path(folder) / MANIFEST
        try:
            raw = json.loads(path.read_text())
            if raw["format_version"] != ENGINE_VERSION:
                raise EngineError(f"{path} has format_version {raw['format_version']}; this version reads "
                                  f"{ENGINE_VERSION}: build the engine again")
            raw["plans"] = tuple(Plan(**plan) for plan in raw["plans"])
            manifest = cls(**raw)
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as e:
            raise EngineError(f"{path} is not a manifest of an engine ({e!r}); build the engine again") from e
        if not manifest.plans or any(Path(plan.file).name != plan.file for plan in manifest.plans):
            raise EngineError(f"{path} names no engine files, or some outside of its folder; build the engine again")
        return manifest


def trusted_root(options: EngineOptions) -> Path:
    """options.engine_dir, else the directory that ACTION_IMAGES_ENGINES names, else one in the user's home."""
    if options.engine_dir is not None:
        return Path(options.engine_dir)
    named = os.environ.get(ROOT_VARIABLE, "")
    return Path(named) if named else Path.home() / ".local" / "share" / "action_images_ros" / "engines"


def make_root(root: Path) -> None:
    """Create the directory for its owner alone. Raises EngineError where an existing one can not be trusted."""
    root.mkdir(parents=True, exist_ok=True, mode=0o700)
    require_trusted(root)


def require_trusted(path: Path) -> None:
    """Raise EngineError where somebody else than this user or root owns the path or can write to it."""
    found = path.stat()
    if found.st_uid not in (0, os.getuid()):
        raise EngineError(f"{path} belongs to user {found.st_uid}, not to you: an engine is code, and only your own or "
                          "root's is run. Build it into a directory of your own")
    if stat.S_IMODE(found.st_mode) & 0o022:
        raise EngineError(f"{path} can be written to by others: an engine is code. Take that away (chmod go-w {path}) "
                          "and build the engines in it again")


def folder_of(root: Path, model: str, engine: str, precision: Precision) -> Path:
    return root / model[:16] / f"{engine}-{precision.value}"


def read_plan(root: Path, folder: Path, plan: Plan) -> bytes:
    """The engine file's bytes. Raises EngineError where it lies outside of the trusted directory, others can change it,
    or it is not what the manifest names."""
    path = (Path(folder) / plan.file).resolve()
    if not path.is_relative_to(Path(root).resolve()):
        raise EngineError(f"{path} is outside of the trusted directory {root}; build the engine there")
    if not path.is_file():
        raise EngineError(f"{path} is missing; build the engine again")
    for part in (path, *path.parents):
        require_trusted(part)
        if part == Path(root).resolve():
            break
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != plan.sha256:
        raise EngineError(f"{path} was changed or damaged after it was built; build the engine again")
    return data


def require_match(manifest: EngineManifest, model: str, config: ModelConfig, machine: dict, remedy: str) -> None:
    """Raise EngineError unless the engine was built from this model, for this machine, and was verified."""
    faults = []
    if manifest.model != model:
        faults.append("it was built from other weights")
    if manifest.config_sha256 != config_sha256(config):
        faults.append("it was built for another config.json")
    for name, value in manifest.built_for.items():
        here = machine.get(name)
        if here not in value if isinstance(value, list) else here != value:
            wanted = " or ".join(map(str, value)) if isinstance(value, list) else value
            faults.append(f"it was built for {name} {wanted}, here is {here}")
    if faults:
        raise EngineError(f"the {manifest.engine} engine does not fit: {'; '.join(faults)}. It is never rebuilt by "
                          f"itself: {remedy}")
    cosine = manifest.checks.get("cosine")
    if cosine is None:
        raise EngineError(f"the {manifest.engine} engine was built but never verified on a GPU: {remedy} --verify-only")
    if not cosine >= LEAST_COSINE:
        raise EngineError(f"the {manifest.engine} engine differs from torch: cosine {cosine:.6f}, least "
                          f"{LEAST_COSINE}: {remedy} with a higher precision")


def model_fingerprint(directory: Path) -> str:
    """Identity of a model directory's weights: names, sizes, and the first and last MiB of every file (a whole hash of
    13 GB would delay every start; an engine carries its own copy of the weights)."""
    directory = Path(directory)
    files = sorted([*directory.glob("model.safetensors"), *(directory / "transformer").glob("*.safetensors")])
    if not files:
        raise EngineError(f"{directory} has no weights; give a whole model directory")
    digest = hashlib.sha256()
    for path in files:
        size = path.stat().st_size
        digest.update(f"{path.name} {size} ".encode())
        with path.open("rb") as file:
            digest.update(file.read(_SAMPLE))
            file.seek(max(0, size - _SAMPLE))
            digest.update(file.read(_SAMPLE))
    return digest.hexdigest()

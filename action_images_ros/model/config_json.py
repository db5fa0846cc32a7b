"""JSON objects into frozen dataclasses: every key known, every value of the kind that its field's default has."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, TypeVar

from ..errors import ActionImagesError, ModelError

Made = TypeVar("Made")
_KINDS = {int: "a whole number", float: "a finite number", str: "text", tuple: "a list", dict: "an object"}


def build(cls: type[Made], raw: object, where: str) -> Made:
    """`cls` from a parsed JSON object. where: file and key, for messages. Raises ModelError.

    Fields without a default are not supported; a tuple's elements have the kind of the default's first; of an
    empty default, text where the annotation says so, else int.
    """
    if not isinstance(raw, dict):
        raise ModelError(f"{where}: expected an object, got {type(raw).__name__}")
    defaults = {f.name: _default(f) for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    unknown = sorted(set(raw) - set(defaults))
    if unknown:
        raise ModelError(f"{where}: unknown key {', '.join(map(repr, unknown))}; legal: {', '.join(sorted(defaults))}")
    names = {f.name for f in dataclasses.fields(cls) if str(f.type).startswith("tuple[str")}  # type: ignore[arg-type]
    values = {key: _value(raw[key], defaults[key], f"{where}: {key}", "" if key in names else 0) for key in raw}
    try:
        return cls(**values)
    except ActionImagesError as e:
        raise ModelError(f"{where}: {e}") from e


def _default(field: dataclasses.Field) -> Any:
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()


def _value(raw: Any, default: Any, where: str, element: Any = 0) -> Any:
    if dataclasses.is_dataclass(default):
        return build(type(default), raw, where)
    if isinstance(default, tuple):
        if not isinstance(raw, list) or (default and _fixed(default) and len(raw) != len(default)):
            raise ModelError(f"{where} is {_shown(raw)}; expected a list like {list(default)}")
        return tuple(_value(x, default[0] if default else element, f"{where}[{k}]") for k, x in enumerate(raw))
    kind = type(default)
    fits = isinstance(raw, (int, float) if kind is float else kind) and not isinstance(raw, bool)
    if fits and isinstance(raw, (int, float)):
        fits = abs(raw) < 2**53 and math.isfinite(raw)  # what JSON numbers hold exactly
    if not fits:
        raise ModelError(f"{where} is {_shown(raw)}; expected {_KINDS[kind]}")
    return raw


def _fixed(default: tuple) -> bool:
    """Sizes have as many numbers as their default; lists of names any number."""
    return not isinstance(default[0], str)


def _shown(value: object) -> str:
    text = repr(value) if not isinstance(value, (dict, list)) else f"a {type(value).__name__} of {len(value)}"
    return text if len(text) <= 60 else f"{text[:57]}..."

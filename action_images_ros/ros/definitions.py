"""Message definitions as text, as recordings carry them: the .msg file, then those of every type that it uses."""

from __future__ import annotations

import importlib
import os
import re
import sys
from pathlib import Path
from typing import Any

_SEPARATOR = "=" * 80
_PRIMITIVE = re.compile(r"^(bool|byte|char|float(32|64)|u?int(8|16|32|64)|w?string(<=\d+)?)$")


def message_type(name: str) -> type | None:
    """The Python class of `package/msg/Type`; None where its package is not installed."""
    package, _, kind = name.partition("/msg/")
    try:
        return getattr(importlib.import_module(f"{package}.msg"), kind)
    except (ImportError, AttributeError):
        return None


def begins_with_header(kind: Any) -> bool:
    """Whether the first field of a message class is a std_msgs/Header."""
    fields = kind.get_fields_and_field_types()
    return next(iter(fields.values()), "") == "std_msgs/Header"


def definition(name: str) -> str:
    """In the encoding `ros2msg` of MCAP; "" where a definition file is not installed."""
    waiting, seen = [name], {name}
    parts: list[str] = []
    while waiting:
        current = waiting.pop(0)
        text = _text(current)
        if text is None:
            return ""
        parts.append(text if not parts else f"MSG: {current.replace('/msg/', '/')}\n{text}")
        for used in _used(text, current.split("/")[0]):
            if used not in seen:
                seen.add(used)
                waiting.append(used)
    return f"{_SEPARATOR}\n".join(p if p.endswith("\n") else p + "\n" for p in parts)


def _text(name: str) -> str | None:
    package, _, kind = name.partition("/msg/")
    for prefix in (*os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep), sys.prefix):
        path = Path(prefix) / "share" / package / "msg" / f"{kind}.msg"
        if prefix and path.is_file():
            return path.read_text(encoding="utf-8")
    return None


def _used(text: str, package: str) -> list[str]:
    """Types of other messages that a definition names."""
    found = []
    for line in text.splitlines():
        words = line.split("#", 1)[0].split()
        if len(words) < 2 or "=" in words[1]:
            continue
        kind = re.sub(r"\[[^\]]*\]$", "", words[0])
        if _PRIMITIVE.match(kind):
            continue
        owner, _, short = kind.rpartition("/")
        owner = owner.removesuffix("/msg") or ("std_msgs" if short == "Header" else package)
        found.append(f"{owner}/msg/{short}")
    return found

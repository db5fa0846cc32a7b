"""YAML documents that know where each value stands, so that an error can name the key and the line."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import yaml

from .errors import ConfigError


@dataclass(frozen=True)
class YamlNode:
    """A value of a YAML file read with the safe loader: `file`, 1-based `line`, dotted `key`, and the `value` itself.

    Every accessor raises ConfigError naming file, line, key, the bad value and what is legal.
    """

    file: str
    key: str
    line: int
    value: object

    def fail(self, problem: str) -> ConfigError:
        return ConfigError(f"{self.file}:{self.line}: {self.key or 'the file'}: {problem}")

    def mapping(self, required: Collection[str], optional: Collection[str] = ()) -> dict[str, YamlNode]:
        """The entries of a mapping that has all `required` keys and no key beyond `optional`."""
        entries = self.entries()
        legal = ", ".join([*required, *optional])
        for name, node in entries.items():
            if name not in required and name not in optional:
                raise node.fail(f"unknown key; legal here: {legal}")
        missing = [name for name in required if name not in entries]
        if missing:
            raise self.fail(
                f"missing {', '.join(missing)}; add {'it' if len(missing) == 1 else 'them'} (keys here: {legal})"
            )
        return entries

    def entries(self) -> dict[str, YamlNode]:
        """The entries of a mapping with any string keys."""
        if not isinstance(self.value, dict):
            raise self.fail(f"expected a mapping (key: value), got {_shown(self.value)}")
        return self.value

    def items(self) -> list[YamlNode]:
        if not isinstance(self.value, list):
            raise self.fail(f"expected a list [..], got {_shown(self.value)}")
        return self.value

    def text(self) -> str:
        if not isinstance(self.value, str) or not self.value.strip():
            raise self.fail(f"expected text, got {_shown(self.value)}; put quotes around it")
        return self.value

    def number(self, minimum: float = -math.inf, maximum: float = math.inf) -> float:
        """A finite number in [minimum, maximum]."""
        value = self.value
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise self.fail(f"expected a finite number, got {_shown(value)}")
        if not minimum <= value <= maximum:
            raise self.fail(f"{value} is out of range; legal: {minimum} to {maximum}")
        return float(value)

    def numbers(self, count: int) -> tuple[float, ...]:
        """A flat list of `count` finite numbers."""
        items = self.items()
        if len(items) != count:
            raise self.fail(f"expected {count} numbers, got {len(items)}")
        return tuple(item.number() for item in items)

    def triple(self) -> tuple[float, float, float]:
        """A flat list of 3 finite numbers."""
        x, y, z = self.numbers(3)
        return x, y, z


def load_yaml(path: str | Path) -> YamlNode:
    """The document of a YAML file. Raises ConfigError where it is missing, unreadable, not YAML or repeats a key."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path} does not exist; give the path of a YAML file") from None
    except (OSError, UnicodeDecodeError) as e:
        why = getattr(e, "strerror", "") or e
        raise ConfigError(f"{path} cannot be read: {why}; give the path of a YAML file") from e
    return parse_yaml(text, str(path))


def parse_yaml(text: str, file: str) -> YamlNode:
    """`load_yaml` for text that is already in memory; `file` is its name in messages."""
    loader = None
    try:
        loader = yaml.SafeLoader(text)
        root = loader.get_single_node()
        if root is None:
            raise ConfigError(f"{file} is empty; give a YAML file such as config/cell.yaml")
        return _read(loader, root, file, "")
    except yaml.MarkedYAMLError as e:
        line = e.problem_mark.line + 1 if e.problem_mark else 1
        raise ConfigError(f"{file}:{line}: not valid YAML: {e.problem or e.context}") from e
    except (yaml.YAMLError, ValueError, RecursionError) as e:
        raise ConfigError(f"{file} is not valid YAML: {' '.join(str(e).split())}") from e
    finally:
        if loader is not None:
            loader.dispose()


def _read(loader: yaml.SafeLoader, node: yaml.Node, file: str, key: str) -> YamlNode:
    line = node.start_mark.line + 1
    if isinstance(node, yaml.SequenceNode):
        value: object = [_read(loader, child, file, f"{key}[{i}]") for i, child in enumerate(node.value)]
    elif isinstance(node, yaml.MappingNode):
        children: dict[str, YamlNode] = {}
        for name_node, child in node.value:
            name = loader.construct_object(name_node, deep=True)
            if not isinstance(name, str):
                raise ConfigError(
                    f"{file}:{name_node.start_mark.line + 1}: {key or 'the file'}: key {name!r} is not text"
                )
            if name in children:
                raise ConfigError(
                    f"{file}:{name_node.start_mark.line + 1}: {key + '.' if key else ''}{name}: given twice; "
                    f"remove one (the first is on line {children[name].line})"
                )
            children[name] = _read(loader, child, file, f"{key}.{name}" if key else name)
        value = children
    else:
        value = loader.construct_object(node, deep=True)
    return YamlNode(file, key, line, value)


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    return "nothing" if value is None else repr(value)

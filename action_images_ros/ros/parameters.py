"""ROS parameters from frozen dataclasses: one declaration gives names, types, defaults, ranges and descriptions.

Nested dataclasses become dotted names. A field of type `float | None` is 0.0 on the ROS side when it is None.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ..errors import ActionImagesError, ConfigError

T = typing.TypeVar("T")
_SCALARS = (bool, int, float, str)


def parameter(
    default: Any,
    description: str,
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    choices: tuple[str, ...] = (),
    live: bool = False,
) -> Any:
    """A dataclass field that is a ROS parameter. Ranges apply to numbers, choices to text. live: it can be set while
    the node runs; the node then listens to it."""
    return dataclasses.field(
        default=default,
        metadata={"description": description, "minimum": minimum, "maximum": maximum, "choices": choices,
                  "live": live},  # fmt: skip
    )


@dataclass(frozen=True)
class ParameterSpec:
    """One declared parameter: dotted `name`, `kind` (bool, int, float, str), `default`, and what is legal."""

    name: str
    kind: type
    default: Any
    description: str
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    optional: bool = False
    live: bool = False

    def check(self, value: Any) -> None:
        """Raise ConfigError unless `value` is legal."""
        if self.kind is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if not isinstance(value, self.kind) or (self.kind is not bool and isinstance(value, bool)):
            raise ConfigError(f"parameter {self.name} is {value!r}; expected {self.kind.__name__}")
        if self.choices and value not in self.choices:
            raise ConfigError(f"parameter {self.name} is {value!r}; legal: {', '.join(self.choices)}")
        number: Any = value
        if (self.minimum is not None and number < self.minimum) or (self.maximum is not None and number > self.maximum):
            raise ConfigError(f"parameter {self.name} is {value}; legal: {self.minimum} to {self.maximum}")


def specs(cls: type) -> tuple[ParameterSpec, ...]:
    """Every parameter of a dataclass, nested ones with their dotted names."""
    return tuple(_walk(cls, ""))


def _walk(cls: type, prefix: str) -> Iterator[ParameterSpec]:
    hints = typing.get_type_hints(cls)
    for f in dataclasses.fields(cls):
        kind, optional = _plain_type(hints[f.name])
        if isinstance(kind, type) and dataclasses.is_dataclass(kind):
            yield from _walk(kind, f"{prefix}{f.name}.")
        elif kind in _SCALARS:
            factory: Any = f.default_factory
            default = f.default if f.default is not dataclasses.MISSING else factory()
            m = f.metadata
            yield ParameterSpec(
                f"{prefix}{f.name}",
                kind,
                kind() if default is None else default,
                m.get("description") or " ".join((cls.__doc__ or "").split()),
                m.get("minimum"),
                m.get("maximum"),
                m.get("choices", ()),
                optional,
                m.get("live", False),
            )


def _plain_type(hint: Any) -> tuple[Any, bool]:
    """`float | None` -> (float, True)."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        rest = [a for a in typing.get_args(hint) if a is not type(None)]
        return (rest[0] if len(rest) == 1 else hint), True
    return hint, False


def build(cls: type[T], values: dict[str, Any]) -> T:
    """An instance from values by dotted name; others keep their defaults. Raises ConfigError for an illegal one."""
    known = {s.name: s for s in specs(cls)}
    for name, value in values.items():
        if name not in known:
            raise ConfigError(f"unknown parameter {name!r}; legal: {', '.join(known)}")
        known[name].check(value)
    try:
        return _assemble(cls, values, known, "")
    except ConfigError:
        raise
    except ActionImagesError as e:
        raise ConfigError(str(e)) from e


def _assemble(cls: Any, values: dict[str, Any], known: dict[str, ParameterSpec], prefix: str) -> Any:
    hints = typing.get_type_hints(cls)
    given: dict[str, Any] = {}
    for f in dataclasses.fields(cls):
        name = f"{prefix}{f.name}"
        kind, _ = _plain_type(hints[f.name])
        if dataclasses.is_dataclass(kind):
            given[f.name] = _assemble(kind, values, known, f"{name}.")
        elif name in values:
            spec = known[name]
            value = spec.kind(values[name])
            given[f.name] = None if spec.optional and not value else value
    return cls(**given)


def declare(node, cls: type[T]) -> T:
    """Declare every parameter of `cls` on a node, and return the instance that its overrides make. Only live ones can
    be set later.

    Raises ConfigError naming the parameter for a wrong type or a value out of range.
    """
    from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
    from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException

    values = {}
    for spec in specs(cls):
        legal = f" Legal: {', '.join(spec.choices)}." if spec.choices else ""
        descriptor = ParameterDescriptor(
            description=spec.description + legal,
            read_only=not spec.live,
            additional_constraints=", ".join(spec.choices),
        )
        if spec.minimum is not None and spec.maximum is not None and spec.kind in (int, float):
            kind, field = (
                (FloatingPointRange, "floating_point_range") if spec.kind is float else (IntegerRange, "integer_range")
            )
            setattr(descriptor, field, [kind(from_value=spec.kind(spec.minimum), to_value=spec.kind(spec.maximum))])
        override = node._parameter_overrides.get(spec.name)
        if override is not None:
            spec.check(override.value)
        try:
            values[spec.name] = node.declare_parameter(spec.name, spec.default, descriptor).value
        except (InvalidParameterTypeException, InvalidParameterValueException) as e:
            raise ConfigError(f"parameter {spec.name}: {' '.join(str(e).split())}") from e
    return build(cls, values)


def require_known_overrides(node, cls: type) -> None:
    """Raise ConfigError for a parameter given by file or command line that the node does not have: a typing error."""
    known = {s.name for s in specs(cls)} | {"use_sim_time", "start_type_description_service"}
    unknown = [n for n in node._parameter_overrides if n not in known and not n.startswith("qos_overrides.")]
    if unknown:
        raise ConfigError(
            f"node {node.get_name()} has no parameter {', '.join(sorted(unknown))}; legal: {', '.join(sorted(known))}"
        )

"""One process of the graph as data, and the command line that starts it.

Command lines follow launch_ros: everything but name and namespace in a first `--ros-args` group.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import yaml

from ..errors import one_of
from .paths import config_file

PACKAGE = "action_images_ros"


@dataclass(frozen=True)
class NodeSpec:
    """One process. parameters override parameter_file; remappings from -> to; arguments: before any ROS argument.

    required: the whole graph ends when this node does. optional: skipped where its package is not installed.
    log_level: least severe message; "": rcl's default.
    """

    executable: str
    name: str
    package: str = PACKAGE
    namespace: str = ""
    parameter_file: Path | None = None
    parameters: Mapping[str, object] = field(default_factory=dict)
    remappings: Mapping[str, str] = field(default_factory=dict)
    arguments: tuple[str, ...] = ()
    lifecycle: bool = False
    respawn: bool = False
    required: bool = True
    optional: bool = False
    log_level: str = ""

    def ros_arguments(self) -> tuple[str, ...]:
        """What stands between the two `--ros-args`: parameters and remappings."""
        out: list[str] = []
        if self.parameter_file is not None:
            out += ["--params-file", str(self.parameter_file)]
        for name, value in self.parameters.items():
            out += ["-p", f"{name}:={_yaml_scalar(value)}"]
        for source, target in self.remappings.items():
            out += ["-r", f"{source}:={target}"]
        if self.log_level:
            out += ["--log-level", self.log_level]
        return tuple(out)

    def command_arguments(self) -> tuple[str, ...]:
        """Everything after the executable."""
        inner = self.ros_arguments()
        out = [*self.arguments, *(("--ros-args", *inner) if inner else ()), "--ros-args", "-r", f"__node:={self.name}"]
        if self.namespace:
            out += ["-r", f"__ns:={self.namespace}"]
        return tuple(out)


def _yaml_scalar(value: object) -> str:
    """A parameter value as rcl's YAML reads it back with the same type."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        text = repr(value)
        return text if "." in text or "n" in text else text.replace("e", ".0e") if "e" in text else text + ".0"
    if isinstance(value, int):
        return str(value)
    return str(value) if _reads_as_itself(str(value)) else "'" + str(value).replace("'", "''") + "'"


def _reads_as_itself(text: str) -> bool:
    """Whether plain YAML makes exactly this text of it."""
    try:
        return yaml.safe_load(text) == text
    except (yaml.YAMLError, ValueError):
        return False


def our_node(name: str, parameters: Mapping[str, object]) -> NodeSpec:
    """A node of this package, with its file in config/."""
    return NodeSpec(
        name, name, parameter_file=config_file(f"config/{name}.yaml"), parameters=parameters, lifecycle=True
    )


def with_parameters(graph: tuple[NodeSpec, ...], overrides: Mapping[str, Mapping[str, object]]) -> tuple[NodeSpec, ...]:
    """The graph with some parameters of some nodes (by node name) replaced. Raises ConfigError for an unknown node."""
    names = {n.name for n in graph}
    for name in overrides:
        one_of("node", name, names)
    return tuple(replace(n, parameters={**n.parameters, **overrides.get(n.name, {})}) for n in graph)


def with_log_level(nodes: Iterable[NodeSpec], level: str) -> tuple[NodeSpec, ...]:
    """Our own nodes at that level; rcl's default is info."""
    return tuple(replace(n, log_level=level) if level != "info" and n.package == PACKAGE else n for n in nodes)

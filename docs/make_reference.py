"""Writes docs/reference/: what nodes, launch files and commands take, from the code that takes it; and, with --policy,
config/sros2_policy.xml."""

from __future__ import annotations

import argparse
import importlib
import pkgutil
import sys
from collections.abc import Iterable
from pathlib import Path

from action_images_ros import cli, nodes
from action_images_ros.ros import sros2
from action_images_ros.ros.graph import GRAPHS
from action_images_ros.ros.interface import INTERFACE, Kind
from action_images_ros.ros.launch_arguments import Argument
from action_images_ros.ros.parameters import ParameterSpec, specs

OUT = Path(__file__).parent / "reference"


def main() -> None:
    if "--policy" in sys.argv[1:]:
        (OUT.parents[1] / "config/sros2_policy.xml").write_text(sros2.policy(), encoding="utf-8")
    OUT.mkdir(exist_ok=True)
    pages = {"parameters.md": parameters(), "launch.md": launch(), "commands.md": commands(),
             "interface.md": interface()}
    for name, text in pages.items():
        (OUT / name).write_text(text, encoding="utf-8")


def parameters() -> str:
    """Every node's parameters, from the dataclass that declares them."""
    out = ["# Parameters\n\nAll are read once, when a node is configured. A name or a value that is not legal stops "
           "the node with one line that says so.\n"]
    for name in node_names():
        module = importlib.import_module(f"{nodes.__name__}.{name}")
        for declared in (v for k, v in vars(module).items() if k.endswith("Parameters")):
            if declared.__module__ != module.__name__:
                continue
            out.append(f"\n## {name}\n\n{first_paragraph(module.__doc__)}\n\n"
                       + _table(("name", "type", "default", "legal", "meaning"), map(parameter_row, specs(declared))))
    return "".join(out)


def node_names() -> list[str]:
    return sorted(m.name for m in pkgutil.iter_modules(nodes.__path__) if not m.name.startswith("_"))


def parameter_row(spec: ParameterSpec) -> tuple[str, ...]:
    legal = ", ".join(f"`{c}`" for c in spec.choices)
    if spec.minimum is not None or spec.maximum is not None:
        legal = f"{'' if spec.minimum is None else spec.minimum} … {'' if spec.maximum is None else spec.maximum}"
    return f"`{spec.name}`", spec.kind.__name__, f"`{spec.default!r}`", legal, spec.description


def interface() -> str:
    """Topics and services."""
    out = ["# ROS interface\n\nNames are relative to the graph's namespace and can be remapped; those that begin with "
           "a slash are not relative.\n"]
    for kind, head in ((Kind.TOPIC, ("topic", "type", "from", "to", "meaning")),
                       (Kind.SERVICE, ("service", "type", "served by", "called by", "meaning"))):
        rows = [(f"`{e.name}`", e.type_name, ", ".join(e.from_), ", ".join(e.to),
                 e.meaning + (f" (where {e.when})" if e.when else "")) for e in INTERFACE if e.kind is kind]
        out.append(f"\n## {head[0].capitalize()}s\n\n" + _table(head, rows))
    return "".join(out)


def launch() -> str:
    """The arguments of every launch file, which are those of `action-images up` too."""
    out = ["# Launch files\n\n`ros2 launch action_images_ros FILE name:=value ...` and, without ros2 launch, "
           "`action-images up GRAPH name:=value ...` start the same processes.\n"]
    for name, (arguments, build) in GRAPHS.items():
        rows = [argument_row(a) for a in arguments]
        out.append(f"\n## {name}\n\n{first_paragraph(build.__doc__)}\n\n"
                   + _table(("argument", "default", "legal", "meaning"), rows))
    return "".join(out)


def argument_row(argument: Argument) -> tuple[str, ...]:
    return (f"`{argument.name}`", f"`{argument.default}`" if argument.default else "",
            ", ".join(f"`{c}`" for c in argument.choices), argument.description)


def commands() -> str:
    """The help of every subcommand."""
    out = ["# Commands\n\nIn a checkout, `./run cli SUBCOMMAND ...` is `action-images SUBCOMMAND ...`.\n"]
    for name, summary in cli.subcommands().items():
        module = importlib.import_module(f"{cli.__name__}.{name}")
        parser = argparse.ArgumentParser(prog=f"action-images {name}", description=summary, add_help=False,
                                         formatter_class=lambda prog: argparse.HelpFormatter(prog, width=110))
        module.add_arguments(parser)
        out.append(f"\n## {name}\n\n```text\n{parser.format_help()}```\n")
    return "".join(out)


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *(tuple(c.replace("|", "\\|").replace("\n", " ") for c in r) for r in rows)]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def first_paragraph(text: str | None) -> str:
    return " ".join((text or "").strip().split("\n\n")[0].split())


if __name__ == "__main__":
    main()

"""`action-images bench NAME`: measure one part. Every benchmark prints a table and says what it is measured against."""

from __future__ import annotations

import argparse
import ast
import importlib
import pkgutil
from pathlib import Path

from .. import bench


def add_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_subparsers(dest="benchmark", required=True, metavar="NAME")
    for name, summary in benchmarks().items():
        chosen = group.add_parser(name, help=summary, description=summary)
        importlib.import_module(f"{bench.__name__}.{name}").add_arguments(chosen)


def run(args: argparse.Namespace) -> int:
    return importlib.import_module(f"{bench.__name__}.{args.benchmark}").run(args)


def benchmarks() -> dict[str, str]:
    """Name -> first line of the docstring, of every module of bench/ that takes arguments (the others are parts)."""
    found = {}
    for folder in bench.__path__:
        for module in pkgutil.iter_modules([folder]):
            tree = ast.parse((Path(folder) / f"{module.name}.py").read_text(encoding="utf-8"))
            if any(isinstance(node, ast.FunctionDef) and node.name == "add_arguments" for node in tree.body):
                found[module.name] = (ast.get_docstring(tree) or module.name).splitlines()[0]
    return found

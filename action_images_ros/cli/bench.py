"""`action-images bench NAME`: measure one part. Every benchmark prints a table and says what it is measured against."""

from __future__ import annotations

import argparse
import ast
import importlib
import pkgutil
from pathlib import Path

from .. import bench
from . import OneLineParser


def add_arguments(parser: argparse.ArgumentParser) -> None:
    found = benchmarks()
    parser.epilog = "benchmarks:\n" + "\n".join(f"  {name:12} {summary}" for name, summary in found.items())
    parser.add_argument("benchmark", metavar="NAME", choices=found, help="one of those below")
    parser.add_argument("arguments", metavar="...", nargs=argparse.REMAINDER,
                        help="its own arguments (action-images bench NAME --help)")


def run(args: argparse.Namespace) -> int:
    module = importlib.import_module(f"{bench.__name__}.{args.benchmark}")
    parser = OneLineParser(prog=f"action-images bench {args.benchmark}", description=module.__doc__,
                           formatter_class=argparse.RawDescriptionHelpFormatter)
    module.add_arguments(parser)
    return module.run(parser.parse_args(args.arguments))


def benchmarks() -> dict[str, str]:
    """Name -> first line of the docstring, of every module of bench/ that takes arguments (the others are parts)."""
    found = {}
    for folder in bench.__path__:
        for module in pkgutil.iter_modules([folder]):
            tree = ast.parse((Path(folder) / f"{module.name}.py").read_text(encoding="utf-8"))
            if any(isinstance(node, ast.FunctionDef) and node.name == "add_arguments" for node in tree.body):
                found[module.name] = (ast.get_docstring(tree) or module.name).splitlines()[0]
    return found

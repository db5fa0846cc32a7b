"""Start a graph of nodes without `ros2 launch`.

The same graphs, arguments and command lines as the launch files: `action-images up policy sim:=true` is
`ros2 launch action_images_ros franka_policy.launch.py sim:=true`. Ends on Ctrl-C, or when a node ends.
"""

from __future__ import annotations

import argparse
import shlex
import signal
import time
from pathlib import Path

from ..errors import ConfigError

_POLL_S = 0.2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("words", nargs="+", metavar="GRAPH [NAME:=VALUE ...]", help="policy or sim_cell, and arguments")
    parser.add_argument("--show-args", action="store_true", help="list the graph's arguments and end")
    parser.add_argument("--print", action="store_true", dest="print_only", help="print the command lines and end")
    parser.add_argument("--log-dir", type=Path, help="where each node's output goes (default: runs/<time>/log)")


def run(args: argparse.Namespace) -> int:
    from ..errors import one_of
    from ..ros.graph import GRAPHS
    from ..ros.runner import GraphRunner, command_line

    name, *words = args.words
    one_of("graph", name, GRAPHS)
    arguments, build = GRAPHS[name]
    if args.show_args:
        for a in arguments:
            legal = f" Legal: {', '.join(a.choices)}." if a.choices else ""
            print(f"{a.name}:={a.default or chr(39) * 2}\n    {a.description}.{legal}")
        return 0
    given = _read(words)
    if args.log_level is not None and any(a.name == "log_level" for a in arguments):
        given.setdefault("log_level", {"warning": "warn"}.get(args.log_level, args.log_level))
    graph = build(given)
    if args.print_only:
        for node in graph:
            print(
                shlex.join(command_line(node)) if not node.optional else f"# optional: {node.package} {node.executable}"
            )
        return 0
    log_dir = args.log_dir or Path("runs") / time.strftime("%Y%m%d-%H%M%S") / "log"
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    show = given.get("console") == "log"
    with GraphRunner(graph, log_dir, on_line=_print_line if show else _print_notable) as runner:
        for name in runner.left_out:
            print(f"{name} is left out: its package is not installed", flush=True)
        print(f"{len(graph) - len(runner.left_out)} nodes started; logs in {log_dir}; Ctrl-C ends them", flush=True)
        while (ended := runner.poll()) is None:
            time.sleep(_POLL_S)
    print(f"{ended.name} ended with status {ended.status}: {ended.last_line}", flush=True)
    return ended.status


def _read(words: list[str]) -> dict[str, str]:
    """NAME:=VALUE words. Raises ConfigError for a word that is none, or a name that comes twice."""
    given: dict[str, str] = {}
    for word in words:
        name, mark, value = word.partition(":=")
        if not mark or not name:
            raise ConfigError(f"{word!r} is no argument; write name:=value")
        if name in given:
            raise ConfigError(f"argument {name} is given twice")
        given[name] = value
    return given


def _print_line(name: str, line: str) -> None:
    print(f"[{name}] {line}", flush=True)


def _print_notable(name: str, line: str) -> None:
    """What an operator must see: warnings and errors."""
    if any(word in line for word in ("[WARN]", "[ERROR]", "[FATAL]", "error:")):
        _print_line(name, line)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt

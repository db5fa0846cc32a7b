"""`action-images`: one module a subcommand, looked up when it is asked for.

A subcommand module has `add_arguments(parser)` and `run(args) -> int`, the exit status. What a user, a file or a
device does wrong is an ActionImagesError: one line on stderr and exit status 2.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import logging
import os
import sys
from typing import NoReturn

from .. import __version__
from ..errors import ActionImagesError

SUBCOMMANDS = {
    "doctor": "check this machine and say how to mend what is missing",
    "demo": "run the whole graph on the simulated cell and judge the outcome",
    "up": "start a graph of nodes without ros2 launch",
    "call": "call a service of the running graph, or say a text on a topic",
    "sim": "the simulated cell without ROS: collect expert episodes",
    "eval": "success rates of a model in the simulated cell, in lockstep",
    "generate": "action images and video from images, without a robot",
    "label": "action images for a video that carries no actions",
    "calibrate": "intrinsics and camera poses",
    "record": "record the running graph",
    "view": "look at a recorded episode in rerun",
    "dataset": "audit and convert recordings",
    "train": "train or fine-tune a model",
    "export": "export a model's graph, so that it runs without torch",
    "convert": "import released weights",
    "compile": "build a model's inference engine",
    "bench": "measure one part and print a table",
}
"""Legal names and what they do, in the order of the help; one is offered where its module exists."""

LOG_LEVELS = ("debug", "info", "warning", "error")
BAD_INPUT = 2
INTERRUPTED = 130


class OneLineParser(argparse.ArgumentParser):
    """Bad usage is one line on stderr that names the help, and exit status 2."""

    def error(self, message: str) -> NoReturn:
        self.exit(BAD_INPUT, f"{self.prog}: error: {message} (see {self.prog} --help)\n")


def subcommands() -> dict[str, str]:
    """Name -> summary of the subcommands that this installation has."""
    return {name: summary for name, summary in SUBCOMMANDS.items() if importlib.util.find_spec(f"{__name__}.{name}")}


def main(argv: list[str] | None = None) -> int:
    """Entry point: runs one subcommand and returns its exit status."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    try:
        try:
            return _dispatch(arguments)
        finally:
            sys.stdout.flush()  # a reader that is gone is noticed here, not by the interpreter at exit
    except ActionImagesError as error:
        message = " ".join(str(error).split())
        print(f"action-images: error: {message}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        print("action-images: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # the reader of our output is gone; keep the interpreter from flushing into it at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        if error.filename is None:
            raise
        logging.getLogger(__name__).debug("where", exc_info=True)
        print(f"action-images: error: {error.filename}: {error.strerror}; name another path", file=sys.stderr)
        return BAD_INPUT


def _dispatch(arguments: list[str]) -> int:
    parser, subparsers = _root_parser()
    name = _asked_for(parser, arguments)
    if name is not None:
        module = importlib.import_module(f"{__name__}.{name}")
        subparser = subparsers[name]
        subparser.description = (module.__doc__ or SUBCOMMANDS[name]).strip()
        _add_log_level(subparser, argparse.SUPPRESS)
        module.add_arguments(subparser)
    args = parser.parse_args(arguments)
    level = (args.log_level or "warning").upper()
    logging.basicConfig(level=level, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    return importlib.import_module(f"{__name__}.{args.subcommand}").run(args)


def _root_parser() -> tuple[OneLineParser, dict[str, OneLineParser]]:
    parser = OneLineParser(prog="action-images", description="Action Images on a Franka arm, as ROS 2 nodes.")
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    _add_log_level(parser, None)
    group = parser.add_subparsers(dest="subcommand", required=True, metavar="SUBCOMMAND", parser_class=OneLineParser)
    raw = argparse.RawDescriptionHelpFormatter
    found = subcommands()
    return parser, {name: group.add_parser(name, help=found[name], formatter_class=raw) for name in found}


def _add_log_level(parser: argparse.ArgumentParser, default: str | None) -> None:
    parser.add_argument(
        "--log-level", choices=LOG_LEVELS, default=default, help="least severe message shown (warning; of nodes info)"
    )


def _asked_for(parser: OneLineParser, arguments: list[str]) -> str | None:
    """The subcommand that the arguments name, without parsing what belongs to it."""
    skip = False
    for word in arguments:
        if skip or word.startswith("-"):
            skip = not skip and word == "--log-level"
        elif word in SUBCOMMANDS:
            if not importlib.util.find_spec(f"{__name__}.{word}"):
                parser.error(f"{word} is not part of this version; there are {', '.join(subcommands())}")
            return word
        else:
            return None
    return None

"""Record the running graph: cameras, joints, commands, targets, action images, instruction, marks.

  action-images record --cell cell.yaml --out recordings       keys (or words on stdin): see below
  action-images record --expert 50 --out recordings            the simulated cell's expert, an episode a recording
  action-images record --repair recordings/20260526-143000     mend a recording that was cut off
  action-images record --audit recordings/20260526-143000      rates, gaps, ages, lost messages of a recording

Keys: space start/stop, s success and stop, f failure and stop, d discard, q quit; who moves the arm from now on:
h a human (guiding it, correcting the policy), t a teleoperation, p the policy again. Where stdin is no terminal: one
word a line (start, stop, success, failure, discard, note TEXT, control WHO, quit).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import select
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from ..errors import ActionImagesError
from . import expert_recording

_KEYS = {" ": ("toggle",), "s": ("success", "stop"), "f": ("failure", "stop"), "d": ("discard",), "q": ("quit",),
         "h": ("control human",), "t": ("control teleoperation",), "p": ("control policy",)}  # fmt: skip
_START_S = 30.0
_STATUS_S = 1.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    expert_recording.add_arguments(parser)
    parser.add_argument("--cell", default="", help="cell file (default: config/cell.yaml of the package)")
    parser.add_argument("--out", type=Path, default=Path("recordings"), help="where recordings go (%(default)s)")
    parser.add_argument("--calibration", default="", help="calibration file to put into every bag")
    parser.add_argument("--model", default="", help="model directory whose hash is noted in every bag")
    parser.add_argument("--images", choices=["raw", "jpeg", "h264", "h265"], default="raw",
                        help="camera images as CompressedImage (%(default)s)")  # fmt: skip
    parser.add_argument("--pre-roll", type=float, default=2.0, metavar="S", help="seconds before (%(default)s)")
    parser.add_argument("--topics", default="", help="more topics, separated by commas")
    parser.add_argument("--pattern", default="", help="regular expression of more topics; .* is all")
    parser.add_argument("--start", action="store_true", help="begin as soon as every camera and the arm are heard")
    parser.add_argument("--log-dir", type=Path, help="where the recorder's output goes (default: OUT/log)")
    parser.add_argument("--repair", type=Path, nargs="+", metavar="BAG", help="mend recordings, then end")
    parser.add_argument("--audit", type=Path, metavar="BAG", help="print the streams of a recording, then end")
    parser.add_argument("--json", action="store_true", help="of --repair and --audit: JSON instead of text")


def run(args: argparse.Namespace) -> int:
    if args.repair:
        return _repair(args)
    if args.audit:
        return _audit(args)
    return expert_recording.record_expert(args) if args.expert else _record(args)


def _repair(args: argparse.Namespace) -> int:
    from dataclasses import asdict

    from ..recording.repair import repair

    status, found = 0, []
    for bag in args.repair:
        try:
            result = repair(bag)
        except ActionImagesError as error:
            print(f"action-images: error: {error}", file=sys.stderr)
            status = 2
            continue
        found.append({"bag": str(bag), **asdict(result)})
        if not args.json:
            did = "mended" if result.changed else "was whole"
            print(f"{bag}: {did}; {result.messages} messages, {result.recovered} of them out of the torn end, "
                  f"{result.lost_bytes} bytes and {result.broken_chunks} damaged chunks lost")  # fmt: skip
    if args.json:
        print(json.dumps(found, indent=1))
    return status


def _audit(args: argparse.Namespace) -> int:
    from ..recording.bag import Bag
    from ..recording.bag_audit import audit_bag, audit_table

    with Bag(args.audit) as bag:
        result = audit_bag(bag)
    print(json.dumps(result, indent=1) if args.json else audit_table(result))
    return 0


def _record(args: argparse.Namespace) -> int:
    from ..ros.graph import record_graph
    from ..ros.operator import Operator
    from ..ros.runner import GraphRunner, graph_environment

    given = {
        "cell": args.cell, "out": str(args.out), "calibration": args.calibration, "model": args.model,
        "images": args.images, "pre_roll_s": str(args.pre_roll), "topics": args.topics, "pattern": args.pattern,
        "record_at_start": "true" if args.start else "false",
    }  # fmt: skip
    os.environ.update(graph_environment())
    with (
        GraphRunner(record_graph(given), args.log_dir or args.out / "log", _show) as runner,
        Operator("record_keys", on_wait=runner.require_running) as operator,
        _keys() as words,
    ):
        operator.until(lambda: operator.active("recorder: record"), "the recorder to become active", _START_S)
        print(__doc__.strip().split("\n\n")[-1] if sys.stdin.isatty() else "ready", flush=True)
        shown_s = time.monotonic()
        for word in words:
            if word == "quit":
                break
            if word.startswith(("note ", "control ")):
                operator.say("recorder/command", word)
                print(word, flush=True)
            elif word:
                _do(operator, word)
            operator.spin_for(0.05)
            if sys.stdout.isatty() and time.monotonic() - shown_s > _STATUS_S:
                shown_s = time.monotonic()
                _status(operator)
    return 0


def _do(operator, command: str) -> None:
    from ..errors import DatasetError, one_of

    if command == "toggle":
        command = "stop" if _value(operator, "recording") == "True" else "start"
    try:
        one_of("command", command, ("start", "stop", "discard", "success", "failure"), DatasetError)
    except DatasetError as error:
        print(error, flush=True)
        return
    answer = operator.trigger(f"recorder/{command}")
    print(f"{command}: {answer.message}" if answer.ok else f"{command} refused: {answer.message}", flush=True)


def _value(operator, key: str) -> str:
    return operator.diagnostics.get("recorder: record", {}).get(key, "")


def _status(operator) -> None:
    d = operator.diagnostics.get("recorder: record", {})
    print(f"\r\x1b[K{d.get('message', '')}  {int(d.get('bytes', 0)) / 1e6:.0f} MB", end="", flush=True)


def _show(name: str, line: str) -> None:
    """What the operator must see at once."""
    if any(word in line for word in ("[WARN]", "[ERROR]", "error:", "recording ended")):
        print(f"[{name}] {line}", flush=True)


@contextlib.contextmanager
def _keys() -> Iterator[Iterator[str]]:
    """Commands as they are typed; "" where there is none at the moment."""
    if not sys.stdin.isatty():
        yield _lines()
        return
    import termios
    import tty

    fd = sys.stdin.fileno()
    before = termios.tcgetattr(fd)
    try:
        tty.setcbreak(fd)
        yield _typed()
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, before)


def _typed() -> Iterator[str]:
    fd, waiting = sys.stdin.fileno(), b""  # not sys.stdin.read: what that reads ahead, select does not see
    while True:
        if not waiting and select.select([fd], [], [], 0.0)[0]:
            waiting = os.read(fd, 64)
        key, waiting = waiting[:1], waiting[1:]
        yield from _KEYS.get(key.decode("ascii", "replace").lower(), ("",))


def _lines() -> Iterator[str]:
    """Words of a pipe; at its end the recording goes on until the process is told to end."""
    fd, waiting, open_ = sys.stdin.fileno(), b"", True
    while True:
        if open_ and select.select([fd], [], [], 0.0)[0]:
            data = os.read(fd, 4096)
            open_, waiting = bool(data), waiting + data
            while b"\n" in waiting:
                line, _, waiting = waiting.partition(b"\n")
                yield line.decode(errors="replace").strip()
        yield ""

"""Demonstrations of the scripted expert in the simulated cell: one recording an episode, through the nodes of a real
cell. Part of `action-images record --expert`."""

from __future__ import annotations

import argparse
import json
from functools import partial
from pathlib import Path

from ..errors import TransportError

_START_S = 120.0
_ENABLE_S = 30.0
_SLACK_S = 20.0
_REPORTS = ("sim_cell: cell", "controller: control", "expert: show", "recorder: record")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--expert", type=int, metavar="N", help="N episodes of the simulated cell's expert, then end")
    parser.add_argument("--task", default="reach_target", help="of --expert (%(default)s)")
    parser.add_argument("--split", default="train", choices=["train", "test"], help="of --expert (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of --expert (%(default)s)")
    parser.add_argument("--speed", type=float, default=1.0, help="of --expert: playback speed (%(default)s)")
    parser.add_argument("--timeout", type=float, default=40.0, help="of --expert: seconds of an episode (%(default)s)")


def record_expert(args: argparse.Namespace) -> int:
    """0 where every episode was recorded, whatever its verdict."""
    from ..ros.graph import demonstration_graph, with_parameters
    from ..ros.operator import Operator
    from ..ros.runner import GraphRunner, separate_graph

    separate_graph()
    given = {"cell": args.cell, "out": str(args.out), "task": args.task, "split": args.split, "seed": str(args.seed),
             "speed_factor": str(args.speed), "images": args.images}  # fmt: skip
    graph = with_parameters(demonstration_graph(given), {"sim_cell": {"timeout_s": args.timeout}})
    won = 0
    with (
        GraphRunner(graph, args.log_dir or args.out / "log") as runner,
        Operator("demonstrator", on_wait=runner.require_running) as operator,
    ):
        for report in _REPORTS:
            operator.until(partial(operator.active, report), f"{report.split(':')[0]} to become active", _START_S)
        operator.until(lambda: _all_heard(operator), "every camera and the arm to be heard", _START_S)
        for k in range(args.expert):
            outcome, directory = _episode(operator, args.timeout)
            won += outcome == "success"
            print(f"{k + 1}/{args.expert} {directory}: {outcome}", flush=True)
    print(f"{args.out}: {args.expert} recordings, {won} successes")
    return 0


def _all_heard(operator) -> bool:
    """No required stream is missing any more."""
    message = operator.diagnostics.get("recorder: record", {}).get("message", "missing")
    return "nobody publishes" not in message and "nothing has come" not in message and "missing" not in message


def _episode(operator, timeout_s: float) -> tuple[str, str]:
    """Outcome and directory of one episode."""
    operator.trigger("stop")
    answer = operator.trigger("sim_cell/reset_scene")
    if not answer.ok:
        raise TransportError(f"the cell has no next scene: {answer.message}")
    scene = json.loads(answer.message)
    operator.instruct(scene["instruction"])
    operator.spin_for(1.0)  # the controller and the recorder have seen the new scene
    directory = json.loads(_must(operator, "recorder/start"))["directory"]
    _enable(operator)
    episode = scene["episode"]

    def decided() -> bool:
        v = operator.verdict
        return v is not None and v.episode == episode and v.outcome != "pending"

    operator.until(decided, f"the verdict of episode {episode}", 5 * timeout_s + _SLACK_S)
    operator.spin_for(0.5)
    _must(operator, f"recorder/{operator.verdict.outcome}")
    _must(operator, "recorder/stop")
    return operator.verdict.outcome, str(Path(directory))


def _must(operator, service: str) -> str:
    answer = operator.trigger(service)
    if not answer.ok:
        raise TransportError(f"{service}: {answer.message}")
    return answer.message


def _enable(operator) -> None:
    """Once the controller has joint states; a fault of a busy machine is reset."""

    def enabled() -> bool:
        answer = operator.enable()
        if not answer.ok and "fault" in answer.message:
            operator.trigger("reset")
        return answer.ok

    operator.until(enabled, "the controller to be enabled", _ENABLE_S)

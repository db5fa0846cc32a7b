"""Call a service of the running graph, or say a text on one of its topics, without a ROS installation.

  action-images call enable true                     ros2 service call /enable std_srvs/srv/SetBool "{data: true}"
  action-images call stop
  action-images call calibrator/save
  action-images call instruction "reach the red ball"
  action-images call control_source human

Exit status 0 where the graph says that it is done, else 1.
"""

from __future__ import annotations

import argparse
import sys

from ..errors import ConfigError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", help="of a service or a text topic (docs/reference/interface.md)")
    parser.add_argument("value", nargs="?", help="true or false, or the text")


def run(args: argparse.Namespace) -> int:
    from ..errors import one_of
    from ..ros.interface import INTERFACE, OPERATOR, Kind
    from ..ros.operator import Operator

    name = args.name.lstrip("/")
    kinds: dict[str, str] = {}
    for e in INTERFACE:
        if OPERATOR in (e.to if e.kind is Kind.SERVICE else e.from_ if e.type_name.endswith("/String") else ()):
            kinds[e.name] = e.type_name.rsplit("/", 1)[1]
    one_of("name", name, kinds)
    if (kinds[name] == "Trigger") != (args.value is None):
        takes = {"Trigger": "no value", "SetBool": "true or false"}.get(kinds[name], "a text")
        raise ConfigError(f"{name} takes {takes}")
    if kinds[name] == "SetBool":
        one_of("value", args.value, ("true", "false"))
    with Operator("call") as operator:
        if kinds[name] == "String":
            operator.tell(name, args.value)
            return 0
        answer = operator.trigger(name) if args.value is None else operator.switch(name, args.value == "true")
    print(answer.message or ("done" if answer.ok else "refused"), file=sys.stdout if answer.ok else sys.stderr)
    return 0 if answer.ok else 1

"""What the buttons of a page do: services of the graph, called from any thread, and the instruction."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Protocol

from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import DescribeParameters, GetParameters, SetParameters
from std_msgs.msg import String
from std_srvs.srv import SetBool, Trigger

from . import qos

_ANSWER_S = 3.0
_SPEED = "speed_factor"
_NEXT_SCENE = "sim_cell/reset_scene"
_IN_CONTROL = ("policy", "human", "teleoperation")
_HEARD = ("instruct", "in_control")  # noted when the graph's topic says them


class Audience(Protocol):
    """Who is told what was done and what the graph offers."""

    def note(self, kind: str, text: str, now_ns: int) -> None: ...
    def on_offers(self, names: list[str]) -> None: ...
    def on_speed(self, value: float | None, settable: bool, minimum: float, maximum: float) -> None: ...


class Remote:
    """node: whose executor spins in another thread than those that call `do`.

    controller: the name of its node, for its parameter speed_factor.
    """

    def __init__(self, node, audience: Audience, controller: str = "controller") -> None:
        self._node, self._audience = node, audience
        self._instruction = node.create_publisher(String, "instruction", qos.LATCHED)
        self._source = node.create_publisher(String, "control_source", qos.LATCHED)
        self._enable = node.create_client(SetBool, "enable")
        names = ("stop", "reset", _NEXT_SCENE, *RECORDER.values())
        self._triggers = {name: node.create_client(Trigger, name) for name in names}
        self._describe = node.create_client(DescribeParameters, f"{controller}/describe_parameters")
        self._get = node.create_client(GetParameters, f"{controller}/get_parameters")
        self._set = node.create_client(SetParameters, f"{controller}/set_parameters")
        self._settable, self._range, self._known = False, (0.01, 1.0), False

    def do(self, name: str, value: object = None) -> tuple[bool, str]:
        """enable, disable, stop, reset, instruct (text), speed (number), record, end_record, success, failure, discard,
        in_control (policy, human, teleoperation), next_scene.

        Done or not, and what the graph said. Waits for the answer; never call it from the node's executor.
        """
        ok, message = self._do(name, value)
        now_ns = self._node.get_clock().now().nanoseconds
        if not ok or name not in _HEARD:
            said = message or ("done" if ok else "not done")
            self._audience.note("info" if ok else "error", f"{name}: {said}", now_ns)
        self._node.get_logger().info(f"operator: {name}: {message or ok}")
        return ok, message

    def _do(self, name: str, value: object) -> tuple[bool, str]:
        if name in ("enable", "disable"):
            return self._call(self._enable, SetBool.Request(data=name == "enable"), _said)
        if name in ("stop", "reset"):
            return self._call(self._triggers[name], Trigger.Request(), _said)
        if name == "next_scene":
            return self._call(self._triggers[_NEXT_SCENE], Trigger.Request(), _said)
        if name in RECORDER:
            return self._call(self._triggers[RECORDER[name]], Trigger.Request(), _said)
        if name == "instruct" and isinstance(value, str):
            text = " ".join(value.split())[:400]
            self._instruction.publish(String(data=text))
            return True, text or "no instruction"
        if name == "in_control" and value in _IN_CONTROL:
            self._source.publish(String(data=str(value)))
            return True, str(value)
        if name == "speed" and isinstance(value, (int, float)) and not isinstance(value, bool):
            return self._speed(float(value))
        return False, f"{name!r} is nothing that this console can do"

    def _speed(self, value: float) -> tuple[bool, str]:
        if not self._settable:
            return False, "this controller takes its speed only when it starts: speed_factor:=VALUE"
        number = ParameterValue(type=ParameterType.PARAMETER_DOUBLE, double_value=value)
        request = SetParameters.Request(parameters=[Parameter(name=_SPEED, value=number)])
        ok, message = self._call(
            self._set, request, lambda r: (r.results[0].successful, r.results[0].reason or f"{value:g}")
        )
        if ok:
            self._audience.on_speed(value, True, *self._range)
        return ok, message

    def look_around(self) -> None:
        """Ask what the graph offers, without waiting: recorder, speed. For a timer of the node."""
        offered = [name for name, service in RECORDER.items() if self._triggers[service].service_is_ready()]
        offered += ["next_scene"] if self._triggers[_NEXT_SCENE].service_is_ready() else []
        self._audience.on_offers(offered)
        if not self._known and self._describe.service_is_ready():
            self._describe.call_async(DescribeParameters.Request(names=[_SPEED])).add_done_callback(self._described)
        if self._get.service_is_ready():
            self._get.call_async(GetParameters.Request(names=[_SPEED])).add_done_callback(self._got)

    def _described(self, future) -> None:
        for d in getattr(future.result(), "descriptors", []):
            self._settable, self._known = not d.read_only, True
            if d.floating_point_range:
                self._range = (d.floating_point_range[0].from_value, d.floating_point_range[0].to_value)

    def _got(self, future) -> None:
        for v in getattr(future.result(), "values", []):
            if v.type == ParameterType.PARAMETER_DOUBLE:
                self._audience.on_speed(v.double_value, self._settable, *self._range)

    def _call(self, client, request: object, read: Callable[[Any], tuple[bool, str]]) -> tuple[bool, str]:
        if not client.service_is_ready():
            return False, f"nobody offers the service {client.srv_name}"
        done = threading.Event()
        future = client.call_async(request)
        future.add_done_callback(lambda _: done.set())
        if not done.wait(_ANSWER_S) or future.result() is None:
            client.remove_pending_request(future)
            return False, f"{client.srv_name} did not answer within {_ANSWER_S:g} s"
        return read(future.result())


RECORDER = {
    "record": "recorder/start",
    "end_record": "recorder/stop",
    "success": "recorder/success",
    "failure": "recorder/failure",
    "discard": "recorder/discard",
}
"""What the console calls it -> service of the recorder (std_srvs/Trigger)."""


def _said(response) -> tuple[bool, str]:
    return bool(response.success), str(response.message)

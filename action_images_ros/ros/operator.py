"""The person at the cell, as a program: instructs, enables, stops, watches; every wait has a name and an end."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.context import Context
from rclpy.duration import Duration
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from std_msgs.msg import String
from std_srvs.srv import SetBool, Trigger

from ..errors import TransportError
from . import qos
from .dds import use_profile

_SPIN_S = 0.05
_SERVICE_S = 30.0


@dataclass(frozen=True)
class Answer:
    """Of a service: done or not, and its message."""

    ok: bool
    message: str


@dataclass(frozen=True)
class CellVerdict:
    """The simulated cell's own opinion of an episode; outcome is pending, success or failure."""

    episode: int
    outcome: str
    reason: str
    time_s: float


class Operator:
    """A node in a context of its own; use it as a context manager, from one thread.

    on_wait: called at every turn of every wait, e.g. to notice that a process has ended. Raises TransportError naming
    what it waited for and how long.
    """

    def __init__(self, name: str = "operator", on_wait: Callable[[], None] = lambda: None) -> None:
        use_profile()
        self._context = Context()
        rclpy.init(context=self._context)
        self.node = Node(name, context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self.on_wait = on_wait
        self.verdict: CellVerdict | None = None
        self._texts: dict[str, Any] = {}
        self._service_clients: dict[str, Any] = {}
        self.diagnostics: dict[str, dict[str, str]] = {}
        self._instruction = self.node.create_publisher(String, "instruction", qos.LATCHED)
        self.node.create_subscription(String, "sim_cell/verdict", self._on_verdict, qos.LATCHED)
        self.node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, qos.DIAGNOSTICS)

    def __enter__(self) -> Operator:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._executor.shutdown()
        self.node.destroy_node()
        rclpy.try_shutdown(context=self._context)

    def until(self, condition: Callable[[], bool], what: str, timeout_s: float) -> float:
        """Spin until condition(); the seconds that took."""
        began_s = time.monotonic()
        while not condition():
            if time.monotonic() - began_s > timeout_s:
                raise TransportError(f"waited {timeout_s:g} s for {what}")
            self.on_wait()
            self._executor.spin_once(timeout_sec=_SPIN_S)
        return time.monotonic() - began_s

    def spin_for(self, duration_s: float) -> None:
        end_s = time.monotonic() + duration_s
        self.until(lambda: time.monotonic() >= end_s, "the time to pass", 2 * duration_s + 1.0)

    def instruct(self, text: str) -> None:
        self._instruction.publish(String(data=text))

    def say(self, topic: str, text: str) -> None:
        """Publish a std_msgs/String; the first time on a topic, once somebody listens."""
        if topic not in self._texts:
            publisher = self._texts[topic] = self.node.create_publisher(String, topic, qos.STATE)
            self.until(lambda: publisher.get_subscription_count() > 0, f"a subscriber of {topic}", _SERVICE_S)
        self._texts[topic].publish(String(data=text))

    def tell(self, topic: str, text: str) -> None:
        """The same on a latched topic; returns when everybody who listens has it, so that the process may end."""
        publisher = self.node.create_publisher(String, topic, qos.LATCHED)
        self.until(lambda: publisher.get_subscription_count() > 0, f"a subscriber of {topic}", _SERVICE_S)
        publisher.publish(String(data=text))
        if not publisher.wait_for_all_acked(Duration(seconds=_SERVICE_S)):
            raise TransportError(f"waited {_SERVICE_S:g} s until {topic} was heard")

    def enable(self, on: bool = True) -> Answer:
        return self._call(SetBool, "enable", SetBool.Request(data=on))

    def switch(self, name: str, on: bool) -> Answer:
        """Of a std_srvs/SetBool service."""
        return self._call(SetBool, name, SetBool.Request(data=on))

    def trigger(self, name: str) -> Answer:
        """Of a std_srvs/Trigger service."""
        return self._call(Trigger, name, Trigger.Request())

    def _call(self, kind: type, name: str, request: object) -> Answer:
        response = self.call(kind, name, request)
        return Answer(response.success, response.message)

    def call(self, kind: type, name: str, request: object) -> Any:
        """The response of any service."""
        if name not in self._service_clients:
            self._service_clients[name] = self.node.create_client(kind, name)
        client: Any = self._service_clients[name]
        self.until(client.service_is_ready, f"the service {name}", _SERVICE_S)
        future = client.call_async(request)
        self.until(future.done, f"the answer of {name}", _SERVICE_S)
        return future.result()

    def active(self, report: str) -> bool:
        """Whether a node, by the name of its line in /diagnostics ("denoiser: generate"), is active."""
        return self.diagnostics.get(report, {}).get("message", "not active") != "not active"

    def value(self, report: str, key: str) -> float:
        """A number out of /diagnostics; 0 where it has not come."""
        text = self.diagnostics.get(report, {}).get(key, "")
        return float(text) if text else 0.0

    def _on_verdict(self, msg: String) -> None:
        v = json.loads(msg.data)
        self.verdict = CellVerdict(v["episode"], v["outcome"], v["reason"], v["time_s"])

    def _on_diagnostics(self, msg: DiagnosticArray) -> None:
        for status in msg.status:
            self.diagnostics[status.name] = {v.key: v.value for v in status.values} | {"message": status.message}

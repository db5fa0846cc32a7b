"""The stop button: one small web server and one service client in a process of their own.

Nothing else runs here, so that stopping works when the console, the model or a browser's pictures hang.
"""

from __future__ import annotations

import sys
import threading
import time
from dataclasses import dataclass
from functools import partial
from typing import Any

from rclpy.client import Client
from std_srvs.srv import Trigger

from ..console.access import is_local
from ..console.stop_server import StopServer
from ..ros.main import run_node
from ..ros.managed import ManagedNode
from ..ros.monitor import Level, Report, not_active
from ..ros.parameters import parameter

_TRY_S, _TRIES = 0.7, 3


@dataclass(frozen=True)
class StopButtonParameters:
    autostart: bool = parameter(True, "configure and activate at once")
    host: str = parameter("127.0.0.1", "address to listen on; 0.0.0.0 for every network this machine is on")
    port: int = parameter(8081, "TCP port; 0: any free one", minimum=0, maximum=65535)


class StopButtonNode(ManagedNode):
    def __init__(self) -> None:
        super().__init__("stop_button", StopButtonParameters)
        self._server: StopServer | None = None
        self._presses = self._failed = 0
        self.diagnostics.add(self._report)

    def setup(self) -> None:
        self._client: Client = self.create_client(Trigger, "stop")

    def start(self) -> None:
        p = self.parameters
        self._server = StopServer(p.host, p.port, self.press, self._health)
        self._server.start()
        self.get_logger().info(f"stop button: http://{_shown(p.host)}:{self._server.port}/")

    def halt(self) -> None:
        if self._server is not None:
            self._server.stop()
        self._server = None

    def press(self) -> tuple[bool, str]:
        """Have the controller stop; asks again while no answer comes. Called in a request's thread."""
        self._presses += 1
        began_s = time.monotonic()
        for _ in range(_TRIES):
            done = threading.Event()
            future = self._client.call_async(Trigger.Request())
            future.add_done_callback(partial(_answered, done))
            if done.wait(_TRY_S) and future.result() is not None:
                answer: Any = future.result()
                took_ms = 1e3 * (time.monotonic() - began_s)
                self.get_logger().info(f"stop: {answer.message or 'done'} ({took_ms:.0f} ms)")
                return bool(answer.success), str(answer.message or "stopped")
            self._client.remove_pending_request(future)
        self._failed += 1
        why = "does not answer" if self._client.service_is_ready() else "is not there"
        self.get_logger().error(f"stop: the controller {why}; use the arm's own stop switch")
        return False, f"the controller {why}: use the arm's own stop switch"

    def _health(self) -> tuple[bool, str]:
        ready = self._client.service_is_ready()
        return ready, "the controller can be reached" if ready else "the controller is not there"

    def _report(self) -> Report:
        if self._server is None:
            return not_active("server")
        ready, message = self._health()
        values = {"port": self._server.port, "presses": self._presses, "unanswered": self._failed}
        remedy = "use the arm's own stop switch; start the controller"
        return Report("server", Level.OK if ready else Level.ERROR, message, values, remedy=remedy)


def _answered(done: threading.Event, _: object) -> None:
    done.set()


def _shown(host: str) -> str:
    return "localhost" if is_local(host) else host


def main() -> int:
    return run_node(StopButtonNode)


if __name__ == "__main__":
    sys.exit(main())

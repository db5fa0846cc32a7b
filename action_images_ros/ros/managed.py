"""The lifecycle node that all others are: parameters from a dataclass, autostart, and one way to fail.

A mistake in configuration is one line and exit status 2 when the node starts by itself; under a lifecycle
manager the transition fails and the node stays, so that the mistake can be mended.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn

from ..errors import ActionImagesError, TransportError
from .monitor import Diagnostics
from .parameters import declare, require_known_overrides

_CHECK_PERIOD_S = 0.5
_WARN_EVERY_S = 5.0


T = TypeVar("T")


def made(thing: T | None) -> T:
    """What `setup` or `start` has made, in code that runs only between them and `teardown` or `halt`."""
    assert thing is not None
    return thing


class Ending(Exception):
    """Raised by a long `setup` that notices `ending`: the process is to end, and nothing is wrong."""


class ManagedNode(LifecycleNode):
    """Subclasses give `setup` (what configure does), `start` (activate), `halt` (deactivate) and `teardown` (cleanup).

    `parameters` is the instance of `parameter_type` that the command line and files made; it has a field
    `autostart`. `ending` is set when the process has been told to end.
    Raises ConfigError for a parameter that is unknown or illegal.
    """

    def __init__(self, name: str, parameter_type: type) -> None:
        super().__init__(name)
        self.failure: Exception | None = None
        self.ending = threading.Event()
        self._waits: list[_Wait] = []
        try:
            self.parameters: Any = declare(self, parameter_type)
            require_known_overrides(self, parameter_type)
        except ActionImagesError:
            self.destroy_node()
            raise
        self.diagnostics = Diagnostics(self, name)
        self._wait_timer = self.create_timer(_CHECK_PERIOD_S, self._check_waits)

    def setup(self) -> None: ...
    def start(self) -> None: ...
    def halt(self) -> None: ...
    def teardown(self) -> None: ...

    def begin(self) -> None:
        """Go to active, where `autostart` says so. A failure is left in `failure`."""
        if self.parameters.autostart and self.trigger_configure() == TransitionCallbackReturn.SUCCESS:
            self.trigger_activate()

    def fail(self, error: Exception) -> None:
        """End the process: with status 2 and the message of an ActionImagesError, else with 1 and a traceback.

        May be called from any thread; the first one counts.
        """
        self.failure = self.failure or error

    def wait_for(self, complaint: Callable[[], str], timeout_s: float) -> None:
        """Fail with `complaint()` unless it is "" once within timeout_s (0: wait for ever, saying what is missing)."""
        self._waits.append(_Wait(complaint, timeout_s))

    def now_ns(self) -> int:
        """ROS time."""
        return self.get_clock().now().nanoseconds

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        return self._transition(self.setup)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        super().on_activate(state)
        return self._transition(self.start)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        super().on_deactivate(state)
        self._waits.clear()
        return self._transition(self.halt)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        return self._transition(self.teardown)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        return self.close()

    def close(self) -> TransitionCallbackReturn:
        """Stop whatever runs; for the end of the process."""
        self._transition(self.halt)
        return self._transition(self.teardown)

    def _transition(self, action: Callable[[], None]) -> TransitionCallbackReturn:
        try:
            action()
        except Ending:
            return TransitionCallbackReturn.FAILURE
        except ActionImagesError as error:
            if self.parameters.autostart:
                self.fail(error)
            else:
                self.get_logger().error(str(error))
            return TransitionCallbackReturn.FAILURE
        except Exception as error:  # noqa: BLE001 - rclpy would swallow it without a word
            self.fail(error)
            return TransitionCallbackReturn.ERROR
        return TransitionCallbackReturn.SUCCESS

    def _check_waits(self) -> None:
        now_s = time.monotonic()
        for wait in list(self._waits):
            text = wait.complaint()
            if not text:
                self._waits.remove(wait)
            elif wait.timeout_s and now_s - wait.since_s > wait.timeout_s:
                self._waits.clear()
                self.fail(TransportError(f"{self.get_name()}: waited {wait.timeout_s:g} s: {text}"))
                return
            elif now_s - wait.warned_s > _WARN_EVERY_S:
                wait.warned_s = now_s
                self.get_logger().warning(f"waiting: {text}")


class _Wait:
    def __init__(self, complaint: Callable[[], str], timeout_s: float) -> None:
        self.complaint, self.timeout_s = complaint, timeout_s
        self.since_s = self.warned_s = time.monotonic()

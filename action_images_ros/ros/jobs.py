"""Work that services ask of a thread which owns something, and its answers."""

from __future__ import annotations

import queue
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout

from ..errors import ActionImagesError


class Jobs:
    """`ask` waits in one thread for what `do` works off in another."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._queue: queue.SimpleQueue[tuple[Callable[[], str], Future[str]]] = queue.SimpleQueue()

    def ask(self, job: Callable[[], str]) -> tuple[bool, str]:
        """Whether it was done, and its text or the reason."""
        future: Future[str] = Future()
        self._queue.put((job, future))
        try:
            return True, future.result(self._timeout_s)
        except FutureTimeout:
            return False, f"no answer within {self._timeout_s:g} s"
        except ActionImagesError as error:
            return False, str(error)

    def do(self) -> None:
        """Everything that has been asked for."""
        while not self._queue.empty():
            job, future = self._queue.get()
            try:
                future.set_result(job())
            except ActionImagesError as error:
                future.set_exception(error)

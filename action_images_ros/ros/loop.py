"""A periodic thread with absolute deadlines on the monotonic clock, and how well it keeps them."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable

from .monitor import Spread, Window

_JOIN_S = 2.0


class DeadlineLoop:
    """Calls `work(now_s)` every period_s in a thread of its own.

    A missed deadline is skipped, never made up for in a burst. `work` raising ends the loop and calls
    `on_error`. priority: SCHED_FIFO priority to ask for (0: none), one less for the other threads of the process, which
    hold the interpreter's lock at times; without the right to it the loop runs as usual.
    """

    def __init__(
        self,
        name: str,
        period_s: float,
        work: Callable[[float], None],
        on_error: Callable[[Exception], None],
        priority: int = 0,
    ) -> None:
        self.period_s, self._work, self._on_error, self._priority = period_s, work, on_error, priority
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._periods, self._busy = Window(), Window()
        self.skipped = 0
        self.real_time = False

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Let the present round end, then return. Harmless when it never started."""
        self._stop.set()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(_JOIN_S)

    def periods(self) -> Spread:
        """Time from one round's start to the next, s, over the last 1000."""
        return self._periods.spread()

    def period_errors(self) -> Spread:
        """|period - nominal|, s."""
        errors = Window()
        for period in self._periods.values():
            errors.add(abs(period - self.period_s))
        return errors.spread()

    def busy(self) -> Spread:
        """Time spent in `work`, s."""
        return self._busy.spread()

    def restart_statistics(self) -> None:
        self._periods.clear()
        self._busy.clear()

    def _run(self) -> None:
        self.real_time = _ask_priority(self._priority)
        last, deadline = None, time.monotonic()
        try:
            while not self._stop.is_set():
                now_s = time.monotonic()
                if last is not None:
                    self._periods.add(now_s - last)
                last = now_s
                self._work(now_s)
                after = time.monotonic()
                self._busy.add(after - now_s)
                deadline += self.period_s
                if after > deadline:
                    missed = int((after - deadline) / self.period_s) + 1
                    self.skipped += missed
                    deadline += missed * self.period_s
                time.sleep(max(0.0, deadline - time.monotonic()))
        except Exception as error:  # noqa: BLE001 - whatever ends the loop must reach the node
            self._on_error(error)


def _ask_priority(priority: int) -> bool:
    """For the calling thread, and one less for all others of the process."""
    if not priority or not hasattr(os, "sched_setscheduler"):
        return False
    mine = threading.get_native_id()
    try:
        for thread in [int(t) for t in os.listdir("/proc/self/task")]:
            level = priority if thread == mine else max(priority - 1, 1)
            os.sched_setscheduler(thread, os.SCHED_FIFO, os.sched_param(level))
    except OSError:
        return False
    return True


def run_at_normal_priority() -> None:
    """For a thread that computes a lot in a process with a loop of raised priority."""
    if hasattr(os, "sched_setscheduler"):
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def set_thread_nice(nice: int) -> None:
    """Of the calling thread and those it starts (Linux)."""
    if sys.platform.startswith("linux"):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), nice)

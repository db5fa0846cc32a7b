"""Ctrl-C reaches every process of a terminal. Only the one that was started by a person acts on it and ends the others,
which would otherwise each print where they were."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator


@contextlib.contextmanager
def deaf_children() -> Iterator[None]:
    """Processes that are started inside ignore SIGINT, unless they set a handler of their own. In another thread than
    the main one, where Python handles no signals, this does nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)

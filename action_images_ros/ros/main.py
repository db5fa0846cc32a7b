"""Running one node as a process: signals, parent's death, exit status."""

from __future__ import annotations

import ctypes
import gc
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence

from ..errors import ActionImagesError

PARENT_VARIABLE = "ACTION_IMAGES_PARENT"
"""Set by the runner to its process id: a node whose parent is gone ends itself."""

EXIT_BAD_INPUT = 2
_PR_SET_PDEATHSIG = 1
_SPIN_S = 0.2
_SWITCH_INTERVAL_S = 5e-4


def run_node(make: Callable[[], object], argv: Sequence[str] | None = None) -> int:
    """Create the node after rclpy is up, spin until SIGINT, SIGTERM or its failure, close it. Returns the exit status.

    `make() -> ManagedNode`. Signals after the first are ignored while the node closes.
    """
    import rclpy
    from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
    from rclpy.signals import SignalHandlerOptions

    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    _die_with_parent()
    # The control loop shares the interpreter with callbacks; it must not wait the usual 5 ms for its turn.
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    node = None
    try:
        rclpy.init(args=list(sys.argv if argv is None else argv), signal_handler_options=SignalHandlerOptions.NO)
        node = make()
        node.ending = stop
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        node.begin()
        while not stop.is_set() and node.failure is None:
            executor.spin_once(timeout_sec=_SPIN_S)
        if node.failure is not None:
            raise node.failure
        return 0
    except ActionImagesError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return EXIT_BAD_INPUT
    except ExternalShutdownException:
        return 0
    finally:
        if node is not None:
            node.close()
            node.destroy_node()
        rclpy.try_shutdown()
        node = None
        gc.collect()


def _die_with_parent() -> None:
    """Linux: get SIGTERM when the runner that started this process ends, however it ends."""
    parent = os.environ.get(PARENT_VARIABLE, "")
    if not parent or not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != int(parent):
        os.kill(os.getpid(), signal.SIGTERM)

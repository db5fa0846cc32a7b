"""Running one node as a process: signals, parent's death, exit status."""

from __future__ import annotations

import ctypes
import gc
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ..errors import ActionImagesError
from .dds import use_profile

PARENT_VARIABLE = "ACTION_IMAGES_PARENT"
"""Set by the runner to its process id: a node whose parent is gone ends itself."""

if TYPE_CHECKING:
    from .managed import ManagedNode

EXIT_BAD_INPUT = 2
_PR_SET_PDEATHSIG = 1
_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_SPIN_S = 0.2
_SWITCH_INTERVAL_S = 5e-4


def run_node(make: Callable[[], ManagedNode], argv: Sequence[str] | None = None) -> int:
    """Create the node after rclpy is up, spin until SIGINT, SIGTERM or its failure, close it. Returns the exit status.

    `make() -> ManagedNode`. Signals after the first are ignored. For the main thread of a process of its own.
    """
    stop = threading.Event()
    for number in _SIGNALS:
        signal.signal(number, lambda *_: stop.set())
    die_with_parent()
    # The control loop shares the interpreter with callbacks; it must not wait the usual 5 ms for its turn.
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    try:
        status = _spin(make, list(sys.argv if argv is None else argv), stop)
    except ActionImagesError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        status = EXIT_BAD_INPUT
    except Exception:  # noqa: BLE001 - the process ends here, and says why
        traceback.print_exc()
        status = 1
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    gc.collect()
    if threading.active_count() > 1:
        # Some thread is inside native code, such as an inference: taking the interpreter down under it would abort.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    return status


def _spin(make: Callable[[], ManagedNode], argv: list[str], stop: threading.Event) -> int:
    import rclpy
    from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
    from rclpy.signals import SignalHandlerOptions

    node: ManagedNode | None = None
    use_profile()
    try:
        rclpy.init(args=argv, signal_handler_options=SignalHandlerOptions.NO)
        node = make()
        node.ending = stop
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        node.begin()
        while not stop.is_set() and node.failure is None:
            executor.spin_once(timeout_sec=_SPIN_S)
        if node.failure is not None:
            raise node.failure
    except ExternalShutdownException:
        pass
    finally:
        if node is not None:
            node.close()
            node.destroy_node()
        rclpy.try_shutdown()
    return 0


def die_with_parent() -> None:
    """Linux: get SIGTERM when the runner that started this process ends, however it ends."""
    parent = os.environ.get(PARENT_VARIABLE, "")
    if not parent or not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != int(parent):
        os.kill(os.getpid(), signal.SIGTERM)

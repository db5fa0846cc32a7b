"""Who acts on Ctrl-C."""

import signal
import subprocess
import sys
import threading

from action_images_ros.interrupts import deaf_children

TELLS = "import signal; print(signal.getsignal(signal.SIGINT) is signal.SIG_IGN)"


def child_is_deaf() -> bool:
    return subprocess.run([sys.executable, "-c", TELLS], capture_output=True, text=True).stdout.strip() == "True"


def test_children_are_deaf_and_the_parent_is_not_afterwards():
    before = signal.getsignal(signal.SIGINT)
    with deaf_children():
        assert child_is_deaf()
    assert signal.getsignal(signal.SIGINT) is before
    assert not child_is_deaf()


def test_another_thread_leaves_signals_alone():
    heard = []

    def work() -> None:
        with deaf_children():
            heard.append(signal.getsignal(signal.SIGINT))

    before = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join(30.0)
    assert heard == [before]

"""What an operator types while recording."""

import os
import pty
import sys
import termios

from action_images_ros.cli import record


def test_keys_typed_in_one_burst_each_count_and_the_terminal_is_left_as_it_was(monkeypatch):
    master, slave = pty.openpty()
    with os.fdopen(slave) as terminal:
        monkeypatch.setattr(sys, "stdin", terminal)
        before = termios.tcgetattr(slave)
        with record._keys() as words:
            os.write(master, b" sfhxpq")
            said = []
            while "quit" not in said:
                said += [w for w in [next(words)] if w]
        assert termios.tcgetattr(slave) == before
    os.close(master)
    assert said == ["toggle", "success", "stop", "failure", "stop", "control human", "control policy", "quit"]


def test_words_of_a_pipe(monkeypatch):
    read, write = os.pipe()
    with os.fdopen(read) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        os.write(write, b"start\ncontrol hum")
        os.write(write, b"an\nnote it slipped\nquit\n")
        with record._keys() as words:
            said = []
            while "quit" not in said:
                said += [w for w in [next(words)] if w]
    os.close(write)
    assert said == ["start", "control human", "note it slipped", "quit"]

"""Who gets in: this machine without a token, others only with it, other sites' pages never."""

import os
import stat

import pytest

from action_images_ros.console.access import Gate, is_local, read_token, same_host
from action_images_ros.errors import ConfigError

TOKEN = "x" * 24


@pytest.mark.parametrize(
    ("host", "local"),
    [("127.0.0.1", True), ("localhost", True), ("::1", True), ("127.3.2.1", True), ("0.0.0.0", False), ("::", False),
     ("192.168.1.5", False), ("cell-7.lab", False)],
)  # fmt: skip
def test_what_is_this_machine(host, local):
    assert is_local(host) is local


@pytest.mark.parametrize(
    ("origin", "host", "same"),
    [(None, "localhost:8080", True), ("http://localhost:8080", "localhost:8081", True),
     ("http://evil.example", "localhost:8080", False), ("null", "localhost:8080", False),
     ("http://localhost.evil.example", "localhost", False), ("http://[::1]:8080", "[::1]:8081", True),
     ("http://[broken", "localhost", False)],
)  # fmt: skip
def test_only_pages_of_the_same_host_may_ask(origin, host, same):
    assert same_host(origin, host) is same


def test_without_a_token_only_this_machine_by_its_own_name():
    gate = Gate("")
    assert gate.refusal("localhost:8080", None, (None, None)) == ""
    assert "localhost" in gate.refusal("rebound.example:8080", None, (None, None))
    assert "another site" in gate.refusal("localhost:8080", "http://evil.example", (None, None))


def test_with_a_token_only_who_shows_it():
    gate = Gate(TOKEN)
    assert gate.refusal("cell:8080", "http://cell:8080", (None, TOKEN)) == ""
    assert gate.refusal("cell:8080", None, (TOKEN, None)) == ""
    for shown in ((None, None), ("", ""), ("y" * 24, None), ("ü", None)):
        assert "token" in gate.refusal("cell:8080", None, shown)
    assert "another site" in gate.refusal("cell:8080", "http://evil.example", (None, TOKEN))


def test_a_token_is_made_once_for_its_owner_alone(tmp_path):
    file = tmp_path / "below" / "token"
    token = read_token(str(file))
    assert read_token(str(file)) == token and len(token) >= 24
    assert stat.S_IMODE(os.stat(file).st_mode) == 0o600


def test_a_token_that_others_can_read_or_guess_is_refused(tmp_path):
    file = tmp_path / "token"
    file.write_text(TOKEN)
    file.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        read_token(str(file))
    file.write_text("short")
    file.chmod(0o600)
    with pytest.raises(ConfigError, match="less than 16"):
        read_token(str(file))
    with pytest.raises(ConfigError, match="name another one"):
        read_token("/proc/none/token")

"""The stop button over real HTTP: it stops, whatever else is asked of it."""

import http.client
import json
import socket
import threading
import time

import pytest

from action_images_ros.console.stop_server import StopServer
from action_images_ros.errors import ConfigError


class Presses:
    def __init__(self) -> None:
        self.count, self.answer = 0, (True, "stopped")
        self.hold = threading.Event()
        self.hold.set()

    def __call__(self) -> tuple[bool, str]:
        self.count += 1
        self.hold.wait(10)
        return self.answer


@pytest.fixture
def served():
    presses = Presses()
    server = StopServer("127.0.0.1", 0, presses, lambda: (True, "reachable"))
    server.start()
    yield server.port, presses
    presses.hold.set()
    server.stop()


def ask(port: int, method: str, path: str, headers: dict | None = None, body: bytes = b"") -> tuple[int, dict | str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request(method, path, body, {"Host": f"localhost:{port}", **(headers or {})})
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, json.loads(text) if answer.getheader("Content-Type") == "application/json" else text


def test_a_press_stops_and_says_what_the_controller_said(served):
    port, presses = served
    assert ask(port, "POST", "/stop") == (200, {"ok": True, "message": "stopped"}) and presses.count == 1
    presses.answer = (False, "no controller")
    assert ask(port, "POST", "/stop") == (503, {"ok": False, "message": "no controller"})


def test_looking_does_not_stop(served):
    port, presses = served
    assert ask(port, "GET", "/health") == (200, {"ok": True, "message": "reachable"})
    status, page = ask(port, "GET", "/")
    assert status == 200 and "STOP" in page
    assert ask(port, "GET", "/stop")[0] == 404 and ask(port, "POST", "/other")[0] == 404
    assert presses.count == 0


def test_pages_of_another_port_of_this_host_may_stop_pages_of_other_sites_may_not(served):
    port, presses = served
    assert ask(port, "POST", "/stop", {"Origin": "http://localhost:8080"})[0] == 200
    assert ask(port, "POST", "/stop", {"Origin": "http://evil.example"})[0] == 403
    assert presses.count == 1


def test_presses_that_hang_do_not_keep_others_waiting(served):
    """Twenty connections that say nothing, ten presses without an answer: the next press still gets through."""
    port, presses = served
    silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(20)]
    presses.hold.clear()
    hanging = [threading.Thread(target=ask, args=(port, "POST", "/stop"), daemon=True) for _ in range(10)]
    for thread in hanging:
        thread.start()
    deadline_s = time.monotonic() + 10
    while presses.count < 10:
        assert time.monotonic() < deadline_s, f"{presses.count} of 10 presses arrived"
        time.sleep(0.01)
    assert ask(port, "GET", "/health")[0] == 200
    presses.hold.set()
    assert ask(port, "POST", "/stop")[0] == 200
    for connection in silent:
        connection.close()


@pytest.mark.parametrize("length", ["abc", "-1", "99999999"])
def test_a_senseless_length_is_refused(served, length):
    port, _ = served
    with socket.create_connection(("127.0.0.1", port), timeout=10) as raw:
        raw.sendall(f"POST /stop HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n".encode())
        assert raw.recv(100).startswith(b"HTTP/1.1 413")


def test_a_taken_port_is_named(served):
    port, _ = served
    with pytest.raises(ConfigError, match=f"port {port}.*choose another port"):
        StopServer("127.0.0.1", port, lambda: (True, ""), lambda: (True, ""))

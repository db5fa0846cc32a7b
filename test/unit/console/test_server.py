"""The page's server as a browser meets it, without a browser: files, WebSocket, scene, refusals."""

import http.client
import http.server
import json
import re
import threading

import numpy as np
import pytest

pytest.importorskip("aiohttp")
connect = pytest.importorskip("websockets.sync.client").connect

from websockets.exceptions import InvalidStatus  # noqa: E402

from action_images_ros.console.access import Gate  # noqa: E402
from action_images_ros.console.pictures import Pictures  # noqa: E402
from action_images_ros.console.server import ConsoleServer, ServerConfig  # noqa: E402
from action_images_ros.errors import ConfigError  # noqa: E402
from action_images_ros.geometry import PinholeCamera  # noqa: E402

TOKEN = "t" * 24
CAMERA = PinholeCamera(np.array([[200.0, 0, 159.5], [0, 200.0, 119.5], [0, 0, 1]]), (320, 240), np.eye(4))


def picture(value: int) -> np.ndarray:
    return np.full((240, 320, 3), value, np.uint8)


class Served:
    def __init__(self, token: str = "", scene_port: int = 0) -> None:
        self.done: list[tuple[str, object]] = []
        self.release = threading.Event()
        self.release.set()
        self.pictures = Pictures({"left": CAMERA}, width_px=160)
        config = ServerConfig("127.0.0.1", 0, 8081, scene_port, 30.0)
        self.server = ConsoleServer(config, Gate(token), lambda: {"views": ["left"]}, self.pictures, self.command)
        self.server.start()

    def command(self, name: str, value: object) -> tuple[bool, str]:
        self.done.append((name, value))
        if name == "slow":
            self.release.wait(10)
        return name != "bad", f"{name} answered"

    def get(self, path: str, **headers: str) -> tuple[int, str, dict]:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=10)
        connection.request("GET", path, headers={"Host": f"localhost:{self.server.port}", **headers})
        answer = connection.getresponse()
        out = answer.status, answer.read().decode(), dict(answer.getheaders())
        connection.close()
        return out

    def live(self, query: str = "", **options):
        return connect(f"ws://localhost:{self.server.port}/live{query}", open_timeout=10, **options)


@pytest.fixture
def served():
    s = Served()
    yield s
    s.release.set()
    s.server.stop()


def scene_of(served: Served) -> str:
    """Path of the scene as the page is told; "" where there is none."""
    settings = json.loads(re.search(r"const SETTINGS = (.*);", served.get("/")[1])[1])
    return f"/{settings['scene'].partition('?')[0]}" if settings["scene"] else ""


def receive(socket, wanted, timeout_s: float = 10.0):
    """The first message for which wanted(message) is true."""
    while True:
        message = socket.recv(timeout=timeout_s)
        if wanted(message):
            return message


def test_the_page_and_its_files_are_served(served):
    status, text, _ = served.get("/")
    assert status == 200 and '"stop_port": 8081' in text and "STOP" in text
    for name in ("console.js", "console.css"):
        assert served.get(f"/page/{name}")[0] == 200
    assert served.get("/page/../server.py")[0] == 404 and served.get("/page/%2e%2e/server.py")[0] in (403, 404)


def test_state_and_newest_pictures_arrive_and_nothing_older(served):
    served.pictures.live("left", picture(10), None)
    with served.live() as socket:
        state = receive(socket, lambda m: isinstance(m, str))
        assert json.loads(state)["state"] == {"views": ["left"]} and served.server.watchers == 1
        first = receive(socket, lambda m: isinstance(m, bytes))
        assert first[:6] == bytes([0, 4]) + b"left"
        for value in (20, 30, 40):
            served.pictures.live("left", picture(value), None)
        newest = receive(socket, lambda m: isinstance(m, bytes) and m != first)
        import cv2

        shown = cv2.imdecode(np.frombuffer(newest[6:], np.uint8), cv2.IMREAD_COLOR)
        assert shown.shape == (120, 160, 3) and abs(int(shown.mean()) - 40) <= 22


def test_commands_are_done_and_answered_by_number(served):
    with served.live() as socket:
        socket.send(json.dumps({"do": "instruct", "value": "reach", "id": 7}))
        answer = json.loads(receive(socket, lambda m: isinstance(m, str) and "answer" in m))["answer"]
        assert answer == {"id": 7, "do": "instruct", "ok": True, "message": "instruct answered"}
        for nonsense in ("[]", "{", '{"value": 1}', "null"):
            socket.send(nonsense)
        socket.send(json.dumps({"do": "bad", "id": 8}))
        assert json.loads(receive(socket, lambda m: isinstance(m, str) and "answer" in m))["answer"]["ok"] is False
    assert served.done == [("instruct", "reach"), ("bad", None)]


def test_a_command_that_hangs_delays_neither_pictures_nor_stop(served):
    served.release.clear()
    with served.live() as socket:
        socket.send(json.dumps({"do": "slow", "id": 1}))
        socket.send(json.dumps({"do": "stop", "id": 2}))
        answer = json.loads(receive(socket, lambda m: isinstance(m, str) and "answer" in m))["answer"]
        assert (answer["id"], answer["ok"]) == (2, True)
        served.pictures.live("left", picture(90), None)
        receive(socket, lambda m: isinstance(m, bytes))


def test_a_client_that_does_not_read_delays_nobody(served):
    with served.live(max_queue=1) as lazy, served.live() as socket:
        for value in range(60):
            served.pictures.live("left", np.random.default_rng(value).integers(0, 255, (240, 320, 3), np.uint8), None)
        receive(socket, lambda m: isinstance(m, bytes))
        socket.send(json.dumps({"do": "stop", "id": 1}))
        receive(socket, lambda m: isinstance(m, str) and "answer" in m)
        assert served.server.watchers == 2 and lazy is not None


def test_other_sites_and_other_names_are_refused(served):
    assert served.get("/", Host="rebound.example")[0] == 403
    assert served.get("/", Origin="http://evil.example")[0] == 403
    with pytest.raises(InvalidStatus, match="403"):
        served.live(origin="http://evil.example")


def test_an_opened_page_wants_its_token_for_everything():
    served = Served(TOKEN)
    try:
        for path in ("/", "/page/console.js", "/scene/", "/scene/x/", "/live"):
            assert served.get(path)[0] == 403
        status, _, headers = served.get(f"/?token={TOKEN}")
        cookie = headers["Set-Cookie"].split(";")[0]
        assert status == 200 and "HttpOnly" in headers["Set-Cookie"] and "SameSite=Strict" in headers["Set-Cookie"]
        assert served.get("/page/console.js", Cookie=cookie)[0] == 200
        with pytest.raises(InvalidStatus, match="403"):
            served.live()
        with served.live(additional_headers={"Cookie": cookie}) as socket:
            receive(socket, lambda m: isinstance(m, str))
    finally:
        served.server.stop()


def test_the_scene_is_passed_on_and_its_absence_is_said(served):
    assert scene_of(served) == ""
    handler = type("Handler", (http.server.BaseHTTPRequestHandler,), {
        "do_GET": lambda self: (self.send_response(200), self.end_headers(), self.wfile.write(self.path.encode())),
        "log_message": lambda *_: None,
    })  # fmt: skip
    behind = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=behind.serve_forever, daemon=True).start()
    front = Served(scene_port=behind.server_address[1])
    try:
        scene = scene_of(front)
        assert front.get(f"{scene}assets/x.js", Origin="null")[:2] == (200, "/assets/x.js")
        assert front.get("/scene/guess/assets/x.js")[0] == 404
        behind.shutdown()
        behind.server_close()
        status, text, _ = front.get(scene)
        assert status == 502 and "does not answer" in text
    finally:
        front.server.stop()


def test_what_the_scene_and_its_page_say_to_each_other_passes_unchanged():
    from websockets.sync.server import serve

    options = {"subprotocols": ["viser-v1"], "max_size": None}
    behind = serve(lambda ws: [ws.send(message) for message in ws], "127.0.0.1", 0, **options)
    threading.Thread(target=behind.serve_forever, daemon=True).start()
    front = Served(TOKEN, scene_port=behind.socket.getsockname()[1])
    try:
        page = front.get(f"/?token={TOKEN}")[1]
        path = json.loads(re.search(r"const SETTINGS = (.*);", page)[1])["scene"].partition("?")[0]
        address = f"ws://localhost:{front.server.port}/{path}"
        with connect(address, open_timeout=10, **options) as socket:
            assert socket.subprotocol == "viser-v1"
            for message in (b"\x00\xff scene", "text", b"x" * 2_000_000):
                socket.send(message)
                assert socket.recv(timeout=10) == message
        behind.shutdown()
        with pytest.raises(InvalidStatus, match="502"):
            connect(address, open_timeout=10)
    finally:
        front.server.stop()


def test_stop_has_a_second_way_besides_the_websocket(served):
    connection = http.client.HTTPConnection("127.0.0.1", served.server.port, timeout=10)
    connection.request("POST", "/stop", headers={"Host": f"localhost:{served.server.port}"})
    answer = connection.getresponse()
    assert (answer.status, json.loads(answer.read())) == (200, {"ok": True, "message": "stop answered"})
    connection.close()
    assert served.done == [("stop", None)]


def test_a_taken_port_is_named(served):
    config = ServerConfig("127.0.0.1", served.server.port, 0, 0, 30.0)
    second = ConsoleServer(config, Gate(""), dict, served.pictures, served.command)
    with pytest.raises(ConfigError, match=f"port {served.server.port}.*choose another port"):
        second.start()

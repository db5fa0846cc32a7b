"""The stop button's own web server: standard library, one thread a request, nothing else in its process.

POST /stop stops; GET / is a page with one large button; GET /health says whether the controller can be reached.
Stopping needs no token: whoever reaches the button may press it. Pages of other sites may not.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer

from ..errors import ConfigError
from .access import same_host

_MAX_BODY = 4096
_TIMEOUT_S = 5.0

PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Stop</title><style>
html,body{height:100%;margin:0;background:#14171c;color:#e6e9ee;font:16px system-ui,sans-serif}
body{display:flex;flex-direction:column;align-items:center;justify-content:center;gap:5vh}
button{width:min(80vw,80vh);height:min(80vw,80vh);border-radius:50%;border:1.2vmin solid #ffcf33;background:#d81e2c;
color:#fff;font:800 min(18vw,18vh) system-ui,sans-serif;cursor:pointer}button:active{background:#a51019}
</style><button id="stop">STOP</button><div id="said">Space stops too</div><script>
const said=document.getElementById('said');
async function stop(){said.textContent='stopping ...';
try{const a=await(await fetch('stop',{method:'POST'})).json();
said.textContent=(a.ok?'stopped: ':'NOT STOPPED: ')+a.message}
catch(e){said.textContent='NOT STOPPED: no connection'}}
document.getElementById('stop').onpointerdown=stop;
document.onkeydown=e=>{if(e.code==='Space'||e.code==='Escape'){e.preventDefault();stop()}}
</script></html>"""


class StopServer:
    """stop() and health() -> (done, message); called in the request's thread. Raises ConfigError for a taken port."""

    def __init__(
        self, host: str, port: int, stop: Callable[[], tuple[bool, str]], health: Callable[[], tuple[bool, str]]
    ) -> None:
        handler = type("Handler", (_Handler,), {"stop": staticmethod(stop), "health": staticmethod(health)})
        try:
            self._server = _Server((host, port), handler)
        except OSError as error:
            raise ConfigError(
                f"the stop button cannot listen on {host} port {port}: {error.strerror}; choose another port or end "
                "what uses it"
            ) from error
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), name="stop", daemon=True)

    @property
    def port(self) -> int:
        return self._server.server_address[1]

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def server_bind(self) -> None:
        """Without the look-up of this machine's full name, which takes seconds where there is no name server."""
        TCPServer.server_bind(self)
        host, self.server_port = self.server_address[:2]
        self.server_name = str(host)


class _Handler(BaseHTTPRequestHandler):
    stop: Callable[[], tuple[bool, str]]
    health: Callable[[], tuple[bool, str]]
    protocol_version = "HTTP/1.1"
    timeout = _TIMEOUT_S

    def do_POST(self) -> None:  # noqa: N802 - named by the base class
        try:
            length = int(self.headers.get("Content-Length") or 0)
        except ValueError:
            length = _MAX_BODY + 1
        if not 0 <= length <= _MAX_BODY:
            self.close_connection = True
            self._answer(413, {"ok": False, "message": "the request is too long"})
            return
        self.rfile.read(length)
        if self.path != "/stop":
            self._answer(404, {"ok": False, "message": "POST /stop stops"})
        elif not same_host(self.headers.get("Origin"), self.headers.get("Host")):
            self._answer(403, {"ok": False, "message": "this request comes from another site"})
        else:
            self._answer_with(self.stop)

    def do_GET(self) -> None:  # noqa: N802
        if self.path == "/health":
            self._answer_with(self.health)
        elif self.path == "/":
            self._send(200, "text/html; charset=utf-8", PAGE.encode())
        else:
            self._answer(404, {"ok": False, "message": "GET / or /health, POST /stop"})

    def _answer_with(self, ask: Callable[[], tuple[bool, str]]) -> None:
        ok, message = ask()
        self._answer(200 if ok else 503, {"ok": ok, "message": message})

    def _answer(self, status: int, content: dict) -> None:
        self._send(status, "application/json", json.dumps(content).encode())

    def _send(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        origin = self.headers.get("Origin")
        if origin and same_host(origin, self.headers.get("Host")):
            self.send_header("Access-Control-Allow-Origin", origin)
        self.end_headers()
        try:
            self.wfile.write(body)
        except ConnectionError:
            self.close_connection = True

    def log_message(self, *args: object) -> None:
        """Quiet: the node says what matters."""

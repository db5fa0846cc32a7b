"""The page's own web server: files, one WebSocket for state, pictures and commands, and the way through to the scene.

Runs in a thread of its own. Each client gets the newest of everything at its own pace: a slow one skips, and
delays nobody.
"""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
import socket
import struct
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from ..errors import ConfigError, pip_install
from .access import COOKIE, Gate
from .pictures import Jpeg, Pictures

PAGE = Path(__file__).parent / "page"
_KINDS = {"live": 0, "actions": 1, "video": 2}
_STATE_PERIOD_S = 0.2
_HEARTBEAT_S = 20.0  # a browser on a busy machine may take seconds to answer
_START_S, _STOP_S = 10.0, 3.0
_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "upgrade", "content-encoding", "content-length"}

Answer = tuple[bool, str]
Command = Callable[[str, object], Answer]


@dataclass(frozen=True)
class ServerConfig:
    """host, port: where the page is; stop_port: of the stop button's own server, 0: none; scene_port: viser's, 0: no
    scene. rate_hz: most pictures a second, view and client."""

    host: str
    port: int
    stop_port: int
    scene_port: int
    rate_hz: float


class ConsoleServer:
    """snapshot(): the state as plain JSON; command(name, value): does what a button says, in a worker thread."""

    def __init__(
        self, config: ServerConfig, gate: Gate, snapshot: Callable[[], dict], pictures: Pictures, command: Command
    ) -> None:
        self._config, self._gate, self._snapshot = config, gate, snapshot
        self._pictures, self._command = pictures, command
        self._loop = asyncio.new_event_loop()
        self._done = asyncio.Event()
        self._watchers = 0
        self._thread = threading.Thread(target=self._run, name="page", daemon=True)
        self._started = threading.Event()
        self._error: ConfigError | None = None
        self._runner = None
        self._scene_path = f"/scene/{secrets.token_urlsafe(16)}"
        self.port = 0

    @property
    def watchers(self) -> int:
        """How many pages are open."""
        return self._watchers

    def start(self) -> None:
        """Raises ConfigError where aiohttp is missing or the port is taken."""
        self._thread.start()
        if not self._started.wait(_START_S):
            raise ConfigError(f"the console's server did not start within {_START_S:g} s")
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._done.set)
            self._thread.join(_STOP_S)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
        except ConfigError as error:
            self._error = error
        except OSError as error:
            c = self._config
            why = f"the console cannot listen on {c.host} port {c.port}: {error.strerror or error}"
            self._error = ConfigError(f"{why}; choose another port or end what uses it")
        finally:
            self._started.set()
            self._loop.close()

    async def _serve(self) -> None:
        try:
            from aiohttp import ClientSession, web
        except ImportError as e:
            raise ConfigError(f"the console needs aiohttp ({e}); {pip_install('console')}") from e
        logging.getLogger("aiohttp.access").setLevel(logging.WARNING)
        app = web.Application(middlewares=[_middleware(self._gate, self._scene_path)])
        app.router.add_get("/", self._page)
        app.router.add_get("/live", self._live)
        app.router.add_post("/stop", self._stop)
        app.router.add_static("/page", PAGE)
        async with ClientSession() as session:
            scene = _SceneProxy(session, self._config.scene_port)
            app.router.add_get(self._scene_path, scene.handle)
            app.router.add_get(self._scene_path + "/{path:.*}", scene.handle)
            runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
            await runner.setup()
            try:
                site = web.TCPSite(runner, self._config.host, self._config.port)
                await site.start()
                self.port = runner.addresses[0][1]
                self._started.set()
                await self._done.wait()
            finally:
                await runner.cleanup()

    async def _page(self, request):
        from aiohttp import web

        text = (PAGE / "index.html").read_text(encoding="utf-8")
        scene = f"{self._scene_path[1:]}/?darkMode" if self._config.scene_port else ""
        settings = json.dumps({"stop_port": self._config.stop_port, "scene": scene})
        response = web.Response(
            text=text.replace("__SETTINGS__", settings), content_type="text/html",
            headers={"Cache-Control": "no-store", "X-Frame-Options": "SAMEORIGIN", "Referrer-Policy": "no-referrer"},
        )  # fmt: skip
        if self._gate.token:
            response.set_cookie(COOKIE, self._gate.token, httponly=True, samesite="Strict")
        return response

    async def _stop(self, request):
        """A second way to stop, besides the stop button's own server."""
        from aiohttp import web

        ok, message = await self._in_worker("stop", None)
        return web.json_response({"ok": ok, "message": message})

    async def _in_worker(self, name: str, value: object) -> Answer:
        return await self._loop.run_in_executor(None, self._command, name, value)

    async def _live(self, request):
        from aiohttp import WSMsgType, web

        ws = web.WebSocketResponse(heartbeat=_HEARTBEAT_S, max_msg_size=16_384, compress=False)  # JPEG is already
        await ws.prepare(request)
        _no_delay(request)
        self._watchers += 1
        sender = asyncio.ensure_future(self._send(ws))
        try:
            async for message in ws:
                if message.type is WSMsgType.TEXT:
                    asyncio.ensure_future(self._obey(ws, message.data))
        finally:
            self._watchers -= 1
            sender.cancel()
        return ws

    async def _send(self, ws) -> None:
        """Newest state, newest pictures; waits until the client has taken them."""
        period_s, next_state_s = 1.0 / self._config.rate_hz, 0.0
        seen: dict[tuple[str, str], int] = {}
        try:
            while not ws.closed:
                began_s = time.monotonic()
                if began_s >= next_state_s:
                    next_state_s = began_s + _STATE_PERIOD_S
                    await ws.send_str(json.dumps({"state": self._snapshot()}))
                for jpeg in self._pictures.after(seen):
                    seen[jpeg.kind, jpeg.view] = jpeg.number
                    await ws.send_bytes(framed(jpeg))
                await asyncio.sleep(max(0.001, period_s - (time.monotonic() - began_s)))
        except (ConnectionError, RuntimeError):
            return

    async def _obey(self, ws, text: str) -> None:
        try:
            asked = json.loads(text)
            name, value, number = str(asked["do"]), asked.get("value"), asked.get("id")
        except (ValueError, KeyError, TypeError, AttributeError):
            return
        ok, message = await self._in_worker(name, value)
        if not ws.closed:
            await ws.send_str(json.dumps({"answer": {"id": number, "do": name, "ok": ok, "message": message}}))


def framed(jpeg: Jpeg) -> bytes:
    """One byte kind, one byte length of the view's name, the name, the picture."""
    name = jpeg.view.encode()
    return struct.pack("BB", _KINDS[jpeg.kind], len(name)) + name + jpeg.data


def _no_delay(request) -> None:
    connection = request.transport.get_extra_info("socket") if request.transport else None
    if connection is not None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _middleware(gate: Gate, scene_path: str):
    """The scene's frame is another site to browsers, without our cookie: it is let in by its secret path."""
    from aiohttp import web

    @web.middleware
    async def guard(request, handler: Callable[..., Awaitable]):
        if request.path == scene_path or request.path.startswith(scene_path + "/"):
            return await handler(request)
        shown = (request.query.get("token"), request.cookies.get(COOKIE))
        refusal = gate.refusal(request.headers.get("Host"), request.headers.get("Origin"), shown)
        if refusal:
            return web.Response(status=403, text=f"{refusal}\n")
        return await handler(request)

    return guard


_FRAME = """<style>.mantine-Notifications-root{display:none!important}</style><script>
addEventListener("keydown",e=>{if(e.code==="Space"||e.code==="Escape"){e.preventDefault();
parent.postMessage("stop","*")}},true);
document.hasFocus=()=>true;
const look=setInterval(()=>{if(document.body&&document.body.textContent.includes("Connected")){
parent.postMessage("scene","*");clearInterval(look)}},200);
const slow=location.search.includes("slow"),draw=requestAnimationFrame.bind(window),
undraw=cancelAnimationFrame.bind(window);let last=0,late=0,drawn=0;
requestAnimationFrame=f=>{const g=f2=>{const asked=performance.now();return draw(t=>{last=performance.now();
late=last-asked;drawn++;f2(t)})},rest=Math.min(drawn<40?300:3000,4*late),
wait=last+(slow?Math.max(30,rest):30)-performance.now();
return wait>0?-setTimeout(()=>g(f),wait):g(f)};
cancelAnimationFrame=id=>id<0?clearTimeout(-id):undraw(id);
</script>"""
"""Put into the scene's page: keys that stop do so from there too; it says when it has connected, and connects again
also while the mouse is elsewhere; 30 frames a second are enough, and where a processor has to draw them, it rests
four times as long as each of them kept it busy, at most 0.3 s until the scene stands."""


class _SceneProxy:
    """Passes requests below the scene's path on to viser, which listens on this machine only."""

    def __init__(self, session, port: int) -> None:
        self._session, self._port = session, port

    async def handle(self, request):
        from aiohttp import ClientError, web

        if not self._port:
            return web.Response(status=404, text="this console has no scene\n")
        path = request.match_info.get("path", "")
        try:
            if request.headers.get("Upgrade", "").lower() == "websocket":
                return await self._tunnel(request)
            plain = {"Accept-Encoding": "identity"}
            async with self._session.get(f"http://127.0.0.1:{self._port}/{path}", headers=plain) as answer:
                headers = {k: v for k, v in answer.headers.items() if k.lower() not in _HOP_BY_HOP}
                body = await answer.read()
                if not path:
                    body = body.replace(b"<head>", b"<head>" + _FRAME.encode(), 1)
                return web.Response(status=answer.status, body=body, headers=headers)
        except (ClientError, OSError) as error:
            return web.Response(status=502, text=f"the scene does not answer: {error}\n")

    async def _tunnel(self, request):
        from aiohttp import web

        asked = tuple(p.strip() for p in request.headers.get("Sec-WebSocket-Protocol", "").split(",") if p.strip())
        url = f"ws://127.0.0.1:{self._port}/"
        async with self._session.ws_connect(url, protocols=asked, max_msg_size=0, compress=0) as behind:
            front = web.WebSocketResponse(protocols=asked, max_msg_size=0, compress=False)
            await front.prepare(request)
            _no_delay(request)
            tasks = [asyncio.ensure_future(_pump(behind, front)), asyncio.ensure_future(_pump(front, behind))]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await front.close()
            return front


async def _pump(source, sink) -> None:
    from aiohttp import WSMsgType

    async for message in source:
        if message.type is WSMsgType.BINARY:
            await sink.send_bytes(message.data)
        elif message.type is WSMsgType.TEXT:
            await sink.send_str(message.data)

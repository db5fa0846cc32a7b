"""A real Chromium without a screen, driven by its DevTools protocol."""

from __future__ import annotations

import base64
import ctypes
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from websockets.sync.client import connect

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_START_S, _ANSWER_S = 60.0, 60.0
_PR_SET_PDEATHSIG = 1


def executable() -> str | None:
    """ACTION_IMAGES_CHROMIUM, or the first browser of the usual names; None where there is none."""
    given = os.environ.get("ACTION_IMAGES_CHROMIUM")
    return given or next((path for name in NAMES if (path := shutil.which(name))), None)


def _end_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class Browser:
    """One page. Use as a context manager. Software rendering; WebGL works."""

    def __init__(self, size: tuple[int, int] = (1600, 1000)) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="browser-"))
        self._log = open(self._folder / "log.txt", "wb")
        self._process = subprocess.Popen(
            [
                executable(), "--headless=new", "--no-sandbox", "--remote-debugging-port=0", "--no-first-run",
                f"--user-data-dir={self._folder / 'profile'}", f"--window-size={size[0]},{size[1]}",
                "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--disable-dev-shm-usage", "about:blank",
            ],
            stdout=self._log, stderr=subprocess.STDOUT, start_new_session=True, preexec_fn=_end_with_parent,
        )  # fmt: skip
        self._count = 0
        self.console: list[str] = []
        port = self._port()
        self._debug_port = port[0]
        self._root = connect(f"ws://127.0.0.1:{port[0]}{port[1]}", max_size=None, open_timeout=_START_S)
        target = self._ask(self._root, "Target.createTarget", {"url": "about:blank"})["targetId"]
        self._page = connect(f"ws://127.0.0.1:{port[0]}/devtools/page/{target}", max_size=None, open_timeout=_START_S)
        for domain in ("Page", "Runtime", "Log"):
            self._call(f"{domain}.enable")
        self._call("Page.bringToFront")
        self._call("Emulation.setFocusEmulationEnabled", {"enabled": True})
        self._call(
            "Emulation.setDeviceMetricsOverride",
            {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": False},
        )

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *exc_info: object) -> None:
        try:
            self._ask(self._root, "Browser.close", {})
        except Exception:  # noqa: BLE001 - it may be gone already
            pass
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(10)
        self._log.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def open(self, url: str) -> None:
        self._call("Page.navigate", {"url": url})

    def run(self, script: str) -> object:
        """The value of a JavaScript expression; a promise is awaited. Raises AssertionError where it throws."""
        answer = self._call(
            "Runtime.evaluate", {"expression": script, "returnByValue": True, "awaitPromise": True, "userGesture": True}
        )
        assert "exceptionDetails" not in answer, f"{script}: {answer['exceptionDetails']}"
        return answer["result"].get("value")

    def until(self, script: str, what: str, timeout_s: float, between=lambda: time.sleep(0.1)) -> object:
        """Ask again until the expression is true. Raises AssertionError naming what it waited for."""
        deadline_s = time.monotonic() + timeout_s
        while not (value := self.run(script)):
            assert time.monotonic() < deadline_s, f"waited {timeout_s:g} s for {what}; page said {self.console[-5:]}"
            between()
        return value

    def click(self, selector: str) -> None:
        """A real mouse click in the middle of an element."""
        x, y = self.run(
            f"(() => {{ const r = document.querySelector({json.dumps(selector)}).getBoundingClientRect();"
            " return [r.x + r.width / 2, r.y + r.height / 2]; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self._call("Input.dispatchMouseEvent", {"type": kind, "x": x, "y": y, "button": "left", "clickCount": 1})

    def drag(self, selector: str, share: float) -> None:
        """A slider to a share of its width, from where its middle is."""
        left, width, y = self.run(
            f"(() => {{ const r = document.querySelector({json.dumps(selector)}).getBoundingClientRect();"
            " return [r.x, r.width, r.y + r.height / 2]; })()"
        )
        steps = (("mousePressed", 0.5), ("mouseMoved", share), ("mouseReleased", share))
        for kind, at in steps:
            x = left + 1 + at * (width - 2)
            self._call(
                "Input.dispatchMouseEvent",
                {"type": kind, "x": x, "y": y, "button": "left", "buttons": 1, "clickCount": 1},
            )

    def type(self, text: str) -> None:
        """Into what has the focus, then Enter."""
        self._call("Input.insertText", {"text": text})
        for kind in ("keyDown", "keyUp"):
            self._call(
                "Input.dispatchKeyEvent",
                {"type": kind, "key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13, "text": "\r"},
            )

    def frames(self, part: str) -> list[str]:
        """Targets of frames that run in a process of their own and have `part` in their address."""
        found = self._ask(self._root, "Target.getTargets", {})["targetInfos"]
        return [t["targetId"] for t in found if t["type"] == "iframe" and part in t["url"]]

    def hang_frame(self, part: str) -> None:
        """Let a frame with a process of its own compute for ever."""
        (target,) = self.frames(part)
        self._frame = connect(f"ws://127.0.0.1:{self._debug_port}/devtools/page/{target}", max_size=None)
        self._frame.send(json.dumps({"id": 1, "method": "Runtime.evaluate", "params": {"expression": "for(;;);"}}))

    def screenshot(self, path: Path, quality: int = 88) -> None:
        answer = self._call("Page.captureScreenshot", {"format": "jpeg", "quality": quality})
        path.write_bytes(base64.b64decode(answer["data"]))

    def _port(self) -> tuple[str, str]:
        file, deadline_s = self._folder / "profile" / "DevToolsActivePort", time.monotonic() + _START_S
        while not file.is_file() or file.read_text().count("\n") < 1:
            assert self._process.poll() is None, (self._folder / "log.txt").read_text()
            assert time.monotonic() < deadline_s, f"the browser did not start within {_START_S:g} s"
            time.sleep(0.05)
        port, path = file.read_text().split("\n")[:2]
        return port, path

    def _call(self, method: str, parameters: dict | None = None) -> dict:
        return self._ask(self._page, method, parameters or {})

    def _ask(self, connection, method: str, parameters: dict) -> dict:
        self._count += 1
        connection.send(json.dumps({"id": self._count, "method": method, "params": parameters}))
        deadline_s = time.monotonic() + _ANSWER_S
        while True:
            message = json.loads(connection.recv(timeout=max(0.1, deadline_s - time.monotonic())))
            if message.get("id") == self._count:
                assert "error" not in message, f"{method}: {message['error']}"
                return message["result"]
            self._heard(message)

    def _heard(self, message: dict) -> None:
        p = message.get("params", {})
        if message.get("method") == "Runtime.consoleAPICalled":
            self.console.append(f"{p['type']}: " + " ".join(str(a.get("value", "")) for a in p["args"]))
        elif message.get("method") == "Runtime.exceptionThrown":
            self.console.append(f"exception: {p['exceptionDetails'].get('text')} "
                                f"{p['exceptionDetails'].get('exception', {}).get('description', '')}")  # fmt: skip
        elif message.get("method") == "Log.entryAdded" and p["entry"]["level"] == "error":
            self.console.append(f"log: {p['entry']['text']} {p['entry'].get('url', '')}")

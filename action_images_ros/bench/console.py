"""What the operator's page costs: processor time of its process with no page, one page and a page with the scene open.

Pictures, joint states and chunks at the rates of a real cell are published to a console of its own, with a client that
takes everything. The period error of a 100 Hz loop beside it says whether the page slows control.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ConfigError, TransportError

_START_S, _SETTLE_S = 60.0, 2.0
_DOMAIN = "197"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seconds", type=float, default=10.0, help="of every measurement (%(default)s)")
    parser.add_argument("--rate", type=float, default=30.0, help="pictures a second and view (%(default)s)")
    parser.add_argument("--width", type=int, default=320, help="of the pictures; the height is 3/4 of it (%(default)s)")
    parser.add_argument("--json", type=Path, help="write the numbers to this file")


def run(args: argparse.Namespace) -> int:
    if not 1 <= args.seconds <= 600 or not 1 <= args.rate <= 60 or not 64 <= args.width <= 1920:
        given = f"--seconds {args.seconds:g} (1 to 600), --rate {args.rate:g} (1 to 60)"
        raise ConfigError(f"{given}, --width {args.width} (64 to 1920)")
    os.environ["ROS_DOMAIN_ID"] = _DOMAIN
    from ..ros.runner import graph_environment

    os.environ.update(graph_environment())
    rows = _Bench(args).run()
    views, height = len(rows[0]["views"]), args.width * 3 // 4
    print(f"{views} views of {args.width}x{height} at {args.rate:g} Hz; 100 % is one processor")
    print(f"{'':24}{'console':>10}{'pictures a second':>20}{'100 Hz loop, period error p50':>32}{'p99':>10}")
    for r in rows:
        print(f"{r['case']:24}{r['cpu_percent']:>8.1f} %{r['pictures_hz']:>20.1f}{r['period_error_p50_ms']:>29.2f} ms"
              f"{r['period_error_p99_ms']:>7.2f} ms")  # fmt: skip
    if args.json:
        args.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    return 0


class _Bench:
    def __init__(self, args: argparse.Namespace) -> None:
        from ..cell import Cell, View
        from ..ros.paths import config_file

        self._args = args
        cell = Cell.load(config_file("config/cell.yaml"))
        size = (args.width, args.width * 3 // 4)
        views = tuple(View(v.name, v.topic, v.serial, v.camera.resized(size), v.calibration) for v in cell.views)
        self._cell = Cell(cell.name, views, cell.workspace, cell.arm, cell.limits, cell.sync)
        rng = np.random.default_rng(0)
        smooth = rng.integers(0, 255, (8, size[1] // 8, size[0] // 8, 3), np.uint8)
        self._images = np.repeat(np.repeat(smooth, 8, axis=1), 8, axis=2)
        self.port = 0
        self.pictures = 0

    def run(self) -> list[dict]:
        import tempfile

        from ..ros.console_load import publish_cell
        from ..ros.loop import DeadlineLoop
        from ..ros.node_spec import NodeSpec
        from ..ros.operator import Operator
        from ..ros.runner import GraphRunner

        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "cell.yaml"
            self._cell.save(file)
            spec = NodeSpec("console", "console", parameters={"cell": str(file), "port": 0, "stop_port": 0})
            with GraphRunner([spec], Path(folder), self._heard) as runner, Operator("bench") as operator:
                operator.on_wait = runner.require_running
                publish_cell(operator.node, self._cell, self._images, self._args.rate)
                operator.until(lambda: self.port > 0, "the console", _START_S)
                loop = DeadlineLoop("control", 0.01, lambda now_s: None, lambda error: None)
                loop.start()
                cases = (("no page open", ()), ("one page", ("live",)), ("one page with its scene", ("live", "scene")))
                rows = [self._measure(name, clients, runner.pid("console"), operator, loop) for name, clients in cases]
                loop.stop()
        return rows

    def _heard(self, name: str, line: str) -> None:
        found = re.search(r"console: http://[^:]+:(\d+)/", line)
        self.port = int(found.group(1)) if found else self.port

    def _measure(self, case: str, clients: tuple[str, ...], pid: int, operator, loop) -> dict:
        done = threading.Event()
        threads = [threading.Thread(target=self._client, args=(c, done), daemon=True) for c in clients]
        for thread in threads:
            thread.start()
        operator.spin_for(_SETTLE_S)
        loop.restart_statistics()
        cpu_s, began_s, pictures = _cpu_s(pid), time.monotonic(), self.pictures
        operator.spin_for(self._args.seconds)
        seconds = time.monotonic() - began_s
        errors = loop.period_errors()
        row = {
            "case": case,
            "views": list(self._cell.view_names),
            "cpu_percent": 100 * (_cpu_s(pid) - cpu_s) / seconds,
            "pictures_hz": (self.pictures - pictures) / seconds / len(self._cell.views),
            "period_error_p50_ms": 1e3 * errors.p50,
            "period_error_p99_ms": 1e3 * errors.p99,
        }
        done.set()
        for thread in threads:
            thread.join(5.0)
        return row

    def _client(self, kind: str, done: threading.Event) -> None:
        """What a page does: takes all it is sent."""
        import urllib.request

        from websockets.exceptions import ConnectionClosed
        from websockets.sync.client import connect

        path = "live"
        options: dict[str, Any] = {}
        if kind == "scene":
            import viser

            with urllib.request.urlopen(f"http://localhost:{self.port}/") as answer:
                found = re.search(r"const SETTINGS = (.*);", answer.read().decode())
            assert found is not None, "every page of the console has them"
            settings = json.loads(found.group(1))
            path = settings["scene"].partition("?")[0].rstrip("/")
            options = {"subprotocols": [f"viser-v{viser.__version__}"]}
        with connect(f"ws://localhost:{self.port}/{path}", max_size=None, **options) as socket:
            while not done.is_set():
                try:
                    message = socket.recv(timeout=0.5)
                except TimeoutError:
                    continue
                except ConnectionClosed:
                    return
                if kind == "live" and isinstance(message, bytes) and message[0] == 0:
                    self.pictures += 1


def _cpu_s(pid: int) -> float:
    """Processor time that a process has used (Linux)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError as e:
        raise TransportError(f"the console's process {pid} cannot be measured: {e}") from e
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

"""Runs a node graph as processes: logs apart, ends together, leaves no orphan.

Each process has its own session, so that Ctrl-C reaches only the runner, which then asks them all to
end: SIGINT, after a while SIGTERM, at last SIGKILL to whole process groups.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import ConfigError, TransportError
from .dds import profile_defaults
from .main import PARENT_VARIABLE
from .node_spec import PACKAGE, NodeSpec
from .paths import executable_command

_TAIL_LINES = 20
_RESPAWN_S = 1.0


@dataclass(frozen=True)
class Patience:
    """Seconds to wait after SIGINT before SIGTERM, and after SIGTERM before SIGKILL."""

    interrupt_s: float = 5.0
    terminate_s: float = 3.0


@dataclass(frozen=True)
class Exit:
    """A process that ended: status as the shell counts it (128 + n for signal n) and its last line."""

    name: str
    status: int
    last_line: str


def environment_defaults(base: Mapping[str, str] | None = None) -> dict[str, str]:
    """What every node's environment should have and `base` (default: ours) does not say: the DDS profile that loses no
    frames, discovery on this machine only, no spinning of idle compute threads."""
    wanted = {
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
        "RCUTILS_COLORIZED_OUTPUT": "0",
        "GOMP_SPINCOUNT": "0",
        "PYTHONUNBUFFERED": "1",
    }
    present = os.environ if base is None else base
    return {**profile_defaults(present), **{name: value for name, value in wanted.items() if name not in present}}


def graph_environment(base: Mapping[str, str] | None = None) -> dict[str, str]:
    """The whole environment of every node. What is already set stays."""
    env = dict(os.environ if base is None else base)
    return {**env, **environment_defaults(env), PARENT_VARIABLE: str(os.getpid())}


def separate_graph() -> None:
    """Give this process and its nodes `graph_environment`, and a ROS domain of their own unless one is named."""
    os.environ.setdefault("ROS_DOMAIN_ID", str(1 + os.getpid() % 100))
    os.environ.update(graph_environment())


class GraphRunner:
    """Starts `graph`; use as a context manager so that it always ends.

    log_dir: one `<name>.log` each. on_line(name, line): called from reader threads. Raises ConfigError on entering
    where an executable is not installed (optional ones are left out and listed in `left_out`).
    """

    def __init__(
        self,
        graph: Sequence[NodeSpec],
        log_dir: Path,
        on_line: Callable[[str, str], None] | None = None,
        patience: Patience = Patience(),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.left_out = tuple(
            n.name for n in graph if n.optional and executable_command(n.package, n.executable) is None
        )
        self._nodes = [n for n in graph if n.name not in self.left_out]
        self._log_dir, self._on_line, self._patience = Path(log_dir), on_line, patience
        self._environment = graph_environment(environment)
        self._running: dict[str, _Process] = {}

    def __enter__(self) -> GraphRunner:
        commands = {n.name: command_line(n) for n in self._nodes}
        self._log_dir.mkdir(parents=True, exist_ok=True)
        try:
            for node in self._nodes:
                self._start(node, commands[node.name])
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def _start(self, node: NodeSpec, command: list[str]) -> None:
        self._running[node.name] = _Process(
            node, command, self._environment, self._log_dir / f"{node.name}.log", self._on_line
        )

    def pid(self, name: str) -> int:
        return self._running[name].popen.pid

    def restart(self, name: str) -> None:
        """Start a node anew; one that still runs is killed first, with whatever it started."""
        process = self._running[name]
        process.signal(signal.SIGKILL)
        process.popen.wait()
        process.finish()
        self._start(process.node, process.command)

    def poll(self) -> Exit | None:
        """The first required process that has ended; respawns those that are to be. Call it now and then."""
        for name, process in list(self._running.items()):
            status = process.popen.poll()
            if status is None:
                continue
            if process.node.respawn and time.monotonic() - process.started_s > _RESPAWN_S:
                self._start(process.node, process.command)
            elif process.node.required:
                process.finish()
                return Exit(name, status if status >= 0 else 128 - status, process.last_line())
        return None

    def require_running(self) -> None:
        """Raise TransportError naming the process that has ended and its last words."""
        ended = self.poll()
        if ended is not None:
            raise TransportError(
                f"{ended.name} ended with status {ended.status}: {ended.last_line or 'no output'} "
                f"(log: {self._log_dir / ended.name}.log)"
            )

    def stop(self) -> None:
        """End every process, in order of rising force. Returns when all are gone."""
        for number, patience_s in (
            (signal.SIGINT, self._patience.interrupt_s),
            (signal.SIGTERM, self._patience.terminate_s),
            (signal.SIGKILL, 2.0),
        ):
            alive = [p for p in self._running.values() if p.popen.poll() is None]
            for process in alive:
                process.signal(number)
            deadline_s = time.monotonic() + patience_s
            for process in alive:
                process.wait(max(0.0, deadline_s - time.monotonic()))
        for process in self._running.values():
            process.signal(signal.SIGKILL)
            process.finish()
        self._running.clear()


def command_line(node: NodeSpec) -> list[str]:
    """The whole command. Raises ConfigError where the executable is not installed."""
    command = executable_command(node.package, node.executable)
    if command is None:
        raise ConfigError(f"{node.package}/{node.executable} is not installed; source the ROS installation that has it")
    return [*command, *node.command_arguments()]


@dataclass
class _Process:
    node: NodeSpec
    command: list[str]
    environment: Mapping[str, str]
    log_file: Path
    on_line: Callable[[str, str], None] | None
    started_s: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        # Our nodes unblock SIGINT when they can end cleanly; one that comes before waits for that.
        blocked = {signal.SIGINT} if self.node.package == PACKAGE else set()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, blocked)
        try:
            self.popen = subprocess.Popen(
                self.command,
                env=dict(self.environment),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                text=True,
                errors="replace",
            )
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        self._tail: deque[str] = deque(maxlen=_TAIL_LINES)
        self._reader = threading.Thread(target=self._read, name=f"log {self.node.name}", daemon=True)
        self._reader.start()

    def _read(self) -> None:
        with open(self.log_file, "a", encoding="utf-8") as log:
            assert self.popen.stdout is not None, "a pipe"
            for line in self.popen.stdout:
                log.write(line)
                log.flush()
                self._tail.append(line.rstrip())
                if self.on_line is not None:
                    self.on_line(self.node.name, line.rstrip())

    def last_line(self) -> str:
        """The last error line, else the last line at all."""
        lines = [line for line in self._tail if line]
        errors = [line for line in lines if line.startswith("error:")]
        return (errors or lines or [""])[-1]

    def signal(self, number: int) -> None:
        """To the whole group: the process and whatever it started."""
        try:
            os.killpg(self.popen.pid, number)
        except (ProcessLookupError, PermissionError):
            pass

    def wait(self, timeout_s: float) -> None:
        try:
            self.popen.wait(timeout_s)
        except subprocess.TimeoutExpired:
            pass

    def finish(self) -> None:
        """Collect the rest of the output."""
        self._reader.join(1.0)

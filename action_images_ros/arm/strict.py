"""The strict arm simulator as a process: started, collided with, killed, and its record of every cycle.

It lives in an environment of its own, which `./run setup test` makes: it cannot share this package's NumPy and MuJoCo.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import ArmError
from . import strict_server

ENVIRONMENT = ".venv-franka-sim"
PYTHON_VARIABLE = "ACTION_IMAGES_FRANKA_SIM"
_PORT = 1337
_START_S = 60.0
_END_S = 10.0
CYCLE_S = 1e-3


def strict_python() -> Path:
    """The Python that has `franka-sim`. Raises ArmError where there is none, saying how to get it."""
    named = os.environ.get(PYTHON_VARIABLE, "")
    path = Path(named) if named else Path(__file__).resolve().parents[2] / ENVIRONMENT / "bin" / "python"
    if not path.is_file():
        raise ArmError(
            f"{path} does not exist: the strict arm simulator has an environment of its own; make it with "
            f"`./run setup test`, or name a Python that has franka-sim in {PYTHON_VARIABLE}"
        )
    return path


@dataclass(frozen=True)
class CommandedMotion:
    """What an arm was told in every millisecond of motion, against the FR3's limits.

    cycles: 1 ms each; lost: without an answer of the client; lost_in_a_row: at most; success_rate: smallest, over 100
    cycles; velocity, acceleration, jerk: largest of any joint (rad/s, rad/s^2, rad/s^3), the last two where the client
    answered: across a missing answer the arm itself goes on.
    """

    cycles: int
    lost: int
    lost_in_a_row: int
    success_rate: float
    velocity: float
    acceleration: float
    jerk: float
    jerk_rms: float


class StrictArm:
    """Use it as a context manager. address: a loopback address of its own; directory: for record and log."""

    def __init__(self, directory: Path, address: str = "127.0.0.9") -> None:
        self.address, self._directory = address, Path(directory)
        self._python = strict_python()
        self._process: subprocess.Popen | None = None

    def __enter__(self) -> StrictArm:
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.end(signal.SIGTERM)

    def start(self) -> None:
        """Start, and return once it answers. Raises ArmError where it ends or does not answer in time."""
        self._directory.mkdir(parents=True, exist_ok=True)
        environment = {k: v for k, v in os.environ.items() if k not in ("_ROS_WHEELS_BOOTSTRAP_COMPLETE", "PYTHONPATH")}
        with open(self._directory / "server.log", "ab") as log:
            self._process = subprocess.Popen(
                [str(self._python), strict_server.__file__, self.address, str(self._directory)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment | {"OMP_NUM_THREADS": "1"},
                start_new_session=True,
            )
        end_s = time.monotonic() + _START_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > end_s:
                self.end(signal.SIGKILL)
                raise ArmError(f"the strict arm simulator did not start; its output: {self._directory / 'server.log'}")
            time.sleep(0.1)

    def _answers(self) -> bool:
        try:
            socket.create_connection((self.address, _PORT), 1.0).close()
        except OSError:
            return False
        return True

    def end(self, number: int = signal.SIGTERM) -> None:
        """SIGKILL is a robot whose power or cable is gone."""
        process, self._process = self._process, None
        if process is None or process.poll() is not None:
            return
        os.killpg(process.pid, number)
        try:
            process.wait(_END_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def collide(self) -> None:
        """The arm meets something and raises its reflex."""
        assert self._process is not None, "start first"
        os.kill(self._process.pid, signal.SIGUSR1)

    def cycles(self) -> np.ndarray:
        """Every state that it has sent, with the fields of strict_server.CYCLE_FIELDS."""
        raw = (self._directory / "cycles.bin").read_bytes()
        size = strict_server.CYCLE.size
        return np.frombuffer(raw[: len(raw) // size * size], np.dtype(strict_server.CYCLE_FIELDS))

    def aborts(self) -> list[str]:
        """Why the arm ended motions by itself: reflexes, exceeded limits, lost communication."""
        lines = (self._directory / "aborts.jsonl").read_text(encoding="utf-8").splitlines()
        return [json.loads(line)["reason"] for line in lines]


def commanded_motion(cycles: np.ndarray) -> CommandedMotion:
    """Of a record's cycles in motion. Raises ArmError where there are none."""
    runs = np.split(cycles, np.flatnonzero((np.diff(cycles["in_motion"]) != 0) | (np.diff(cycles["id"]) != 1)) + 1)
    runs = [r for r in runs if len(r) > 3 and r["in_motion"][0]]
    if not runs:
        raise ArmError("the record has no motion")
    dq = [r["dq_d"] for r in runs]
    ddq = np.concatenate([np.diff(v, axis=0)[_answered(r, 1)] for v, r in zip(dq, runs)]) / CYCLE_S
    jerk = np.concatenate([np.diff(v, 2, axis=0)[_answered(r, 2)] for v, r in zip(dq, runs)]) / CYCLE_S**2
    lost = np.concatenate([r["lost_in_a_row"] for r in runs])
    return CommandedMotion(
        sum(len(r) for r in runs),
        int((lost > 0).sum()),
        int(lost.max()),
        float(min(r["success_rate"][100:].min(initial=1.0) for r in runs)),
        float(np.abs(np.concatenate(dq)).max()),
        float(np.abs(ddq).max()),
        float(np.abs(jerk).max()),
        float(np.sqrt(np.mean(jerk**2))),
    )


def _answered(run: np.ndarray, order: int) -> np.ndarray:
    """For every difference of this order in a run: whether all cycles that it is of had their answer."""
    bad = run["lost_in_a_row"] > 0
    spoilt = bad | np.concatenate([[False], bad[:-1]])  # the cycle after a gap jumps to where the client is
    return ~np.any([spoilt[k : len(run) - order + k] for k in range(order + 1)], axis=0)

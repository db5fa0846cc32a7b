"""Faults injected into the running graph: what they do to the arm, and what it takes to go on.

The whole graph runs (simulated cell, the real denoiser, decoder, controller, over DDS). For each fault the arm is set
in motion towards the instruction, the fault is injected, and an onlooker measures the arm's true motion:

- noticed: from the injection to the controller's decision, by ROS time (the deadlines are parameters of the controller;
  `arm` where the controller cannot decide any more and the arm stops by the last command it has);
- rest: from there until no joint moves, in robot time;
- accel: the largest acceleration of any joint from the injection until it moves again, as a share of the FR3's own
  limit (of the commands where something holds the arm, whose stop is not the controller's);
- lost: what did not arrive meanwhile, against the nominal rates (joint states, camera sets, chunks);
- tries: more than one where the machine itself disturbed a trial (another fault first, or a bar missed);
- goes on: what it took to move again. "by itself" was waited for; where an operator's call is needed, it was seen first
  that the arm stays at rest without it.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from ..control import FR3_LIMITS, Event, Resume
from ..errors import TransportError

RATE_HZ = 100.0
CAMERA_HZ = 10.0
LONGEST_REST_S = 0.3
_NOTICE_S = 40.0
_FROZEN_S = 0.7
_NOISE_EVERY_S = 0.3
_UNMOVED_S = 0.7
_QUIET_S = 0.4


@dataclass(frozen=True)
class Fault:
    """inject(lab); heal(lab). events: what the controller may call it; none: it cannot notice, the arm stops by itself.
    every(lab): repeated while waiting."""

    name: str
    inject: Callable
    heal: Callable = lambda lab: lab.heal()
    events: tuple[Event, ...] = ()
    every: Callable | None = None
    by_commands: bool = False


@dataclass(frozen=True)
class Row:
    """What one fault did. noticed_s None: by the arm alone. peak_of_limit: acceleration over the FR3's."""

    fault: str
    noticed_s: float | None
    rest_s: float
    peak_of_limit: float
    state: str
    why: str
    goes_on: str
    lost_states: int
    lost_sets: int
    lost_chunks: int
    attempts: int

    @property
    def ok(self) -> bool:
        """Whether the arm came to rest in time and inside its limits."""
        return self.rest_s <= LONGEST_REST_S and self.peak_of_limit < 1.0


def faults() -> tuple[Fault, ...]:
    """Every fault of the table, the cheapest to heal first."""
    from ..ros.sim_faults import SimFault

    def cell(name: str, fault: SimFault, *events: Event, **more) -> Fault:
        return Fault(name, lambda lab: lab.cell_fault(fault), events=events, **more)

    def killed(name: str, report: str) -> Fault:
        return Fault(f"{name} killed (SIGKILL)", lambda lab: lab.kill(name), lambda lab: lab.bring_back(name, report),
                     (Event.CHUNKS_STALE, Event.PATH_ENDED))

    return (
        Fault("stop called", lambda lab: lab.operator.trigger("stop"), lambda lab: None, (Event.STOP,)),
        cell("no fresh camera set", SimFault.NO_IMAGES, Event.FRAMES_STALE),
        cell("no fresh joint states", SimFault.NO_JOINT_STATES, Event.STATES_STALE),
        cell("tracking error (arm blocked)", SimFault.BLOCKED, Event.TRACKING_ERROR, by_commands=True),
        cell("joint near its limit", SimFault.JOINT_AT_END, Event.JOINT_NEAR_LIMIT),
        Fault("no credible chunk", lambda lab: lab.operator.instruct(""), lambda lab: lab.restore_instruction(),
              (Event.CHUNKS_STALE, Event.PATH_ENDED), every=lambda lab: lab.send_noise()),
        Fault("command deadline missed", _freeze, lambda lab: None, (Event.COMMAND_LATE,)),
        Fault("clock jump", lambda lab: lab.shift_clock(True), lambda lab: lab.shift_clock(False),
              (Event.CLOCK_JUMP,)),
        cell("ROS graph split", SimFault.SPLIT, Event.STATES_STALE, Event.FRAMES_STALE),
        killed("decoder", "decoder: decode"),
        killed("denoiser", "denoiser: generate"),
        Fault("controller killed (SIGKILL)", lambda lab: lab.kill("controller"),
              lambda lab: lab.bring_back("controller", "controller: control")),
    )


def _freeze(lab) -> None:
    lab.freeze("controller")
    lab.operator.spin_for(_FROZEN_S)
    lab.thaw("controller")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--only", nargs="+", metavar="WORD", help="faults whose name has one of these words")
    parser.add_argument("--speed", type=float, default=0.5, help="playback speed of the policy (%(default)s)")
    parser.add_argument("--model", default="models/reach", help="model directory (%(default)s)")
    parser.add_argument("--engine", default="auto", help="inference engine (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of cameras, scenes and noise (%(default)s)")
    parser.add_argument("--patient", action="store_true",
                        help="deadlines for a machine that other work may occupy; the product's own otherwise")
    parser.add_argument("--out", type=Path, help="directory for cell file and logs (runs/<time>)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the table as JSON")


PATIENT = {"watchdog.states_s": 1.0, "watchdog.frames_s": 3.0, "watchdog.command_s": 0.4, "watchdog.clock_jump_s": 0.5,
           "watchdog.chunks_s": 6.0, "watchdog.tracking_rad": 0.12}
"""Deadlines of the controller in a test on a busy machine: what a processor delays is no fault there."""


def run(args: argparse.Namespace) -> int:
    from ..ros.runner import separate_graph

    separate_graph()
    out = args.out or Path("runs") / time.strftime("%Y%m%d-%H%M%S")
    print(f"{'fault':30s} {'noticed s':>9s} {'rest s':>7s} {'accel':>6s} {'state':9s} {'goes on':18s} "
          f"{'lost: states':>12s} {'sets':>5s} {'chunks':>6s} {'tries':>5s}  why")
    rows = []
    for row in measure(out, args.only, args.speed, args.model, args.engine, args.seed, args.patient):
        rows.append(row)
        noticed = "arm" if row.noticed_s is None else f"{row.noticed_s:.3f}"
        print(f"{row.fault:30s} {noticed:>9s} {row.rest_s:7.2f} {row.peak_of_limit:6.2f} {row.state:9s} "
              f"{row.goes_on:18s} {row.lost_states:12d} {row.lost_sets:5d} {row.lost_chunks:6d} {row.attempts:5d}  "
              f"{row.why}", flush=True)
    bad = [row.fault for row in rows if not row.ok]
    print(f"{len(rows) - len(bad)} of {len(rows)}: at rest within {LONGEST_REST_S} s of robot time, acceleration "
          "inside the FR3's limits" + (f"; not: {', '.join(bad)}" if bad else ""))
    if args.json:
        args.json.write_text(json.dumps({"rows": [asdict(row) for row in rows], "speed": args.speed}, indent=2))
    return 1 if bad else 0


def measure(out: Path, only: list[str] | None = None, speed: float = 0.5, model: str = "models/reach",
            engine: str = "auto", seed: int = 0, patient: bool = False):
    """Start the graph, inject every fault (whose name has one of the words `only`); yields a Row each."""
    from ..ros.fault_lab import running_lab
    from ..ros.paths import config_file
    from .policy_graph import write_cell

    chosen = [f for f in faults() if not only or any(word in f.name for word in only)]
    model_directory = config_file(model)
    cell_file = write_cell(out, model_directory, seed)
    graph = _graph(cell_file, model_directory, engine, speed, seed, patient)
    with running_lab(graph, cell_file, model_directory, out / "log") as lab:
        for fault in chosen:
            yield _try(lab, fault)


def _graph(cell_file: Path, model: Path, engine: str, speed: float, seed: int, patient: bool):
    from ..ros.graph import policy_graph, with_parameters

    graph = policy_graph({"sim": "true", "model": str(model), "engine": engine, "cell": str(cell_file),
                          "speed_factor": str(speed)})
    parameters = {"sim_cell": {"seed": seed, "timeout_s": 600.0}, "controller": PATIENT if patient else {}}
    return tuple(n for n in with_parameters(graph, parameters) if not n.optional)


def _try(lab, fault: Fault, attempts: int = 3) -> Row:
    """Once more where a busy machine caused a fault of its own just before, or kept the simulation from running in real
    time, which the arm then sees as commands that come too fast."""
    for attempt in range(1, attempts + 1):
        row = _inject(lab, fault, attempt)
        if row is not None and (row.ok or attempt == attempts):
            return row
    raise TransportError(f"{fault.name}: {attempts} times something else stopped the arm first; the last change was "
                       f"{lab.record.changes[-1]}")


def _inject(lab, fault: Fault, attempt: int) -> Row | None:
    """One trial; None when something else than the fault stopped the arm."""
    lab.set_moving()
    chunk_s = _median_gap(lab.record.chunks)
    known = len(lab.record.changes)
    injected_s = lab.now_s()
    if len(lab.record.changes) != known:
        return None
    fault.inject(lab)
    noticed_s = injected_s
    if fault.events:
        _wait(lab, fault, lambda: len(lab.record.changes) > known, f"the controller to notice: {fault.name}")
        change = lab.record.changes[known]
        if not any(_tells(change, event) for event in fault.events):
            lab.heal()
            fault.heal(lab)
            return None
        noticed_s = change.at_s
    by_arm = not fault.events or Event.COMMAND_LATE in fault.events or "split" in fault.name
    from_s = injected_s if by_arm else noticed_s
    _wait(lab, fault, lambda: lab.record.came_to_rest(from_s) is not None, f"rest after: {fault.name}")
    rested_s = lab.record.came_to_rest(from_s)
    rest_s = max(0.0, rested_s - lab.record.simulated(from_s))
    if fault.by_commands:
        rest_s = lab.record.moving_commands(noticed_s) / RATE_HZ
    _wait(lab, fault, lambda: not lab.record.moving_commands(lab.now_s() - _QUIET_S), "the controller's own rest")
    change = lab.record.changes[-1]
    goes_on = _go_on(lab, fault, change.state if fault.events else "killed", rested_s)
    peak = _peak(lab.record, fault, injected_s, lab.now_s()) / FR3_LIMITS.ddq_max.max()
    lost = _lost(lab, injected_s, chunk_s)
    state, why = (change.state, change.why) if fault.events else ("gone", "")
    return Row(fault.name, None if by_arm and not fault.events else noticed_s - injected_s, rest_s, float(peak), state,
               why, goes_on, *lost, attempt)


def _tells(change, event: Event) -> bool:
    """Whether a change of state is for this reason: watchdogs begin their text with the event or describe it."""
    words = {Event.COMMAND_LATE: "between two ticks", Event.TRACKING_ERROR: "from every command",
             Event.JOINT_NEAR_LIMIT: "from the end of its range"}
    return words.get(event, event.value) in change.why


def _wait(lab, fault: Fault, condition: Callable[[], bool], what: str) -> None:
    end_s = time.monotonic() + _NOTICE_S
    while not condition():
        if time.monotonic() > end_s:
            raise TransportError(f"waited {_NOTICE_S:g} s for {what}; the controller is {lab.state}")
        if fault.every is not None:
            fault.every(lab)
        lab.operator.spin_for(_NOISE_EVERY_S if fault.every is not None else 0.05)


def _go_on(lab, fault: Fault, state: str, rested_s: float) -> str:
    """Heal, and find out what it takes to move again. rested_s: robot time at which the arm came to rest."""
    fault.heal(lab)
    if state == "holding":
        lab.until(lambda: lab.state == "running", f"the arm to go on by itself after: {fault.name}", 60.0)
        return Resume.BY_ITSELF.value
    chunks = len(lab.record.chunks)
    lab.operator.spin_for(_UNMOVED_S)
    lab.until(lambda: len(lab.record.chunks) > chunks, "a chunk", 60.0)
    if lab.state in ("running", "holding", "ready") or lab.record.moved_after(rested_s + 0.1):
        raise TransportError(f"after {fault.name} the arm went on without the operator ({lab.state})")
    done = []
    if state == "fault":
        if lab.operator.enable().ok:
            raise TransportError(f"after {fault.name} control could be enabled without a reset")
        lab.until(lambda: lab.operator.trigger("reset").ok, "the reset", 20.0)
        done.append("reset")
    lab.until(lambda: lab.operator.enable().ok, "control to be enabled", 20.0)
    lab.until(lambda: lab.state == "running", f"the arm to go on after: {fault.name}", 60.0)
    return ", then ".join([*done, "enable"])


def _peak(record, fault: Fault, since_s: float, until_s: float) -> float:
    """Of the arm; where the fault itself stops the arm, of the commands (rad/s^2)."""
    if not fault.by_commands:
        return record.peak_acceleration(since_s, until_s)
    dq = np.array([velocity for at_s, velocity in record.commands if at_s >= since_s])
    return float(np.abs(np.diff(dq, axis=0)).max() * RATE_HZ) if len(dq) > 1 else 0.0


def _median_gap(times: list[float]) -> float:
    return float(np.median(np.diff(times))) if len(times) > 1 else 0.0


def _lost(lab, since_s: float, chunk_s: float) -> tuple[int, int, int]:
    """Joint states, camera sets and chunks that did not come since then, against their nominal rates."""
    seconds, r = lab.now_s() - since_s, lab.record
    came = [sum(t >= since_s for t in times) for times in (r.states, r.chunks, *r.exposures.values())]
    due = (RATE_HZ * seconds, seconds / chunk_s if chunk_s else 0.0, CAMERA_HZ * seconds)
    return (max(0, round(due[0] - came[0])), max(0, round(due[2] - min(came[2:]))), max(0, round(due[1] - came[1])))

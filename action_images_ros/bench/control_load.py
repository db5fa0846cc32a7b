"""Period errors and CPU share of the controller process while the whole graph runs.

The simulated cell, the real denoiser (one chunk after the other, which takes all the processor it can get), the decoder
and the controller run as processes over DDS while the arm follows the policy. Measured are the controller's control
periods (its own diagnostics: |period - nominal| over the last 1000, and periods skipped) and the processor time of its
process, by the system, as a share of one core.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path

_CONTROL = "controller: control"
_LEG_S = 4.0


@dataclass(frozen=True)
class Load:
    """One row; times in ms. cpu_share: of one core. chunks_hz: what the denoiser made meanwhile."""

    rate_hz: float
    period_error_p50_ms: float
    period_error_p99_ms: float
    period_error_max_ms: float
    skipped: int
    busy_p50_ms: float
    busy_p99_ms: float
    cpu_share: float
    chunks_hz: float
    real_time_priority: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rates", type=float, nargs="+", default=[100.0, 200.0], metavar="HZ", help="control rates")
    parser.add_argument("--seconds", type=float, default=20.0, help="measured time at each rate (%(default)s)")
    parser.add_argument("--speed", type=float, default=0.5, help="playback speed of the policy (%(default)s)")
    parser.add_argument("--priority", type=int, default=10, help="SCHED_FIFO priority, 0: none (%(default)s)")
    parser.add_argument("--model", default="models/reach", help="model directory (%(default)s)")
    parser.add_argument("--engine", default="auto", help="inference engine (%(default)s)")
    parser.add_argument("--out", type=Path, help="directory for cell file and logs (runs/<time>)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the table as JSON")


def run(args: argparse.Namespace) -> int:
    from ..ros.runner import separate_graph

    separate_graph()
    out = args.out or Path("runs") / time.strftime("%Y%m%d-%H%M%S")
    print(f"{'rate Hz':>8s} {'error p50 ms':>12s} {'p99':>7s} {'max':>7s} {'skipped':>8s} {'busy p50 ms':>11s} "
          f"{'p99':>7s} {'CPU':>6s} {'chunks/s':>9s}  real-time priority")
    rows = []
    for rate_hz in args.rates:
        row = measure(rate_hz, args.seconds, out, args.speed, args.priority, args.model, args.engine)
        rows.append(asdict(row))
        print(f"{row.rate_hz:8.0f} {row.period_error_p50_ms:12.3f} {row.period_error_p99_ms:7.2f} "
              f"{row.period_error_max_ms:7.2f} {row.skipped:8d} {row.busy_p50_ms:11.2f} {row.busy_p99_ms:7.2f} "
              f"{100 * row.cpu_share:5.0f}% {row.chunks_hz:9.1f}  {row.real_time_priority}", flush=True)
    if args.json:
        args.json.write_text(json.dumps({"rows": rows, "cores": os.cpu_count()}, indent=2))
    return 0


def measure(rate_hz: float, seconds: float, out: Path, speed: float = 0.5, priority: int = 10,
            model: str = "models/reach", engine: str = "auto") -> Load:
    """Run the graph at one control rate and keep the arm moving for `seconds`."""
    from ..ros.fault_lab import running_lab
    from ..ros.graph import policy_graph, with_parameters
    from ..ros.paths import config_file
    from .policy_graph import write_cell

    directory = config_file(model)
    cell_file = write_cell(out, directory, seed=0)
    graph = policy_graph({"sim": "true", "model": str(directory), "engine": engine, "cell": str(cell_file),
                          "speed_factor": str(speed)})
    graph = with_parameters(graph, {"controller": {"rate_hz": rate_hz, "priority": priority},
                                    "sim_cell": {"timeout_s": 600.0}})
    graph = tuple(n for n in graph if not n.optional)
    with running_lab(graph, cell_file, directory, out / f"log_{rate_hz:g}") as lab:
        lab.set_moving()
        pid = lab.runner.pid("controller")
        skipped, cpu_s, began_s = _skipped(lab), _cpu_s(pid), time.monotonic()
        made, watched_s = 0, 0.0
        while time.monotonic() - began_s < seconds:
            before, since_s = len(lab.record.chunks), time.monotonic()
            lab.operator.spin_for(_LEG_S)
            made, watched_s = made + len(lab.record.chunks) - before, watched_s + time.monotonic() - since_s
            lab.set_moving()
        spent_s = time.monotonic() - began_s
        share = (_cpu_s(pid) - cpu_s) / spent_s
        lab.operator.spin_for(1.2)
        value = lab.operator.value
        times = {f"{what}_{k}_ms": value(_CONTROL, f"{what}_{k}_ms")
                 for what, ks in (("period_error", ("p50", "p99", "max")), ("busy", ("p50", "p99"))) for k in ks}
        told = lab.operator.diagnostics[_CONTROL].get("real_time_priority", "?")
        return Load(rate_hz, **times, skipped=_skipped(lab) - skipped, cpu_share=share,
                    chunks_hz=made / watched_s, real_time_priority=told)


def _skipped(lab) -> int:
    return int(lab.operator.value(_CONTROL, "skipped_periods"))


def _cpu_s(pid: int) -> float:
    """Processor time of a process and its threads so far, user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

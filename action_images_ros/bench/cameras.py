"""Camera images over DDS: what is lost, how old images are at the callback, and what that costs.

One process publishes as camera_driver does, others subscribe as the nodes do. The age is from just before the
message is made to the callback. The first second does not count: the last subscriptions are still being found.
Compare `--profile builtin`: the buffers that Fast DDS has by itself.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import time
from dataclasses import asdict
from enum import Enum
from pathlib import Path

import numpy as np

from ..errors import TransportError
from ..interrupts import deaf_children
from ..ros.camera_load import Case, Heard, Sent, listen, publish
from ..ros.dds import VARIABLES, use_profile

SIZES = {"vga": (640, 480), "720p": (1280, 720)}
WARM_UP_NS = 1_000_000_000
_DRAIN_S = 0.5
_READY_S = 90.0


class Profile(str, Enum):
    """package: the profile that every start of the package uses; builtin: what Fast DDS does without one."""

    PACKAGE = "package"
    BUILTIN = "builtin"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--cameras", type=int, nargs="+", default=[2, 3], metavar="N", help="how many (default: 2 3)")
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES), help="image sizes (default: all)")
    parser.add_argument("--rate", type=float, default=30.0, metavar="HZ", help="of every camera (default: 30)")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each case, and one more (default: 10)")
    parser.add_argument("--listeners", type=int, default=2, help="processes that take every image (default: 2)")
    parser.add_argument("--profile", choices=[p.value for p in Profile], default="package", help="of Fast DDS")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the table as JSON")


def run(args: argparse.Namespace) -> int:
    """Exit status 1 when an image was lost."""
    _environment(Profile(args.profile))
    print(
        f"{'cameras':>7s} {'size':>9s} {'sent':>6s} {'lost':>5s} {'sets':>6s} {'age p50':>8s} {'p99':>7s} "
        f"{'max ms':>7s} {'publisher':>10s} {'a listener':>10s}",
        flush=True,
    )
    rows = []
    for name in args.sizes:
        for cameras in args.cameras:
            row = measure(Case(cameras, SIZES[name], args.rate, args.listeners, args.seconds))
            rows.append(row | {"profile": args.profile})
            print(
                f"{cameras:7d} {name:>9s} {row['sent']:6d} {row['lost']:5d} {100 * row['sets_made']:5.1f}% "
                f"{row['age_p50_ms']:8.1f} {row['age_p99_ms']:7.1f} {row['age_max_ms']:7.1f} "
                f"{100 * row['publisher_cpu']:9.0f}% {100 * row['listener_cpu']:9.0f}%",
                flush=True,
            )
    print(f"{args.listeners} listeners; sets: matched sets made of those possible; processor time in % of one core")
    if args.json:
        args.json.write_text(json.dumps({"rows": rows}, indent=2))
    return 1 if any(row["lost"] for row in rows) else 0


def _environment(profile: Profile) -> None:
    """Of this process and those that it starts: a domain of their own, on this machine only."""
    os.environ["ROS_DOMAIN_ID"] = str(101 + os.getpid() % 100)
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    for variable in VARIABLES:
        os.environ.pop(variable, None)
    if profile is Profile.PACKAGE:
        use_profile()


def measure(case: Case) -> dict:
    """One row of the table."""
    spawn = multiprocessing.get_context("spawn")
    pipes = [spawn.Pipe() for _ in range(1 + case.listeners)]
    workers = [spawn.Process(target=publish, args=(case, pipes[0][1]), daemon=True)]
    for k in range(case.listeners):
        workers.append(spawn.Process(target=listen, args=(case, k, pipes[1 + k][1]), daemon=True))
    try:
        with deaf_children():
            for worker in workers:
                worker.start()
        for end, _ in pipes:
            _receive(end, _READY_S)
        pipes[0][0].send("go")
        sent: Sent = _receive(pipes[0][0], case.seconds + _READY_S)
        time.sleep(_DRAIN_S)
        heard: list[Heard] = []
        for end, _ in pipes[1:]:
            end.send("stop")
            heard.append(_receive(end, _READY_S))
        pipes[0][0].send("end")
    finally:
        for worker in workers:
            worker.join(2.0)
            worker.kill()
    return summary(case, sent, heard)


def _receive(end, timeout_s: float):
    try:
        if end.poll(timeout_s):
            return end.recv()
    except EOFError:
        pass
    raise TransportError(f"a process of the benchmark ended or did not answer within {timeout_s:g} s; see above")


def summary(case: Case, sent: Sent, heard: list[Heard]) -> dict:
    """lost: images sent that a listener did not get, over all listeners; sent: what they should have got together;
    sets_made: matched sets a listener made, of those possible."""
    from_ns = min(stamps[0] for stamps in sent.stamps_ns.values()) + WARM_UP_NS
    wanted = {v: [t for t in stamps if t >= from_ns] for v, stamps in sent.stamps_ns.items()}
    got = [{v: {t: age for t, age in images if t >= from_ns} for v, images in h.images.items()} for h in heard]
    lost = sum(len(set(stamps) - set(g[v])) for g in got for v, stamps in wanted.items())
    ages_ns: list[float] = [age for g in got for images in g.values() for age in images.values()]
    ages_ms = 1e-6 * np.array(ages_ns or [np.nan])
    p50, p99 = np.percentile(ages_ms, [50, 99])
    sets = [sum(t >= from_ns for t in h.sets_ns) for h in heard]
    return {
        **asdict(case),
        "sent": case.listeners * sum(map(len, wanted.values())),
        "lost": lost,
        "sets_made": float(np.mean(sets)) / max(min(map(len, wanted.values())), 1),
        "age_p50_ms": float(p50),
        "age_p99_ms": float(p99),
        "age_max_ms": float(ages_ms.max()),
        "publisher_cpu": sent.cpu,
        "publisher_skipped": sent.skipped,
        "listener_cpu": float(np.mean([h.cpu for h in heard])),
    }

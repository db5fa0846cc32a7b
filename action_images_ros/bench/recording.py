"""Recording: nothing lost, bit for bit, at what cost; what a killed recorder leaves; sizes of the ways to store images.

Publishers in a process of their own note a checksum of everything they send; the recorder is the real node over DDS.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import TransportError
from .compression_loss import compression_losses

_START_S = 60.0
_SUFFIXES = {"raw": "", "jpeg": "/compressed", "h264": "/h264", "h265": "/h265"}
_KINDS: dict[str, dict[str, object]] = {"raw": {}, "lz4": {"compression": "lz4"}, "zstd": {"compression": "zstd"},
          "jpeg 95": {"images": "jpeg"}, "jpeg 85": {"images": "jpeg", "jpeg_quality": 85},
          "h264": {"images": "h264"}, "h265": {"images": "h265"}}  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--cameras", type=int, default=3)
    parser.add_argument("--size", default="640x480", help="of every camera (%(default)s)")
    parser.add_argument("--rate", type=float, default=30.0, help="of every camera, Hz (%(default)s)")
    parser.add_argument("--joint-rate", type=float, default=200.0, help="Hz (%(default)s)")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each recording (%(default)s)")
    parser.add_argument("--kinds", default="raw", help=f"of {', '.join(_KINDS)}, with commas, or all (%(default)s)")
    parser.add_argument("--compression", action="store_true", help="all kinds, with what each loses; no kills")
    parser.add_argument("--kills", type=int, default=1, help="recordings that are killed by SIGKILL (%(default)s)")
    parser.add_argument("--dir", type=Path, help="where to record (a temporary directory)")
    parser.add_argument("--json", type=Path)


@dataclass(frozen=True)
class Result:
    """lost: sent between the first and the last message recorded of its topic, and not recorded; altered: recorded with
    another content; cpu: cores used by the recorder."""

    kind: str
    seconds: float
    sent: int
    lost: int
    altered: int
    mb_per_s: float
    cpu: float
    own_count: int


@dataclass(frozen=True)
class Kill:
    """lost_s: from the last message of any camera or the arm, the worst of them, to the kill."""

    seconds: float
    messages: int
    lost_s: float
    altered: int
    gaps: int


def run(args: argparse.Namespace) -> int:
    kinds = list(_KINDS) if args.kinds == "all" or args.compression else args.kinds.split(",")
    args.kills = 0 if args.compression else args.kills
    where = Path(tempfile.mkdtemp(prefix="bench_recording_", dir=args.dir))
    os.environ.setdefault("ROS_DOMAIN_ID", str(1 + os.getpid() % 100))
    try:
        cell = make_cell(args, where)
        results = [_record(args, cell, kind, where / f"r{i}") for i, kind in enumerate(kinds)]
        losses = compression_losses(cell, kinds, _KINDS) if args.compression else []
        kills = [_kill(args, cell, where / f"k{i}") for i in range(args.kills)]
    finally:
        shutil.rmtree(where, ignore_errors=True)
    _print(args, results, kills)
    for loss in losses:
        print(f"{loss.kind}: {loss.kb:.1f} kB and {loss.cpu_ms:.1f} ms of CPU a picture, {loss.psnr_db:.1f} dB, "
              f"{loss.corner_px:.3f} px at a board's corners")  # fmt: skip
    if args.json:
        args.json.write_text(json.dumps({"recordings": [asdict(r) for r in results],
                                         "kills": [asdict(k) for k in kills],
                                         "losses": [asdict(x) for x in losses]}, indent=1))  # fmt: skip
    exact = all(not r.lost and not r.altered for r in results)
    return 0 if exact and all(k.lost_s < 1.0 and not k.altered for k in kills) else 1


def make_cell(args: argparse.Namespace, where: Path) -> Path:
    from ..cell import Calibration, Cell, View, WorkspaceBox
    from ..sim.cameras import sample_cameras
    from ..sim.split import Split

    width, height = (int(x) for x in args.size.split("x"))
    views = []
    for k in range(args.cameras):
        camera = next(iter(sample_cameras(np.random.default_rng(k), Split.TRAIN, 2, (width, height)).values()))
        exact = Calibration("2026-05-26", "simulated", 0.0)
        views.append(View(f"view{k}", f"/camera/view{k}", f"sim-{k}", camera, exact))
    path = where / "cell.yaml"
    Cell("bench", tuple(views), WorkspaceBox((0.2, -0.5, 0.0), (0.8, 0.5, 0.8))).save(path)
    return path


class _Session:
    """Publishers and recorder, up and recording."""

    def __init__(self, args: argparse.Namespace, cell: Path, kind: str, where: Path) -> None:
        from ..ros.graph import record_graph, with_parameters
        from ..ros.operator import Operator
        from ..ros.runner import GraphRunner, graph_environment

        where.mkdir()
        self.truth, self.bags = [where / "cameras.json", where / "arm.json"], where / "bags"
        os.environ.update(graph_environment())
        module = [sys.executable, "-m", "action_images_ros.ros.recording_sources"]
        rates = ["--rate", str(args.rate), "--joint-rate", str(args.joint_rate)]
        self.sources = [subprocess.Popen([*module, f.stem, str(cell), str(f), *rates]) for f in self.truth]
        graph = record_graph({"cell": str(cell), "out": str(self.bags)})
        graph = with_parameters(graph, {"recorder": {"min_free_mb": 100, **_KINDS[kind]}})
        self.runner = GraphRunner(graph, where / "log").__enter__()
        self.operator = Operator(on_wait=self.runner.require_running)
        heard = 2 * args.cameras + 1
        self._inherit_priority([self.runner.pid("recorder"), *(p.pid for p in self.sources)])
        self.operator.until(lambda: self._heard() >= heard, f"all {heard} streams to be heard", _START_S)
        self.operator.spin_for(2.5)  # the pre-roll fills
        answer = self.operator.trigger("recorder/start")
        if not answer.ok:
            raise TransportError(answer.message)
        self.directory = Path(json.loads(answer.message)["directory"])
        self.pid = self.runner.pid("recorder")

    @staticmethod
    def _inherit_priority(pids: list[int]) -> None:
        """Linux gives each session a share of the processor of its own: theirs shall be ours."""
        try:
            nice = Path("/proc/self/autogroup").read_text().split()[-1]
            for pid in pids:
                Path(f"/proc/{pid}/autogroup").write_text(nice)
        except OSError:
            return

    def _heard(self) -> int:
        values = self.operator.diagnostics.get("recorder: record", {})
        return sum(1 for k, v in values.items() if k.startswith("/") and not v.startswith("0 messages"))

    def cpu_s(self) -> float:
        """Of the recorder and its video encoders."""
        children = [c for f in Path(f"/proc/{self.pid}/task").glob("*/children") for c in f.read_text().split()]
        fields = [Path(f"/proc/{p}/stat").read_text().rsplit(")", 1)[1].split() for p in (self.pid, *children)]
        return sum(int(f[11]) + int(f[12]) for f in fields) / os.sysconf("SC_CLK_TCK")

    def end(self) -> dict:
        """Stops everything; what was sent."""
        for process in self.sources:
            process.send_signal(signal.SIGTERM)
        for process in self.sources:
            process.wait(20)
        self.operator.__exit__()
        self.runner.stop()
        return {topic: rows for f in self.truth for topic, rows in json.loads(f.read_text())["sent"].items()}


def _record(args: argparse.Namespace, cell: Path, kind: str, where: Path) -> Result:
    s = _Session(args, cell, kind, where)
    s.operator.spin_for(0.5)  # the encoders are up
    cpu, began_s = s.cpu_s(), time.monotonic()
    s.operator.spin_for(args.seconds)
    cpu, took_s = s.cpu_s() - cpu, time.monotonic() - began_s
    answer = s.operator.trigger("recorder/stop")
    if not answer.ok:
        raise TransportError(answer.message)
    told, sent = json.loads(answer.message), s.end()
    images = str(_KINDS[kind].get("images", "raw"))
    lost, altered, count = _compare(s.directory, sent, _SUFFIXES[images])
    size = sum(f.stat().st_size for f in s.directory.iterdir())
    shutil.rmtree(where)
    return Result(kind, told["seconds"], count, lost, altered, size / told["seconds"] / 1e6, cpu / took_s, told["lost"])


def _kill(args: argparse.Namespace, cell: Path, where: Path) -> Kill:
    from ..recording.bag import Bag
    from ..recording.cdr import header_stamp_ns
    from ..recording.repair import repair

    s = _Session(args, cell, "raw", where)
    seconds = args.seconds / 2 + np.random.default_rng().uniform(0, 0.5)
    s.operator.spin_for(seconds)
    os.kill(s.pid, signal.SIGKILL)
    killed_ns = time.time_ns()
    s.operator.on_wait = lambda: None
    sent = s.end()
    repaired = repair(s.directory)
    last: dict[str, int] = {}
    with Bag(s.directory) as bag:
        for m in bag.messages(list(sent)):
            last[m.topic] = max(last.get(m.topic, 0), header_stamp_ns(m.data))
    lost, altered, _ = _compare(s.directory, sent, "")
    shutil.rmtree(where)
    return Kill(seconds, repaired.messages, max(1e-9 * (killed_ns - t) for t in last.values()), altered, lost)


def _compare(directory: Path, sent: dict, suffix: str) -> tuple[int, int, int]:
    """(lost, altered, sent) between the first and last message of every topic that was recorded. suffix: of the topics
    that hold the images."""
    from ..recording.bag import Bag
    from ..recording.cdr import header_stamp_ns, read_image, read_joint_state

    lost = altered = count = 0
    with Bag(directory) as bag:
        for topic, rows in sent.items():
            found = {}
            name = topic + suffix * topic.endswith("image_raw")
            for m in bag.messages([name]):
                content: Any = (
                    b"" if name != topic else read_joint_state(m.data).position[:7]
                    if topic == "/joint_states" else read_image(m.data).data
                )  # fmt: skip
                found[header_stamp_ns(m.data)] = zlib.crc32(content)
            first, last = (min(found), max(found)) if found else (0, 2**63)
            due = [(t, crc) for t, crc in rows if first <= t <= last]
            count += len(due)
            lost += sum(t not in found for t, _ in due)
            altered += sum(t in found and name == topic and found[t] != crc for t, crc in due)
    return lost, altered, count


def _print(args: argparse.Namespace, results: list[Result], kills: list[Kill]) -> None:
    print(f"{args.cameras} cameras {args.size} at {args.rate:g} Hz, joints at {args.joint_rate:g} Hz")
    print(f"{'images':>8s} {'s':>6s} {'sent':>6s} {'lost':>5s} {'altered':>8s} {'MB/s':>7s} {'MB/min':>7s} "
          f"{'cores':>6s}")  # fmt: skip
    for r in results:
        altered = "-" if "images" in _KINDS[r.kind] else str(r.altered)
        print(f"{r.kind:>8s} {r.seconds:6.1f} {r.sent:6d} {r.lost:5d} {altered:>8s} {r.mb_per_s:7.1f} "
              f"{60 * r.mb_per_s:7.0f} {r.cpu:6.2f}")  # fmt: skip
    for k in kills:
        print(f"killed after {k.seconds:.1f} s: {k.messages} messages after repair, {k.gaps} missing between them, "
              f"{k.altered} altered, the last {k.lost_s:.2f} s lost")  # fmt: skip

"""Converting recordings: times faster than real time, and how large the data set gets, by video codec and processes.

The bags hold what `bench recording` records (a moving arm with sensor noise, joints at 200 Hz), written at once.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import struct
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

_T0 = 1_700_000_000_000_000_000
_MARGIN_S = 0.5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--cameras", type=int, default=2)
    parser.add_argument("--size", default="640x480", help="of every camera (%(default)s)")
    parser.add_argument("--rate", type=float, default=30.0, help="of every camera, Hz (%(default)s)")
    parser.add_argument("--seconds", type=float, default=60.0, help="of each bag (%(default)s)")
    parser.add_argument("--bags", type=int, default=1)
    parser.add_argument("--videos", default="h264", help="h264, lossless, or both with a comma (%(default)s)")
    parser.add_argument("--fps", type=float, default=0.0, help="of the data set (the cameras' rate)")
    parser.add_argument("--workers", default="1,2", help="processes, with commas (%(default)s)")
    parser.add_argument("--dir", type=Path, help="where to write (a temporary directory)")
    parser.add_argument("--json", type=Path)


@dataclass(frozen=True)
class Result:
    """factor: recorded seconds a second; cores: busy, of this process and its children; mb_per_min: of the data set;
    psnr_db: of its pictures against the bag's."""

    video: str
    workers: int
    took_s: float
    factor: float
    cores: float
    mb_per_min: float
    psnr_db: float


def run(args: argparse.Namespace) -> int:
    where = Path(tempfile.mkdtemp(prefix="bench_conversion_", dir=args.dir))
    try:
        cell, bags = write_bags(args, where)
        results = [_convert(args, cell, bags, video, int(workers), where / "out")
                   for video in args.videos.split(",") for workers in args.workers.split(",")]  # fmt: skip
    finally:
        shutil.rmtree(where, ignore_errors=True)
    print(f"{args.bags} bags of {args.seconds:g} s, {args.cameras} cameras {args.size} at {args.rate:g} Hz")
    print(f"{'video':>9s} {'workers':>8s} {'s':>6s} {'x real time':>12s} {'cores':>6s} {'MB/min':>7s} {'PSNR dB':>8s}")
    for r in results:
        print(f"{r.video:>9s} {r.workers:8d} {r.took_s:6.1f} {r.factor:12.1f} {r.cores:6.2f} {r.mb_per_min:7.1f} "
              f"{r.psnr_db:8.1f}")  # fmt: skip
    if args.json:
        args.json.write_text(json.dumps([asdict(r) for r in results], indent=1))
    return 0


def write_bags(args: argparse.Namespace, where: Path) -> tuple[Path, list[Path]]:
    """The cell file and the bags."""
    from ..cell import Cell
    from ..recording.bag_writer import BagWriter, TopicSpec
    from ..recording.cdr import text_bytes
    from ..recording.provenance import attachments
    from ..ros.recording_sources import serialised_pictures, serialised_state
    from .recording import make_cell

    path = make_cell(args, where)
    cell = Cell.load(path)
    seen = {v.image_topic: serialised_pictures(cell, v) for v in cell.views}
    bags = []
    for number in range(args.bags):
        bag = BagWriter(where / f"bag{number}", attachments(path, None))
        for topic in seen:
            bag.add_topic(TopicSpec(topic, "sensor_msgs/msg/Image"))
        bag.add_topic(TopicSpec("/joint_states", "sensor_msgs/msg/JointState"))
        bag.add_topic(TopicSpec("/instruction", "std_msgs/msg/String"))
        bag.write("/instruction", 1, _T0, _T0, text_bytes("reach the red ball"))
        for k in range(int((args.seconds + 2 * _MARGIN_S) * 200)):
            t = _T0 + k * 5_000_000
            q = 0.3 * np.sin(1e-9 * (t - _T0) + np.arange(7))
            bag.write("/joint_states", k + 1, t, t, serialised_state(cell, q, t))
            if k % 200 == 100:
                _second(bag, seen, k // 200, args)
        bag.finish()
        bags.append(bag.directory)
    return path, bags


def _second(bag, seen: dict[str, list[bytearray]], second: int, args: argparse.Namespace) -> None:
    """The pictures of one second."""
    if second >= args.seconds:
        return
    for n in range(round(second * args.rate), round((second + 1) * args.rate)):
        t = _T0 + round(1e9 * (n / args.rate + _MARGIN_S))
        for topic, kept in seen.items():
            raw = kept[n % len(kept)]
            struct.pack_into("<iI", raw, 4, *divmod(t, 10**9))
            bag.write(topic, n + 1, t, t, bytes(raw))


def _convert(args: argparse.Namespace, cell: Path, bags: list[Path], video: str, workers: int, out: Path) -> Result:
    from ..recording.convert import ConvertConfig, convert
    from ..recording.executors import Processes

    before, began_s = _cpu_s(), time.monotonic()
    result = convert(bags, ConvertConfig(out, args.fps, video), _make_fk, execute=Processes(workers))
    took_s, cpu_s = time.monotonic() - began_s, _cpu_s() - before
    recorded_s = sum(e.about["audit"]["duration_s"] for e in result.episodes)
    videos = list(out.glob("videos/*/*/*.mp4"))
    size = sum(f.stat().st_size for f in videos)
    psnr_db = _psnr_db(bags[0], result)
    shutil.rmtree(out)
    return Result(video, workers, took_s, recorded_s / took_s, cpu_s / took_s, size / 1e6 / (recorded_s / 60), psnr_db)


def _make_fk() -> Callable[[np.ndarray], np.ndarray]:
    from ..control import Fr3Kinematics

    return Fr3Kinematics().fk


def _psnr_db(bag_path: Path, result) -> float:
    """Of the first second of the first view of the first bag, where every picture of the bag is a frame."""
    from ..recording.bag import Bag
    from ..recording.recorded import picture_of
    from ..recording.video import read_frames

    episode = next(e for e in result.episodes if e.about["bag"] == str(bag_path))
    view = next(iter(episode.about["calibration"]))
    topic = f"/camera/{view}/color/image_raw"
    errors = []
    with Bag(bag_path) as bag:
        for n, (message, frame) in enumerate(zip(bag.messages([topic]), read_frames(episode.folder / f"{view}.mp4"))):
            if n == 30:
                break
            truth = picture_of(message, bag.topics[topic]).astype(np.float32)
            errors.append(float(np.mean((truth - frame) ** 2)))
    mean = float(np.mean(errors))
    return float("inf") if mean == 0 else 10 * float(np.log10(255**2 / mean))


def _cpu_s() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)

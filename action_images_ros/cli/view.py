"""Look at a recorded episode in rerun: cameras, action images, predicted and executed path, joints, what was said.

action-images view recordings/20260526-101500
action-images view recordings/20260526-101500 --save episode.rrd      (then: rerun episode.rrd)
"""

from __future__ import annotations

import argparse
from pathlib import Path

from ..errors import ConfigError, pip_install

_SIZES = (64, 4096)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bag", type=Path, metavar="BAG", help="bag directory, .mcap or .db3 file")
    parser.add_argument("--save", type=Path, metavar="FILE.rrd", help="write a file instead of opening the viewer")
    parser.add_argument("--cell", type=Path, help="cell file, where the bag carries none")
    parser.add_argument("--width", type=int, default=480, help="most pixels of a picture's width (%(default)s)")
    parser.add_argument("--rate", type=float, default=10.0, help="most pictures a second and view (%(default)s)")


def run(args: argparse.Namespace) -> int:
    if not _SIZES[0] <= args.width <= _SIZES[1] or not 0.1 <= args.rate <= 1000:
        raise ConfigError(f"--width {args.width} ({_SIZES[0]} to {_SIZES[1]}), --rate {args.rate:g} (0.1 to 1000)")
    if args.save is not None and args.save.suffix != ".rrd":
        raise ConfigError(f"--save {args.save}: rerun's files end in .rrd")
    try:
        import rerun  # noqa: F401 - said here, before anything is read
        import rosbags  # noqa: F401
    except ImportError as e:
        raise ConfigError(f"`view` needs {e.name}: {pip_install('view')}") from e
    from ..cell import Cell
    from ..recording.bag import Bag
    from ..viewing.episode import show_bag

    with Bag(args.bag) as bag:
        counts = show_bag(bag, Cell.load(args.cell) if args.cell else None, args.save, args.width, args.rate)
    where = f"written to {args.save}" if args.save else "sent to the viewer"
    print(", ".join(f"{n} {what}" for what, n in counts.items()) + f": {where}")
    return 0

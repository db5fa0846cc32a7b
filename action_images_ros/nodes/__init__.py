"""The executables: one module a node, started as a process of its own.

Told to end while it still imports, a node process does so without a word; `run_node` takes over from there.
"""

import os
import signal
import sys
from pathlib import Path


def _started_as_node(program: str) -> bool:
    """Whether this process is `python -m ...nodes.NAME` (still importing) or an installed executable of that name."""
    return program == "-m" or (Path(__file__).parent / f"{Path(program).name}.py").is_file()


if _started_as_node(sys.argv[0]):
    for _number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(_number, lambda number, frame: os._exit(128 + number))

"""The cell file as whatever moves an arm by its cameras must load it."""

from __future__ import annotations

import datetime
from pathlib import Path

from ..cell import Cell


def policy_cell(path: str | Path) -> Cell:
    """Raises ConfigError where the file is wrong, or its calibration is missing, of other cameras, too old or worse
    than the cell's limit."""
    cell = Cell.load(path)
    cell.require_calibrated(datetime.date.today().isoformat())
    return cell

"""A chunk of 7-DoF targets as a CSV file."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from .errors import DatasetError
from .geometry.se3 import make, matrix_from_quat, quat_from_matrix
from .types import ActionChunk

_POSE = ("x_m", "y_m", "z_m", "qx", "qy", "qz", "qw")
_NEEDED = ("t_s", *_POSE, "openness")
_SD = ("sd_x_m", "sd_y_m", "sd_z_m", "sd_rx_rad", "sd_ry_rad", "sd_rz_rad")
COLUMNS = (*_NEEDED, "reproj_rms_px", "credible", *_SD, "why")
"""t_s since the observation; pose in the base frame, quaternion xyzw with w >= 0; openness 1 = open; credible 0 or 1;
standard deviations as in ActionChunk.covariance, empty where unknown; why a step is not credible."""


def write_trajectory(path: Path, chunk: ActionChunk, dt_s: float) -> None:
    """One row a step, step 0 first."""
    sd = np.sqrt(np.einsum("tii->ti", chunk.covariance))
    quats = quat_from_matrix(chunk.base_T_tcps[:, :3, :3])
    quats = np.where(quats[:, 3:] < 0, -quats, quats)
    with Path(path).open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(COLUMNS)
        for k in range(len(chunk)):
            numbers = (k * dt_s, *chunk.base_T_tcps[k, :3, 3], *quats[k], chunk.openness[k], chunk.reproj_rms_px[k])
            table.writerow([*(f"{v:.9g}" for v in numbers), int(chunk.credible[k]),
                            *(f"{v:.4g}" if np.isfinite(v) else "" for v in sd[k]), chunk.why[k]])


def read_trajectory(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """t_s (T,), base_T_tcps (T, 4, 4) and openness (T,) of a file with at least the columns t_s to openness.

    Raises DatasetError naming file, line and what is wrong.
    """
    try:
        with Path(path).open(newline="", encoding="utf-8") as file:
            table = csv.DictReader(file)
            missing = [c for c in _NEEDED if c not in (table.fieldnames or ())]
            if missing:
                raise DatasetError(f"{path} has no column {', '.join(missing)}; needed: {', '.join(_NEEDED)}")
            rows = np.array([_numbers(path, table.line_num, row) for row in table])
    except (OSError, UnicodeDecodeError) as e:
        raise DatasetError(f"{path} can not be read as a trajectory ({e})") from e
    if not len(rows):
        raise DatasetError(f"{path} has no rows; give one a step")
    return rows[:, 0], make(matrix_from_quat(rows[:, 4:8]), rows[:, 1:4]), rows[:, 8]


def _numbers(path: Path, line: int, row: dict) -> list[float]:
    try:
        values = [float(row[c]) for c in _NEEDED]
    except (TypeError, ValueError):
        raise DatasetError(f"{path}, line {line}: {', '.join(_NEEDED)} must all be numbers") from None
    if not np.all(np.isfinite(values)) or not 0 <= values[-1] <= 1 or np.linalg.norm(values[4:8]) < 1e-6:
        raise DatasetError(f"{path}, line {line}: values must be finite, openness in [0, 1], the quaternion not zero")
    return values

"""Where things may stand and the arm may start, with the table cut into cells that belong to one split each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..geometry import so3_exp
from ..geometry.se3 import make
from .kinematics import NOMINAL_Q, ArmKinematics
from .split import Split, cell_split

HAND_DOWN = np.diag([1.0, -1.0, -1.0])
TABLE_BOX_M = ((0.35, -0.25), (0.65, 0.25))
START_BOX_M = ((0.30, -0.30, 0.16), (0.60, 0.30, 0.45))
CELL_M = 0.05
_MAX_TILT_RAD, _MAX_YAW_RAD = np.deg2rad(20.0), np.deg2rad(40.0)


def layout_split(position_m: Sequence[float]) -> Split:
    """Which split a position belongs to, by its 5 cm cell of the table plane."""
    i, j = (int(np.floor((position_m[k] - TABLE_BOX_M[0][k]) / CELL_M)) for k in (0, 1))
    return cell_split(i, j)


def hand_down(yaw_rad: float) -> np.ndarray:
    """(3, 3): the hand straight down, turned about the vertical by yaw_rad."""
    return so3_exp(np.array([0.0, 0.0, yaw_rad])) @ HAND_DOWN


def random_orientation(rng: np.random.Generator, max_tilt_rad: float = _MAX_TILT_RAD) -> np.ndarray:
    """Hand down, turned about the vertical by up to 40 degrees, then tilted about a random horizontal axis."""
    yaw, tilt = rng.uniform(-_MAX_YAW_RAD, _MAX_YAW_RAD), rng.uniform(0.0, max_tilt_rad)
    heading = rng.uniform(-np.pi, np.pi)
    axis = np.array([np.cos(heading), np.sin(heading), 0.0])
    return so3_exp(axis * tilt) @ so3_exp(np.array([0.0, 0.0, yaw])) @ HAND_DOWN


def on_table(rng: np.random.Generator, split: Split, box_m=TABLE_BOX_M) -> np.ndarray:
    """(2,) m: a random place of the table in the split's own cells."""
    while True:
        place = rng.uniform(*box_m)
        if layout_split(place) is split:
            return place


def apart(places: Sequence[np.ndarray], least_m: float) -> bool:
    p = np.asarray(places)
    gaps = np.linalg.norm(p[:, None] - p[None], axis=-1)[np.triu_indices(len(p), 1)]
    return bool(np.all(gaps >= least_m))


def random_start(rng: np.random.Generator, kinematics: ArmKinematics, poses: Sequence[np.ndarray]) -> np.ndarray | None:
    """Start joints (7,) above the table; None where they or one of the poses (4, 4) are out of the arm's reach."""
    q = kinematics.ik(make(random_orientation(rng), rng.uniform(*START_BOX_M)), NOMINAL_Q)
    for pose in poses if q is not None else ():
        if kinematics.ik(pose, NOMINAL_Q) is None:
            return None
    return q

"""Are these poses enough? What a set of samples covers, and what to add where it does not determine the answer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import CalibrationError
from ..geometry.se3 import angle_between, so3_log
from .handeye import mean_pose
from .rig import ArmModel, CameraMount, Rig, Sample, moving
from .unknowns import Intrinsics

_GRID = 4


@dataclass(frozen=True)
class Demands:
    """The least that a set of poses must offer.

    poses: different ones a view. similar_m, similar_deg: closer than both counts as the same pose. turn_deg:
    root mean square turn of the hand about its second most turned axis. travel_m: root mean square distance of
    the TCP from its middle. cover: share of the 4 x 4 fields of the picture with board points, where
    intrinsics are re-estimated.
    """

    poses: int = 8
    similar_m: float = 0.02
    similar_deg: float = 4.0
    turn_deg: float = 7.0
    travel_m: float = 0.04
    cover: float = 0.6

    def __post_init__(self) -> None:
        if self.poses < 4:
            raise CalibrationError(
                f"demanded poses is {self.poses}; legal: 4 or more (2 are the theoretical least, without any check)"
            )


@dataclass(frozen=True, eq=False)
class Coverage:
    """What one view has seen. poses: with boards that move against it; distinct: of those, different ones;
    still_poses: with boards that do not. turns_deg (3,): rms turn about the principal axes, largest first, and
    axes (3, 3) the axes as rows in the TCP frame. travel_m: rms travel of the TCP. grid (4, 4): board points in each
    field of the picture. tilt_deg: spread of the angle at which boards were seen."""

    view: str
    poses: int
    distinct: int
    still_poses: int
    turns_deg: np.ndarray
    axes: np.ndarray
    travel_m: float
    grid: np.ndarray

    @property
    def cover(self) -> float:
        return float((self.grid > 0).mean())


def coverage(rig: Rig, samples: list[Sample], arm: ArmModel, view: str, demands: Demands = Demands()) -> Coverage:
    """What the samples offer to one view."""
    seen = [(s, {d.board for d in s.detections.get(view, ()) if len(d)}) for s in samples]
    moved = [s for s, boards in seen if any(moving(rig, view, b) for b in boards)]
    still = sum(any(not moving(rig, view, b) for b in boards) for _, boards in seen)
    grid = np.zeros((_GRID, _GRID), int)
    width, height = rig.cameras[view].image_size
    for s, _ in seen:
        for d in s.detections.get(view, ()):
            column, row = np.clip((d.uv / (width, height) * _GRID).astype(int), 0, _GRID - 1).T
            np.add.at(grid, (row, column), 1)
    if not moved:
        return Coverage(view, 0, 0, still, np.zeros(3), np.eye(3), 0.0, grid)
    tcp = arm.fk(np.array([s.q for s in moved]))
    middle = mean_pose(tcp)
    turns = so3_log(middle[:3, :3].T @ tcp[:, :3, :3])
    values, axes = np.linalg.eigh(turns.T @ turns / len(turns))
    travel = np.sqrt(((tcp[:, :3, 3] - tcp[:, :3, 3].mean(0)) ** 2).sum(1).mean())
    return Coverage(
        view,
        len(moved),
        len(different(tcp, demands)),
        still,
        np.rad2deg(np.sqrt(np.maximum(values[::-1], 0))),
        axes.T[::-1],
        float(travel),
        grid,
    )


def different(tcp: np.ndarray, demands: Demands = Demands()) -> list[int]:
    """Indices of poses (P, 4, 4) that differ from all chosen before them."""
    kept: list[int] = []
    for i in range(len(tcp)):
        if not kept or not similar_to(tcp[i], tcp[kept], demands).any():
            kept.append(i)
    return kept


def similar_to(pose: np.ndarray, others: np.ndarray, demands: Demands = Demands()) -> np.ndarray:
    """Which of `others` (N, 4, 4) count as the same pose as `pose` (4, 4)."""
    near = np.linalg.norm(others[:, :3, 3] - pose[:3, 3], axis=1) < demands.similar_m
    return near & (np.rad2deg(angle_between(others[:, :3, :3], pose[:3, :3])) < demands.similar_deg)


def refusals(
    rig: Rig,
    samples: list[Sample],
    arm: ArmModel,
    intrinsics: Intrinsics = Intrinsics.FIXED,
    demands: Demands = Demands(),
) -> list[str]:
    """Why these samples cannot be calibrated from, and what to add; empty where they can."""
    views = {view: coverage(rig, samples, arm, view, demands) for view in rig.cameras}
    sound = any(not _weak(c, rig, demands) for c in views.values())
    why = []
    for view, c in views.items():
        tied = sound and c.still_poses >= 3
        weak = _weak(c, rig, demands)
        if weak and not (tied and c.distinct < demands.poses):
            why += weak
        if intrinsics is Intrinsics.ESTIMATED and c.cover < demands.cover:
            empty = ", ".join(_field(i) for i in zip(*np.nonzero(c.grid == 0)))
            why.append(
                f"view {view}: boards covered {c.cover:.0%} of the picture, re-estimating intrinsics needs "
                f"{demands.cover:.0%}; "
                f"bring a board into: {empty}"
            )
    return why


def _weak(c: Coverage, rig: Rig, demands: Demands) -> list[str]:
    wrist = rig.cameras[c.view].mount is CameraMount.EYE_IN_HAND
    board = "the table's board" if wrist else "the gripper's board"
    if c.poses < demands.poses:
        return [
            f"view {c.view} saw {board} in {c.poses} poses; needs {demands.poses}: add {demands.poses - c.poses} "
            f"in which {board} is in its picture"
        ]
    if c.distinct < demands.poses:
        return [
            f"view {c.view}: only {c.distinct} of its {c.poses} poses differ by {demands.similar_m * 100:.0f} cm or "
            f"{demands.similar_deg:.0f} deg; needs {demands.poses}: add {demands.poses - c.distinct} elsewhere"
        ]
    why = []
    if c.turns_deg[1] < demands.turn_deg:
        weak = [_axis(c.axes[k]) for k in (1, 2) if c.turns_deg[k] < demands.turn_deg]
        why.append(
            f"view {c.view}: the hand turned by {c.turns_deg[0]:.0f}, {c.turns_deg[1]:.0f} and "
            f"{c.turns_deg[2]:.0f} deg rms about "
            f"its three main axes; two must reach {demands.turn_deg:.0f}: add poses turned by 20 to 30 deg both "
            "ways about "
            f"{' or '.join(weak)}"
        )
    if c.travel_m < demands.travel_m:
        why.append(
            f"view {c.view}: the TCP moved {c.travel_m * 1e3:.0f} mm rms; needs {demands.travel_m * 1e3:.0f}: "
            "add poses 10 to 20 cm "
            "to each side, nearer and farther"
        )
    return why


def _axis(axis: np.ndarray) -> str:
    """An axis of the TCP frame, by name where it is close to one."""
    k = int(np.argmax(np.abs(axis)))
    if abs(axis[k]) > 0.9:
        return f"the TCP's {'xyz'[k]} axis"
    return f"the TCP's axis ({axis[0]:.1f}, {axis[1]:.1f}, {axis[2]:.1f})"


def _field(index: tuple[int, int]) -> str:
    rows, columns = ("top", "upper middle", "lower middle", "bottom"), ("left", "centre left", "centre right", "right")
    return f"{rows[index[0]]} {columns[index[1]]}"

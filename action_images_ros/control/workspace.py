"""Where the tool may be: a box, boxes to keep out of, and the table."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ..errors import ConfigError
from ..geometry.se3 import transform

FRANKA_HAND_POINTS_M = (
    (0.0, 0.0, 0.0),
    *((0.0, y, 0.009) for y in (-0.066, 0.066)),
    *((x, y, z) for x in (-0.032, 0.032) for y in (-0.104, 0.104) for z in (-0.037, -0.129)),
)
"""TCP, the two fingertips wide open, and the corners of the hand's body (by its mesh), in the TCP frame."""

_LINK_POINTS = 5
_LINKS = ((1, 2, "upper arm"), (2, 3, "elbow"), (3, 4, "forearm"), (4, 6, "wrist"))
"""Straight pieces between two joints' origins, base to tip. The shoulder stands where it stands: the upper arm counts
from a fifth of its length on."""


@dataclass(frozen=True)
class Workspace:
    """Volumes in the base frame, metres.

    box_min_m, box_max_m: the TCP stays inside this box. keep_out_boxes_m: (min, max) corners of boxes
    that no tool point may enter. table_z_m: no tool point goes below it; None where there is no table.
    margin_m: distance to keep from all of them. tool_points_m: points of the tool in the TCP frame,
    the first is the TCP. arm_radius_m, wrist_radius_m: how far the arm (of an FR3, by its meshes) reaches around the
    lines through its joints, from shoulder to wrist and from there to the flange; it keeps out of the boxes and above
    the table too. Raises ConfigError naming what is malformed.
    """

    box_min_m: tuple[float, float, float]
    box_max_m: tuple[float, float, float]
    keep_out_boxes_m: tuple[tuple[tuple[float, float, float], tuple[float, float, float]], ...] = ()
    table_z_m: float | None = None
    margin_m: float = 0.005
    tool_points_m: tuple[tuple[float, float, float], ...] = FRANKA_HAND_POINTS_M
    arm_radius_m: float = 0.135
    wrist_radius_m: float = 0.09
    _boxes: np.ndarray = field(init=False, repr=False, compare=False)
    _tool: np.ndarray = field(init=False, repr=False, compare=False)
    _low: np.ndarray = field(init=False, repr=False, compare=False)
    _high: np.ndarray = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        _require_box("workspace box", self.box_min_m, self.box_max_m)
        for i, box in enumerate(self.keep_out_boxes_m):
            if len(box) != 2:
                raise ConfigError(f"keep_out_boxes_m[{i}] must be (min corner, max corner); got {box}")
            _require_box(f"keep_out_boxes_m[{i}]", *box)
        if self.table_z_m is not None and self.table_z_m >= self.box_max_m[2]:
            raise ConfigError(f"table_z_m is {self.table_z_m}, at or above the top of the workspace box "
                              f"({self.box_max_m[2]}); nothing could move")
        if not self.tool_points_m or any(len(p) != 3 for p in self.tool_points_m):
            raise ConfigError("tool_points_m needs at least one (x, y, z) point, the TCP first")
        boxes = np.asarray(self.keep_out_boxes_m, float).reshape(-1, 2, 3)
        object.__setattr__(self, "_boxes", boxes)
        object.__setattr__(self, "_tool", np.asarray(self.tool_points_m, float))
        object.__setattr__(self, "_low", np.asarray(self.box_min_m, float))
        object.__setattr__(self, "_high", np.asarray(self.box_max_m, float))

    def clearances(self, base_T_tcps: np.ndarray) -> tuple[tuple[str, np.ndarray], ...]:
        """Signed distance (N,) m of poses (N, 4, 4) to each boundary, by name; negative = violated."""
        poses = np.asarray(base_T_tcps, float).reshape(-1, 4, 4)
        return self._clearances(transform(poses[:, None], self._tool))

    def _clearances(self, points: np.ndarray) -> tuple[tuple[str, np.ndarray], ...]:
        """As `clearances`, of tool points (N, P, 3)."""
        tcp = points[:, 0]
        box = ("workspace box", np.minimum(tcp - self._low, self._high - tcp).min(axis=1))
        return (box, *self._obstacles(points))

    def _obstacles(self, points: np.ndarray) -> tuple[tuple[str, np.ndarray], ...]:
        """Signed distance (N,) m of the nearest of points (N, P, 3) to the table and to each keep-out box."""
        found = []
        if self.table_z_m is not None:
            found.append(("table", points[..., 2].min(axis=1) - self.table_z_m))
        for i, (low, high) in enumerate(self._boxes):
            found.append((f"keep-out box {i}", _outside_box(points, low, high).min(axis=1)))
        return tuple(found)

    def distance(self, base_T_tcps: np.ndarray) -> np.ndarray:
        """Signed distance (N,) m of poses (N, 4, 4) to the nearest boundary; negative = violated."""
        return np.min([d for _, d in self.clearances(base_T_tcps)], axis=0)

    def violation(self, base_T_tcps: np.ndarray) -> str:
        """"" when every pose (N, 4, 4) keeps margin_m; else the worst one, what it violates and by how much."""
        return self.path_violation(base_T_tcps, between=0)[0]

    def path_violation(self, base_T_tcps: np.ndarray, between: int = 4) -> tuple[str, float]:
        """The same for consecutive poses of a path, with `between` more places looked at from each to the next
        (tool points on straight lines), so that nothing thin is stepped over; and the smallest distance (m)."""
        points = transform(np.asarray(base_T_tcps, float).reshape(-1, 1, 4, 4), self._tool)
        share = np.arange(between + 1)[None, :, None, None] / (between + 1)
        filled = (points[:-1, None] * (1.0 - share) + points[1:, None] * share).reshape(-1, *points.shape[1:])
        points = np.concatenate([filled, points[-1:]])
        name, worst = "", float("inf")
        for boundary, distance in self._clearances(points):
            k = int(distance.argmin())
            if distance[k] < worst:
                worst = float(distance[k])
                x, y, z = points[k, 0]
                name = f"{boundary} at TCP ({x:.3f}, {y:.3f}, {z:.3f}) m"
        if worst >= self.margin_m:
            return "", worst
        return f"{1e3 * (self.margin_m - worst):.1f} mm beyond the {name}", worst

    def arm_clearance(self, joint_origins: np.ndarray) -> tuple[float, str]:
        """Smallest distance (m) of the arm's surface to table and keep-out boxes, and which link to which of them.

        joint_origins (N, 7, 3) m in the base frame; infinite where there is nothing to meet.
        """
        origins = np.asarray(joint_origins, float)
        worst, what = float("inf"), ""
        for first, last, link in _LINKS:
            share = np.linspace(0.2 if first == 1 else 0.0, 1.0, _LINK_POINTS)[:, None]
            points = origins[:, first, None] * (1.0 - share) + origins[:, last, None] * share
            radius = self.wrist_radius_m if link == "wrist" else self.arm_radius_m
            for boundary, distance in self._obstacles(points):
                clear = float(distance.min()) - radius
                if clear < worst:
                    worst, what = clear, f"{link} to the {boundary}"
        return worst, what

    def arm_violation(self, joint_origins: np.ndarray) -> str:
        """"" when the whole arm keeps margin_m; joint_origins (N, 7, 3) m in the base frame."""
        clear, what = self.arm_clearance(joint_origins)
        if clear >= self.margin_m:
            return ""
        link, boundary = what.split(" to ")
        return f"the {link} would be {1e3 * (self.margin_m - clear):.0f} mm too near {boundary}"


def _require_box(name: str, low, high) -> None:
    if len(low) != 3 or len(high) != 3 or not np.all(np.isfinite([*low, *high])):
        raise ConfigError(f"{name} needs two finite corners (x, y, z) in metres; got {low} and {high}")
    if any(a >= b for a, b in zip(low, high, strict=True)):
        raise ConfigError(f"{name}: minimum corner {low} must be below maximum corner {high} on every axis")


def _outside_box(points: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Signed distance (...) of points (..., 3) to a solid box: positive outside, negative inside."""
    beyond = np.maximum(low - points, points - high)
    return np.linalg.norm(np.maximum(beyond, 0.0), axis=-1) + np.minimum(beyond.max(axis=-1), 0.0)

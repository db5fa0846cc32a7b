"""Where the tool may be: a box, boxes to keep out of, and the table."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import ConfigError
from ..geometry.se3 import transform

FRANKA_HAND_POINTS_M = ((0.0, 0.0, 0.0), (0.0, 0.102, -0.045), (0.0, -0.102, -0.045))
"""TCP and the two lower outer corners of the Franka Hand, in the TCP frame: what meets a table first."""

_FOREARM_POINTS = 5


@dataclass(frozen=True)
class Workspace:
    """Volumes in the base frame, metres.

    box_min_m, box_max_m: the TCP stays inside this box. keep_out_boxes_m: (min, max) corners of boxes
    that no tool point may enter. table_z_m: no tool point goes below it; None where there is no table.
    margin_m: distance to keep from all of them. tool_points_m: points of the tool in the TCP frame,
    the first is the TCP. arm_radius_m: how far the arm from the elbow on reaches around the line through
    its joints; it keeps out of the boxes and above the table too. Raises ConfigError naming what is malformed.
    """

    box_min_m: tuple[float, float, float]
    box_max_m: tuple[float, float, float]
    keep_out_boxes_m: tuple[tuple[tuple[float, float, float], tuple[float, float, float]], ...] = ()
    table_z_m: float | None = None
    margin_m: float = 0.005
    tool_points_m: tuple[tuple[float, float, float], ...] = FRANKA_HAND_POINTS_M
    arm_radius_m: float = 0.08

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

    def arm_violation(self, joint_origins: np.ndarray) -> str:
        """"" when the arm from the elbow to the wrist keeps clear; joint_origins (N, 7, 3) m in the base frame."""
        origins = np.asarray(joint_origins, float)
        share = np.linspace(0.0, 1.0, _FOREARM_POINTS)[:, None]
        forearm = origins[:, 3:4] * (1.0 - share) + origins[:, 4:5] * share
        for boundary, distance in self._obstacles(np.concatenate([forearm, origins[:, 6:]], 1)):
            short = self.arm_radius_m + self.margin_m - distance.min()
            if short > 0.0:
                return f"the arm would be {1e3 * short:.0f} mm too near the {boundary}"
        return ""


def _require_box(name: str, low, high) -> None:
    if len(low) != 3 or len(high) != 3 or not np.all(np.isfinite([*low, *high])):
        raise ConfigError(f"{name} needs two finite corners (x, y, z) in metres; got {low} and {high}")
    if any(a >= b for a, b in zip(low, high, strict=True)):
        raise ConfigError(f"{name}: minimum corner {low} must be below maximum corner {high} on every axis")


def _outside_box(points: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Signed distance (...) of points (..., 3) to a solid box: positive outside, negative inside."""
    beyond = np.maximum(low - points, points - high)
    return np.linalg.norm(np.maximum(beyond, 0.0), axis=-1) + np.minimum(beyond.max(axis=-1), 0.0)

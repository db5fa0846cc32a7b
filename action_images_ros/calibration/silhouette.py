"""The arm's outline in a picture: where it must be, and which edges the picture has near there.

Outline points are points of mesh edges between a face that looks at the camera and one that looks away, with
background beyond. Around each, the picture is searched along the outline's normal (Harris and Stennett 1990).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from ..geometry import PinholeCamera
from ..geometry.se3 import hat
from .residuals import project
from .robot_model import RobotModel

_SPACING_PX = 5.0
_BESIDE_PX = 2.5
_MAX_POINTS = 240
_STEP_PX = 0.5
_BLUR_PX = 1.0
_LEAST_CONTRAST = 4.0
_WEAKER = 0.3
CANDIDATES = 3


@dataclass(frozen=True, eq=False)
class Outline:
    """points (N, 3) m in the base frame, uv (N, 2) px where they must be, normals (N, 2) outward."""

    points: np.ndarray
    uv: np.ndarray
    normals: np.ndarray

    def __len__(self) -> int:
        return len(self.uv)


@dataclass(frozen=True, eq=False)
class EdgeMatches:
    """rows (N, 6): outward displacement px of each outline point by a perturbation of base_T_camera (as
    geometry.se3_exp
    perturbs it on the left). offsets (N, 3) px: edges found along the normal, outward positive, strongest first, nan
    where there are fewer."""

    rows: np.ndarray
    offsets: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)


def outline(robot: RobotModel, q: np.ndarray, camera: PinholeCamera) -> Outline:
    """Where the outline of the arm at q (7,) lies in this camera's picture, against whatever is not the arm."""
    placed = robot.place(q)
    projected = [camera.project(v) for v in placed]
    width, height = camera.image_size
    mask, segments = np.zeros((height, width), np.uint8), []
    for mesh, xyz, uv in zip(robot.meshes, placed, projected):
        a, b, c = (xyz[mesh.faces[:, k]] for k in range(3))
        front = np.einsum("fi,fi->f", np.cross(b - a, c - a), camera.centre - a) > 0
        for triangle in uv[mesh.faces[front]]:
            if np.all(np.isfinite(triangle)) and np.abs(triangle).max() < 1e4:
                cv2.fillConvexPoly(mask, np.rint(triangle).astype(np.int32), 1)
        rim = mesh.edges[front[mesh.edge_faces[:, 0]] != front[mesh.edge_faces[:, 1]]]
        segments.append((xyz[rim], uv[rim]))
    return _on_the_rim(mask, np.concatenate([s for s, _ in segments]), np.concatenate([s for _, s in segments]))


def _on_the_rim(mask: np.ndarray, xyz: np.ndarray, uv: np.ndarray) -> Outline:
    """Points along segments (S, 2, 3), seen at uv (S, 2, 2), that have arm on one side and no arm on the other."""
    good = np.all(np.isfinite(uv), axis=(1, 2))
    xyz, uv = xyz[good], uv[good]
    along = uv[:, 1] - uv[:, 0]
    length = np.linalg.norm(along, axis=1)
    xyz, uv, along, length = (v[length > 1.0] for v in (xyz, uv, along, length))
    count = np.maximum(np.round(length / _SPACING_PX).astype(int), 1)
    which = np.repeat(np.arange(len(uv)), count)
    place = (np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count) + 0.5) / count[which]
    at = uv[which, 0] + place[:, None] * along[which]
    points = xyz[which, 0] + place[:, None] * (xyz[which, 1] - xyz[which, 0])
    normal = np.stack([-along[:, 1], along[:, 0]], 1)[which] / length[which, None]
    one, other = (_looked_up(mask, at + s * _BESIDE_PX * normal) for s in (1, -1))
    normal = np.where((one > 0)[:, None], -normal, normal)
    rim = ((one == 0) & (other == 1)) | ((one == 1) & (other == 0))
    points, at, normal = points[rim], at[rim], normal[rim]
    if len(at) > _MAX_POINTS:
        pick = np.linspace(0, len(at) - 1, _MAX_POINTS).astype(int)
        points, at, normal = points[pick], at[pick], normal[pick]
    return Outline(points, at, normal)


def _looked_up(mask: np.ndarray, uv: np.ndarray) -> np.ndarray:
    """The mask at pixels (N, 2), -1 outside the picture."""
    x, y = np.rint(uv).astype(int).T
    inside = (x >= 0) & (y >= 0) & (x < mask.shape[1]) & (y < mask.shape[0])
    return np.where(inside, mask[np.clip(y, 0, mask.shape[0] - 1), np.clip(x, 0, mask.shape[1] - 1)].astype(int), -1)


def match_edges(image: np.ndarray, found: Outline, camera: PinholeCamera, reach_px: float) -> EdgeMatches:
    """Edges of the picture, uint8 (H, W, 3) or (H, W), within reach_px of the outline; points near the border are
    left out."""
    gray = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    smooth = cv2.GaussianBlur(gray.astype(np.float32), (0, 0), _BLUR_PX)
    room = reach_px + 2
    keep = np.all((found.uv > room) & (found.uv < np.array(camera.image_size) - 1 - room), axis=1)
    uv, normals, points = found.uv[keep], found.normals[keep], found.points[keep]
    s = np.arange(-reach_px, reach_px + _STEP_PX / 2, _STEP_PX)
    at = (uv[:, None] + s[:, None] * normals[:, None]).astype(np.float32)
    if not len(uv):
        return EdgeMatches(np.zeros((0, 6)), np.zeros((0, CANDIDATES)))
    profile = cv2.remap(smooth, at[..., 0], at[..., 1], cv2.INTER_LINEAR)
    return EdgeMatches(_rows(points, normals, camera), _peaks(profile, s))


def _peaks(profile: np.ndarray, s: np.ndarray) -> np.ndarray:
    """Offsets (N, 3) of the strongest steps of profiles (N, S), by parabola through the slope's maximum."""
    slope = np.abs(np.gradient(profile, axis=1)) / _STEP_PX
    middle, before, after = slope[:, 1:-1], slope[:, :-2], slope[:, 2:]
    strongest = middle.max(1, keepdims=True)
    peak = (middle >= before) & (middle > after) & (middle > _LEAST_CONTRAST) & (middle > _WEAKER * strongest)
    bend = before - 2 * middle + after
    sub = np.where(np.abs(bend) > 1e-9, 0.5 * (before - after) / np.where(np.abs(bend) > 1e-9, bend, 1.0), 0.0)
    offset = s[1:-1] + np.clip(sub, -1, 1) * _STEP_PX
    order = np.argsort(-np.where(peak, middle, -1.0), axis=1)[:, :CANDIDATES]
    chosen = np.take_along_axis(np.where(peak, offset, np.nan), order, 1)
    return chosen


def _rows(points: np.ndarray, normals: np.ndarray, camera: PinholeCamera) -> np.ndarray:
    R, off = camera.base_T_camera[:3, :3], points - camera.centre
    d = np.zeros(8) if camera.distortion is None else camera.distortion
    lens = np.tile([camera.K[0, 0], camera.K[1, 1], camera.K[0, 2], camera.K[1, 2], *d[:5]], (len(points), 1))
    _, d_point, _ = project(off @ R, lens, np.tile(d[5:], (len(points), 1)))
    moved = d_point @ R.T @ -np.concatenate([np.broadcast_to(np.eye(3), (len(points), 3, 3)), -hat(off)], 2)
    return np.einsum("ni,nij->nj", normals, moved)

"""Which candidate blobs belong together: rigid hypotheses for steps where the strongest blobs do not agree."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from ..geometry.se3 import angle_between, so3_exp
from ..geometry.triangulation import closest_points, fit_rigid
from .pose import Scene, Sightings, refine

_GAP_SIGMA = 0.7  # two rays to one point may miss each other by this much
_STRETCH = 0.35  # of the distance between two points
_ASSIGN_SIGMA = 0.3
_SCALE_SIGMA = 0.1
_UNEXPLAINED = 9.0  # cost of a blob that is not where the pose says
_RIVAL_MARGIN = 4.0
_MAX_HYPOTHESES = 32
_ANGLES = np.linspace(0, 2 * np.pi, 72, endpoint=False)


@dataclass(frozen=True)
class Association:
    """Poses that explain the blobs of one step about equally well, best first; those that agree with the best are left
    out. choice (n, V, 3): the candidate of each blob, -1: none; R (n, 3, 3), p (n, 3)."""

    choice: np.ndarray
    R: np.ndarray
    p: np.ndarray


def associate(uv: np.ndarray, ok: np.ndarray, sightings: Sightings, scene: Scene,
              limits: tuple[float, float]) -> Association | None:
    """Search one step. uv (V, 3, K, 2) px, ok (V, 3, K); sightings of the same candidates, (1, V, 3 K, ...).

    limits: position (m) and rotation (rad) beyond which two poses are not the same. None: no two
    colours can be triangulated to points at the right distance.
    """
    v, _, k = ok.shape
    rays = sightings.rays[0].reshape(v, 3, k, 3)
    points = [_points(rays[:, c], ok[:, c], scene) for c in range(3)]
    R, p = _hypotheses(points, rays, ok, scene)
    if not len(R):
        return None
    keep = np.argsort(_cost(R, p, uv, ok, scene)[0])[:_MAX_HYPOTHESES]
    R, p = R[keep], p[keep]
    for _ in range(2):
        _, choice = _cost(R, p, uv, ok, scene)
        chosen = sightings.take(np.zeros(len(R), int)).choose(choice)
        fit = refine(chosen, R, p, np.ones(len(R), bool), scene)
        R, p = fit.R, fit.p
    cost, choice = _cost(R, p, uv, ok, scene)
    order = np.argsort(cost)
    order = order[cost[order] < cost[order[0]] + _RIVAL_MARGIN]
    kept = [order[0]]
    for k in order[1:]:
        apart = (np.linalg.norm(p[k] - p[kept], axis=-1) > limits[0]) | (angle_between(R[kept], R[k]) > limits[1])
        if apart.all():
            kept.append(k)
    return Association(choice[kept], R[kept], p[kept])


def _points(rays: np.ndarray, ok: np.ndarray, scene: Scene) -> np.ndarray:
    """Points (n, 3) m of one colour: each pair of views and candidates whose rays nearly meet."""
    found = []
    for a, b in itertools.combinations(range(len(scene.cameras)), 2):
        ka, kb = (grid.ravel() for grid in np.meshgrid(np.flatnonzero(ok[a]), np.flatnonzero(ok[b]), indexing="ij"))
        if not len(ka):
            continue
        directions = np.stack([rays[a, ka], rays[b, kb]], 1)
        origins = np.broadcast_to(scene.origins[[a, b]], directions.shape)
        points, fixed = closest_points(origins, directions, np.ones(directions.shape[:2]))
        away = points[:, None] - origins
        along = (away * directions).sum(-1)
        gap = np.linalg.norm(away - along[..., None] * directions, axis=-1)
        focal = np.array([scene.cameras[a].K[0, 0], scene.cameras[b].K[0, 0]])
        near = gap * focal < 0.5 * _GAP_SIGMA * scene.sigma_px * along
        found.append(points[fixed & (along > 0).all(-1) & near.all(-1)])
    return np.concatenate(found) if found else np.zeros((0, 3))


def _hypotheses(points: list[np.ndarray], rays: np.ndarray, ok: np.ndarray,
                scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """Poses (n, 3, 3), (n, 3) from every pair of points at the right distance, turned to where a third blob may be."""
    out_R, out_p = [np.zeros((0, 3, 3))], [np.zeros((0, 3))]
    for a, b in itertools.combinations(range(3), 2):
        length = np.linalg.norm(scene.tcp_points[a] - scene.tcp_points[b])
        for first, second in itertools.product(points[a], points[b]):
            if abs(np.linalg.norm(first - second) - length) < _STRETCH * length:
                R, p = _turned(a, b, first, second, rays, ok, scene)
                out_R.append(R)
                out_p.append(p)
    return np.concatenate(out_R), np.concatenate(out_p)


def _turned(a: int, b: int, first: np.ndarray, second: np.ndarray, rays: np.ndarray, ok: np.ndarray,
            scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """Turn the pose about the line of two points; keep the angles at which the third best meets its blobs."""
    c = 3 - a - b
    points = np.zeros((3, 3))
    points[a], points[b] = first, second
    weight = np.zeros(3)
    weight[[a, b]] = 1.0
    pose = fit_rigid(scene.tcp_points, points, weight)
    axis = scene.tcp_points[b] - scene.tcp_points[a]
    turns = so3_exp(_ANGLES[:, None] * axis / np.linalg.norm(axis))
    R = pose[:3, :3] @ turns
    p = pose[:3, 3] + (pose[:3, :3] - R) @ scene.tcp_points[a]
    third = R @ scene.tcp_points[c] + p
    away = third[:, None] - scene.origins
    away /= np.linalg.norm(away, axis=-1, keepdims=True)
    focal = np.array([camera.K[0, 0] for camera in scene.cameras])
    miss = np.linalg.norm(away[:, :, None] - rays[None, :, c], axis=-1) * focal[:, None] / scene.sigma_px
    miss = np.where(ok[:, c], miss, np.inf).min(-1, initial=1.0)
    cost = np.minimum(miss, 1.0).sum(-1)
    lower = (cost <= np.roll(cost, 1)) & (cost < np.roll(cost, -1))
    best = np.flatnonzero(lower)[np.argsort(cost[lower])[:3]]
    return R[best], p[best]


def _cost(R: np.ndarray, p: np.ndarray, uv: np.ndarray, ok: np.ndarray, scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """Robust cost (n,) of poses and the candidates they choose (n, V, 3), -1 where none is near."""
    points = scene.tcp_points @ np.swapaxes(R, -1, -2) + p[:, None]
    expected = np.stack([c.project(points) for c in scene.cameras], 1)
    apart = np.linalg.norm(expected[..., None, :] - uv, axis=-1) / scene.sigma_px
    apart = np.where(ok, np.nan_to_num(apart, nan=np.inf), np.inf)
    nearest = apart.argmin(-1)
    apart = np.take_along_axis(apart, nearest[..., None], -1)[..., 0]
    chosen = apart < _ASSIGN_SIGMA
    margin = 0.5 * scene.sigma_px
    with np.errstate(invalid="ignore"):
        inside = ((expected > margin) & (expected < np.array(scene.cameras[0].image_size) - 1 - margin)).all(-1)
    found = np.minimum((apart / _SCALE_SIGMA) ** 2, _UNEXPLAINED)
    cost = np.where(chosen, found, np.where(inside, _UNEXPLAINED, 0.0)).sum((1, 2))
    return cost, np.where(chosen, nearest, -1)

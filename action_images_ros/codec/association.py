"""Which candidate blobs belong together: rigid hypotheses for steps where the strongest blobs do not agree."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from ..geometry.se3 import angle_between, so3_exp
from ..geometry.triangulation import closest_points, fit_rigid
from .pose import Scene, Sightings, refine

_GAP = 2.3  # two rays to one point may miss each other by this much, in `assign_px`
_REACH = 3.3  # as far from its rays a third blob is searched for
_SCALE = 1 / 3  # at which a blob off its place costs 1
_STRETCH = 0.35  # of the distance between two points
_UNEXPLAINED = 9.0  # cost of a blob that is not where the pose says
_RIVAL_MARGIN = 4.0
_MAX_HYPOTHESES = 10  # a step
_MINIMA, _MINIMA_OF_VIEW = 3, 2  # angles at which the third blob is met by all views together, and by one of them
_ANGLES = np.linspace(0, 2 * np.pi, 72, endpoint=False)


@dataclass(frozen=True)
class Association:
    """Poses that explain the blobs of one step about equally well, best first; those that agree with the best are left
    out. choice (n, V, 3): the candidate of each blob, -1: none; R (n, 3, 3), p (n, 3)."""

    choice: np.ndarray
    R: np.ndarray
    p: np.ndarray


@dataclass
class _Hypotheses:
    """step (n,) that each belongs to, R (n, 3, 3), p (n, 3)."""

    step: np.ndarray
    R: np.ndarray
    p: np.ndarray

    def take(self, which: np.ndarray) -> _Hypotheses:
        return _Hypotheses(self.step[which], self.R[which], self.p[which])


def associate(uv: np.ndarray, ok: np.ndarray, sightings: Sightings, scene: Scene,
              limits: tuple[float, float]) -> dict[int, Association]:
    """Search steps for rigid triples.

    uv (T, V, 3, K, 2) px, ok (T, V, 3, K); sightings of the same candidates, (T, V, 3 K, ...). limits: position
    (m) and rotation (rad) beyond which two poses are not the same. A step of which no two colours can
    be triangulated to points at the right distance is missing from the result.
    """
    rays = sightings.rays.reshape(ok.shape + (3,))
    found = _hypotheses(rays, ok, scene)
    if not len(found.step):
        return {}
    found = found.take(_best_of_each(found.step, _cost(found, uv, ok, scene)[0], _MAX_HYPOTHESES))
    for _ in range(2):
        chosen = sightings.take(found.step).choose(_cost(found, uv, ok, scene)[1])
        fit = refine(chosen, found.R, found.p, np.ones(len(found.step), bool), scene)
        found = _Hypotheses(found.step, fit.R, fit.p)
    cost, choice = _cost(found, uv, ok, scene)
    out = {}
    for t in np.unique(found.step).tolist():
        mine = np.flatnonzero(found.step == t)
        kept = mine[_distinct(found.take(mine), cost[mine], limits)]
        out[t] = Association(choice[kept], found.R[kept], found.p[kept])
    return out


def _best_of_each(step: np.ndarray, cost: np.ndarray, n: int) -> np.ndarray:
    """Indices of the n cheapest of every step."""
    order = np.lexsort((cost, step))
    first = np.searchsorted(step[order], step[order])
    return order[np.arange(len(order)) - first < n]


def _distinct(found: _Hypotheses, cost: np.ndarray, limits: tuple[float, float]) -> list[int]:
    """Of one step's hypotheses the cheapest, and those about as cheap that are a different pose."""
    order = np.argsort(cost)
    kept = [int(order[0])]
    for k in order[1:]:
        if cost[k] >= cost[order[0]] + _RIVAL_MARGIN:
            break
        apart = np.linalg.norm(found.p[k] - found.p[kept], axis=-1) > limits[0]
        apart |= angle_between(found.R[kept], found.R[k]) > limits[1]
        if apart.all():
            kept.append(int(k))
    return kept


def _points(rays: np.ndarray, ok: np.ndarray, scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """Points (T, n, 3) m of one colour, rays (T, V, K, 3): each pair of views and candidates; and whether their rays
    nearly meet (T, n)."""
    t, _, k = ok.shape
    points, valid = [], []
    for a, b in itertools.combinations(range(len(scene.cameras)), 2):
        pair = np.broadcast_arrays(rays[:, a, :, None], rays[:, b, None, :])
        directions = np.stack([p.reshape(t, k * k, 3) for p in pair], 2)
        origins = np.broadcast_to(scene.origins[[a, b]], directions.shape)
        at, fixed = closest_points(origins, directions, np.ones(directions.shape[:3]))
        away = at[:, :, None] - origins
        along = (away * directions).sum(-1)
        gap = np.linalg.norm(away - along[..., None] * directions, axis=-1)
        focal = np.array([scene.cameras[a].K[0, 0], scene.cameras[b].K[0, 0]])
        near = ((along > 0) & (gap * focal < 0.5 * _GAP * scene.assign_px * along)).all(-1)
        points.append(at)
        valid.append(fixed & near & (ok[:, a, :, None] & ok[:, b, None, :]).reshape(t, -1))
    return np.concatenate(points, 1), np.concatenate(valid, 1)


def _hypotheses(rays: np.ndarray, ok: np.ndarray, scene: Scene) -> _Hypotheses:
    """Poses from every pair of points at the right distance, turned to where a third blob may be."""
    points = [_points(rays[:, :, c], ok[:, :, c], scene) for c in range(3)]
    out = []
    for a, b in itertools.combinations(range(3), 2):
        length = np.linalg.norm(scene.tcp_points[a] - scene.tcp_points[b])
        distance = np.linalg.norm(points[a][0][:, :, None] - points[b][0][:, None], axis=-1)
        fits = np.abs(np.nan_to_num(distance, nan=np.inf) - length) < _STRETCH * length
        step, i, j = np.nonzero(fits & points[a][1][:, :, None] & points[b][1][:, None])
        out.append(_turned(a, b, step, points[a][0][step, i], points[b][0][step, j], rays, ok, scene))
    return _Hypotheses(*(np.concatenate([getattr(h, name) for h in out]) for name in ("step", "R", "p")))


def _turned(a: int, b: int, step: np.ndarray, first: np.ndarray, second: np.ndarray, rays: np.ndarray, ok: np.ndarray,
            scene: Scene) -> _Hypotheses:
    """Turn poses about the line of two points (n, 3); keep the angles at which the third best meets its blobs."""
    c, n = 3 - a - b, len(step)
    points, weight = np.zeros((n, 3, 3)), np.zeros(3)
    points[:, a], points[:, b], weight[[a, b]] = first, second, 1.0
    pose = fit_rigid(scene.tcp_points, points, np.broadcast_to(weight, (n, 3)))
    axis = scene.tcp_points[b] - scene.tcp_points[a]
    turns = so3_exp(_ANGLES[:, None] * axis / np.linalg.norm(axis))
    R = pose[:, None, :3, :3] @ turns
    p = pose[:, None, :3, 3] + (pose[:, None, :3, :3] - R) @ scene.tcp_points[a]
    away = (R @ scene.tcp_points[c] + p)[:, :, None] - scene.origins
    away /= np.linalg.norm(away, axis=-1, keepdims=True)
    focal = np.array([camera.K[0, 0] for camera in scene.cameras])[:, None] / (_REACH * scene.assign_px)
    miss = np.linalg.norm(away[:, :, :, None] - rays[step, :, c][:, None], axis=-1) * focal
    cost = np.where(ok[step, :, c][:, None], miss, 1.0).min(-1).clip(max=1.0)
    at = _minima(cost.sum(-1), _MINIMA)
    for view in range(cost.shape[-1]):  # the blobs of the other views may be the wrong ones
        at |= _minima(cost[:, :, view], _MINIMA_OF_VIEW)
    h, angle = np.nonzero(at)
    return _Hypotheses(step[h], R[h, angle], p[h, angle])


def _minima(cost: np.ndarray, most: int) -> np.ndarray:
    """(n, angles) bool: the lowest local minima around each circle of costs."""
    lower = (cost <= np.roll(cost, 1, 1)) & (cost < np.roll(cost, -1, 1))
    highest = np.partition(np.where(lower, cost, np.inf), most - 1, 1)[:, most - 1:most]
    return lower & (cost <= highest)


def _cost(found: _Hypotheses, uv: np.ndarray, ok: np.ndarray, scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """Robust cost (n,) of poses and the candidates they choose (n, V, 3), -1 where none is near."""
    points = scene.tcp_points @ np.swapaxes(found.R, -1, -2) + found.p[:, None]
    expected = np.stack([c.project(points) for c in scene.cameras], 1)
    apart = np.linalg.norm(expected[..., None, :] - uv[found.step], axis=-1) / scene.assign_px
    apart = np.where(ok[found.step] & np.isfinite(apart), apart, np.inf)
    nearest = apart.argmin(-1)
    apart = np.take_along_axis(apart, nearest[..., None], -1)[..., 0]
    chosen = apart < 1.0
    margin = 0.5 * scene.sigma_px
    with np.errstate(invalid="ignore"):
        inside = ((expected > margin) & (expected < np.array(scene.cameras[0].image_size) - 1 - margin)).all(-1)
    cost = np.where(chosen, np.minimum((apart / _SCALE) ** 2, _UNEXPLAINED), np.where(inside, _UNEXPLAINED, 0.0))
    return cost.sum((1, 2)), np.where(chosen, nearest, -1)

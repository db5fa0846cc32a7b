"""Shapes of 3D scenes as plain arrays: tube along a path, ellipsoid of a covariance, edges of a box. Pure."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.interpolate import PchipInterpolator

_EARLY, _LATE = np.array([255, 196, 64]), np.array([255, 64, 112])
_MIN_SD_M, _MAX_SD_M = 1e-4, 0.25


def time_colours(u: np.ndarray) -> np.ndarray:
    """u (N,) in [0, 1], now to the end of the chunk -> (N, 3) uint8: amber to magenta."""
    u = np.clip(np.asarray(u, float), 0.0, 1.0)[:, None]
    return np.rint((1 - u) * _EARLY + u * _LATE).astype(np.uint8)


def tube(points: np.ndarray, radius_m: float, sides: int = 10, per_step: int = 4) -> tuple[np.ndarray, ...]:
    """vertices (M, 3), faces (F, 3) and u (M,), the place along the path in [0, 1], of a smooth tube through points
    (N, 3), N >= 2. Points that coincide make it shorter, never twisted: its frame is carried along."""
    points = np.asarray(points, float)
    knots = np.arange(len(points))
    t = np.linspace(0, len(points) - 1, (len(points) - 1) * per_step + 1)
    centre = PchipInterpolator(knots, points, axis=0)(t)
    along = np.gradient(centre, axis=0)
    normal = np.array([0.0, 0.0, 1.0])
    rings = []
    turn = np.linspace(0, 2 * np.pi, sides, endpoint=False)
    forward = np.array([1.0, 0.0, 0.0])
    for c, d in zip(centre, along):
        length = np.linalg.norm(d)
        forward = d / length if length > 1e-9 else forward
        normal = normal - forward * (normal @ forward)
        if np.linalg.norm(normal) < 1e-6:
            normal = np.eye(3)[np.argmin(np.abs(forward))]
            normal = normal - forward * (normal @ forward)
        normal /= np.linalg.norm(normal)
        side = np.cross(forward, normal)
        rings.append(c + radius_m * (np.cos(turn)[:, None] * normal + np.sin(turn)[:, None] * side))
    n = len(rings)
    i, k = np.meshgrid(np.arange(n - 1), np.arange(sides), indexing="ij")
    a, b = i * sides + k, i * sides + (k + 1) % sides
    c, d = a + sides, b + sides
    faces = np.concatenate([np.stack([a, b, d], -1).reshape(-1, 3), np.stack([a, d, c], -1).reshape(-1, 3)])
    return np.concatenate(rings), faces, np.repeat(t / (len(points) - 1), sides)


def ellipsoid(covariance: np.ndarray, sigmas: float = 2.0) -> tuple[np.ndarray, np.ndarray]:
    """Half axes (3,) m and rotation (3, 3) of the region within `sigmas` of a position covariance (3, 3) m^2.

    Half axes stay between what can be seen and a hand's width.
    """
    values, axes = np.linalg.eigh(np.nan_to_num(np.asarray(covariance, float)))
    if np.linalg.det(axes) < 0:
        axes = axes * np.array([1.0, 1.0, -1.0])
    return sigmas * np.clip(np.sqrt(np.maximum(values, 0.0)), _MIN_SD_M, _MAX_SD_M), axes


def box_edges(low: ArrayLike, high: ArrayLike) -> np.ndarray:
    """(12, 2, 3): the edges of an axis-aligned box."""
    low, high = np.asarray(low, float), np.asarray(high, float)
    corners = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], float)
    pairs = [(i, j) for i in range(8) for j in range(i + 1, 8) if np.abs(corners[i] - corners[j]).sum() == 1]
    placed = low + corners * (high - low)
    return np.array([[placed[i], placed[j]] for i, j in pairs])


def gripper_lines(base_T_tcp: np.ndarray, openness: float) -> np.ndarray:
    """(4, 2, 3): a stylised gripper at a TCP pose; +z of the pose points out of the hand."""
    w, length, palm = 0.008 + 0.032 * float(np.clip(openness, 0, 1)), 0.045, 0.03
    local = np.array([
        [[0, w, 0], [0, w, -length]],
        [[0, -w, 0], [0, -w, -length]],
        [[0, w, -length], [0, -w, -length]],
        [[0, 0, -length], [0, 0, -length - palm]],
    ])  # fmt: skip
    return local @ base_T_tcp[:3, :3].T + base_T_tcp[:3, 3]

"""One rigid pose a step from blobs in calibrated views: batched Gauss-Newton on SE(3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from ..geometry import PinholeCamera
from ..geometry.se3 import hat, so3_exp
from ..geometry.triangulation import closest_points, fit_rigid

_ITERATIONS = 8
_STOP = 1e-6
_MIN_DEPTH_M = 0.01


@dataclass(frozen=True)
class Scene:
    """What all steps share. tcp_points (3, 3) m: red, green, blue in the TCP frame; sigma_px of a drawn blob;
    assign_px: how far from where a pose puts it a blob still belongs to that pose."""

    cameras: tuple[PinholeCamera, ...]
    tcp_points: np.ndarray
    axis_length_m: float
    sigma_px: float
    assign_px: float = 0.0

    @property
    def origins(self) -> np.ndarray:
        """Optical centres (V, 3) m."""
        return np.stack([c.centre for c in self.cameras])

    def metres_per_px(self, p: np.ndarray) -> np.ndarray:
        """Width of a pixel at points (..., 3), mean over the views."""
        return np.mean([np.linalg.norm(p - c.centre, axis=-1) / c.K[0, 0] for c in self.cameras], 0)


@dataclass
class Sightings:
    """Blobs of T steps in V views and 3 colours, freed of lens distortion.

    rays (T, V, 3, 3) unit directions in the base frame; ideal (T, V, 3, 2) undistorted normalised
    coordinates; px_per_ideal (T, V, 3, 2, 2) Jacobian of pixels by them; weight (T, V, 3, 2, 2) inverse
    covariance (1/px^2), zero for a blob that is not used.
    """

    rays: np.ndarray
    ideal: np.ndarray
    px_per_ideal: np.ndarray
    weight: np.ndarray

    @property
    def used(self) -> np.ndarray:
        return self.weight[..., 0, 0] > 0

    def take(self, steps: np.ndarray) -> Sightings:
        return Sightings(self.rays[steps], self.ideal[steps], self.px_per_ideal[steps], self.weight[steps])

    def put(self, steps: np.ndarray, other: Sightings) -> None:
        for f in fields(self):
            getattr(self, f.name)[steps] = getattr(other, f.name)

    def choose(self, choice: np.ndarray) -> Sightings:
        """Of sightings of K candidates a colour, (T, V, 3 K, ...), those that choice (T, V, 3) names; -1: none."""
        k = self.rays.shape[2] // 3
        flat = np.arange(3) * k + np.maximum(choice, 0)

        def pick(array: np.ndarray) -> np.ndarray:
            return np.take_along_axis(array, flat.reshape(flat.shape + (1,) * (array.ndim - 3)), 2)

        weight = pick(self.weight) * (choice >= 0)[..., None, None]
        return Sightings(pick(self.rays), pick(self.ideal), pick(self.px_per_ideal), weight)


def sight(uv: np.ndarray, weight: np.ndarray, cameras: Sequence[PinholeCamera]) -> Sightings:
    """uv (T, V, n, 2) px and inverse covariances (T, V, n, 2, 2) -> Sightings. What lies beyond a lens drops out."""
    uv = np.where(weight[..., :1, 0] > 0, uv, np.stack([c.K[:2, 2] for c in cameras])[:, None, :])
    ideal = np.stack([c.undistort((uv[:, v] - c.K[:2, 2]) @ np.linalg.inv(c.K[:2, :2]).T)
                      for v, c in enumerate(cameras)], 1)
    seen = np.isfinite(ideal).all(-1)
    ideal, weight = np.where(seen[..., None], ideal, 0.0), np.where(seen[..., None, None], weight, 0.0)
    direction = np.concatenate([ideal, np.ones(ideal.shape[:-1] + (1,))], -1)
    direction /= np.linalg.norm(direction, axis=-1, keepdims=True)
    rays = np.stack([direction[:, v] @ c.base_T_camera[:3, :3].T for v, c in enumerate(cameras)], 1)
    px = np.stack([c.K[:2, :2] @ c.distort_jacobian(ideal[:, v]) for v, c in enumerate(cameras)], 1)
    return Sightings(rays, ideal, px, weight)


@dataclass
class PoseFit:
    """Poses of T steps. R (T, 3, 3), p (T, 3) m; residual (T, V, 3, 2) px, zero where unused; jac (T, V, 3, 2, 6)
    of the projected points by (translation, rotation vector); normal (T, 6, 6) = J' W J; chi2 (T,) weighted sum of
    squares; solved (T,) bool: there were enough blobs to start from, and all points are in front of the cameras."""

    R: np.ndarray
    p: np.ndarray
    residual: np.ndarray
    jac: np.ndarray
    normal: np.ndarray
    chi2: np.ndarray
    solved: np.ndarray

    def take(self, steps: np.ndarray) -> PoseFit:
        return PoseFit(*(getattr(self, f.name)[steps] for f in fields(self)))

    def put(self, steps: np.ndarray, other: PoseFit) -> None:
        for f in fields(self):
            getattr(self, f.name)[steps] = getattr(other, f.name)


def solve(sightings: Sightings, scene: Scene) -> PoseFit:
    """Weighted least squares pose of every step whose three points can all be triangulated."""
    R, p, solved = initial(sightings, scene)
    return refine(sightings, R, p, solved, scene)


def initial(sightings: Sightings, scene: Scene) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Triangulate each point, then fit the rigid triple: R (T, 3, 3), p (T, 3), and where it could be done (T,)."""
    used = sightings.used
    origins = scene.origins
    rays = np.moveaxis(sightings.rays, 1, 2)
    seen = np.moveaxis(used, 1, 2).astype(float)
    points, fixed = closest_points(np.broadcast_to(origins, rays.shape), rays, seen)
    solved = np.all(fixed, -1)
    pose = fit_rigid(scene.tcp_points, np.where(solved[:, None, None], points, scene.tcp_points), np.ones(fixed.shape))
    return pose[:, :3, :3], pose[:, :3, 3], solved


def refine(sightings: Sightings, R: np.ndarray, p: np.ndarray, solved: np.ndarray, scene: Scene) -> PoseFit:
    """Gauss-Newton from a start pose; steps that are not `solved` keep an arbitrary pose."""
    eye = np.eye(3)
    R, p = np.where(solved[:, None, None], R, eye), np.where(solved[:, None], p, 0.0)
    camera_T_base = np.stack([c.camera_T_base for c in scene.cameras])
    moved = np.inf
    for k in range(_ITERATIONS + 1):
        residual, jac, ahead = _linearise(sightings, R, p, scene.tcp_points, camera_T_base)
        weighted = sightings.weight @ jac
        normal = np.einsum("tvcik,tvcil->tkl", jac, weighted)
        chi2 = np.einsum("tvci,tvcij,tvcj->t", residual, sightings.weight, residual)
        if k == _ITERATIONS or moved < _STOP:
            break
        gradient = np.einsum("tvcik,tvci->tk", weighted, residual)
        scale = np.trace(normal, axis1=-2, axis2=-1)[:, None, None]
        step = np.linalg.solve(normal + 1e-9 * np.maximum(scale, 1e-12) * np.eye(6), gradient[..., None])[..., 0]
        step *= np.minimum(1.0, 0.5 / np.maximum(np.abs(step).max(-1), 1e-12))[:, None]
        p, R = p + step[:, :3], so3_exp(step[:, 3:]) @ R
        moved = np.abs(step[solved]).max(initial=0.0)
    return PoseFit(R, p, residual, jac, normal, chi2, solved & ahead)


def _linearise(sightings: Sightings, R: np.ndarray, p: np.ndarray, tcp_points: np.ndarray,
               camera_T_base: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    camera_R_base, camera_t_base = camera_T_base[:, :3, :3], camera_T_base[:, :3, 3]
    arms = tcp_points @ np.swapaxes(R, -1, -2)
    in_camera = (arms + p[:, None])[:, None] @ np.swapaxes(camera_R_base, -1, -2) + camera_t_base[:, None]
    z = in_camera[..., 2]
    ahead = (z > _MIN_DEPTH_M) | ~sightings.used
    z = np.maximum(z, _MIN_DEPTH_M)
    ideal = in_camera[..., :2] / z[..., None]
    residual = (sightings.px_per_ideal @ (sightings.ideal - ideal)[..., None])[..., 0]
    slope = np.zeros(z.shape + (2, 3))
    slope[..., 0, 0] = slope[..., 1, 1] = 1 / z
    slope[..., 0, 2], slope[..., 1, 2] = -ideal[..., 0] / z, -ideal[..., 1] / z
    by_point = sightings.px_per_ideal @ slope @ camera_R_base[:, None]
    jac = np.concatenate([by_point, by_point @ -hat(arms)[:, None]], -1)
    used = sightings.used
    return np.where(used[..., None], residual, 0.0), np.where(used[..., None, None], jac, 0.0), ahead.all((1, 2))

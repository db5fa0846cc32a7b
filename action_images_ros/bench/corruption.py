"""Test chunks for the codec: known poses, drawn with the errors that a video model makes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from ..codec import ActionEncoding, encode
from ..geometry import PinholeCamera
from ..geometry.se3 import make, so3_exp

WORK_POINT_M = np.array([0.5, 0.0, 0.2])


@dataclass(frozen=True)
class Errors:
    """What goes wrong in a chunk. shape: blob heights and widths vary by this share. background: height of a
    low-frequency background (of full scale). jpeg: lowest quality, 0 = none. ghost: height of a second
    blob in one view and colour, over that of the true one. missing: blobs left out per step. cut: one
    camera is aimed so that the path runs along its border. noise: sd of white noise."""

    shape: float = 0.0
    background: float = 0.0
    jpeg: int = 0
    ghost: float = 0.0
    missing: int = 0
    cut: bool = False
    noise: float = 0.0


@dataclass(frozen=True)
class DrawnChunk:
    """poses (T, 4, 4), openness (T,), cameras V, images (T, V, H, W, 3) uint8."""

    poses: np.ndarray
    openness: np.ndarray
    cameras: tuple[PinholeCamera, ...]
    images: np.ndarray


def make_chunk(rng: np.random.Generator, size: int, steps: int = 41, views: int = 2, errors: Errors = Errors(),
               encoding: ActionEncoding = ActionEncoding()) -> DrawnChunk:
    """A smooth random motion above a table, seen by cameras about 1.2 m away and 60-70 degrees apart."""
    poses, openness = _motion(rng, steps)
    cameras = _cameras(rng, size, views)
    uv = np.stack([c.project(encoding.base_points(poses)) for c in cameras], 1)
    if errors.cut:
        cameras, uv = _aim_at_border(rng, cameras, uv, encoding.sigma_px((size, size)))
    plain = Errors(noise=errors.noise)
    if errors == plain and not errors.noise:
        return DrawnChunk(poses, openness, cameras, encode(poses, openness, cameras, encoding))
    images = np.empty((steps, views, size, size, 3), np.uint8)
    background = _backgrounds(rng, size, views, errors.background)
    for t in range(steps):
        images[t] = _draw_step(rng, uv[t], openness[t], size, errors, encoding, background)
    return DrawnChunk(poses, openness, cameras, images)


def _motion(rng: np.random.Generator, steps: int) -> tuple[np.ndarray, np.ndarray]:
    s = np.linspace(0, 1, steps)[:, None]
    start, end = (WORK_POINT_M + rng.uniform(-1, 1, 3) * (0.12, 0.18, 0.12) for _ in range(2))
    bend = rng.normal(0, 0.03, 3) * np.sin(np.pi * s)
    turn_a, turn_b = rng.normal(0, 0.35, 3), rng.normal(0, 0.35, 3)
    turn_a[2], turn_b[2] = rng.uniform(-np.pi, np.pi), rng.uniform(-1, 1)
    R = so3_exp(turn_a) @ so3_exp(s * turn_b) @ np.diag([1.0, -1.0, -1.0])
    openness = (np.arange(steps) < rng.integers(0, steps)).astype(float)
    return make(R, start + s * (end - start) + bend), openness if rng.random() < 0.5 else 1.0 - openness


def _cameras(rng: np.random.Generator, size: int, views: int) -> tuple[PinholeCamera, ...]:
    azimuth = rng.uniform(-30, 30) + rng.uniform(60, 70) * (np.arange(views) - (views - 1) / 2)
    out = []
    for degrees in np.radians(azimuth):
        elevation, distance = np.radians(rng.uniform(25, 40)), rng.uniform(1.15, 1.25)
        back = np.array([np.cos(elevation) * np.cos(degrees), np.cos(elevation) * np.sin(degrees), np.sin(elevation)])
        right = np.cross(-back, [0, 0, 1.0])
        right /= np.linalg.norm(right)
        focal = 0.5 * size / np.tan(np.radians(rng.uniform(44, 52)) / 2)
        K = np.array([[focal, 0, size / 2 - 0.5], [0, focal, size / 2 - 0.5], [0, 0, 1]])
        pose = make(np.stack([right, np.cross(-back, right), -back], -1), WORK_POINT_M + distance * back)
        out.append(PinholeCamera(K, (size, size), pose))
    return tuple(out)


def _aim_at_border(rng: np.random.Generator, cameras: Sequence[PinholeCamera], uv: np.ndarray,
                   sigma: float) -> tuple[tuple[PinholeCamera, ...], np.ndarray]:
    """Shift one view so that a blob's path keeps to within about a sigma of a border."""
    v, c, side = int(rng.integers(len(cameras))), int(rng.integers(3)), int(rng.integers(4))
    axis, size = side % 2, cameras[0].image_size[0]
    path = np.median(uv[:, v, c, axis])
    shift = np.zeros(2)
    shift[axis] = (0.0 if side < 2 else size - 1.0) - path + rng.normal(0, 0.7) * sigma
    K = cameras[v].K.copy()
    K[:2, 2] += shift
    moved = PinholeCamera(K, cameras[v].image_size, cameras[v].base_T_camera)
    out = uv.copy()
    out[:, v] += shift
    return tuple(moved if k == v else camera for k, camera in enumerate(cameras)), out


def _backgrounds(rng: np.random.Generator, size: int, views: int, height: float) -> np.ndarray:
    """(V, H, W, 3) float32 in [0, height]: one slow wave a view and colour."""
    if not height:
        return np.zeros((views, 1, 1, 3), np.float32)
    y, x = np.mgrid[:size, :size] / size
    out = np.empty((views, size, size, 3), np.float32)
    for v in range(views):
        for c in range(3):
            fx, fy = rng.uniform(-1.5, 1.5, 2)
            out[v, ..., c] = height / 2 * (1 + np.cos(2 * np.pi * (fx * x + fy * y + rng.random())))
    return out


def _draw_step(rng: np.random.Generator, uv: np.ndarray, openness: float, size: int, errors: Errors,
               encoding: ActionEncoding, background: np.ndarray) -> np.ndarray:
    """uv (V, 3, 2) -> (V, H, W, 3) uint8."""
    views, sigma, grid = len(uv), encoding.sigma_px((size, size)), np.arange(size)
    height = rng.uniform(1 - errors.shape, 1 + errors.shape, (views, 3))
    width = rng.uniform(1 - errors.shape, 1 + errors.shape, (views, 3)) * sigma
    slots = rng.permutation(views * 3)

    def blob(at: np.ndarray, amplitude: float, sd: float) -> np.ndarray:
        gx, gy = (np.exp(-0.5 * ((grid - centre) / sd) ** 2) for centre in at)
        return (amplitude * gy[:, None] * gx).astype(np.float32)

    out = np.zeros((views, size, size, 3), np.float32)
    for k in range(views * 3):
        v, c = divmod(int(k), 3)
        plane = np.zeros((size, size), np.float32)
        if k not in slots[:errors.missing]:
            plane = blob(uv[v, c], height[v, c], width[v, c])
        if errors.ghost and k == slots[errors.missing]:
            plane = np.maximum(plane, blob(rng.uniform(0, size, 2), errors.ghost * height[v, c], width[v, c]))
        if c == 2:
            plane = np.where(plane <= encoding.pedestal, np.float32(encoding.pedestal * openness), plane)
        out[v, ..., c] = plane
    out += background
    if errors.noise:
        out += errors.noise * rng.standard_normal(out.shape, np.float32)
    image = np.rint(np.clip(out, 0, 1) * 255).astype(np.uint8)
    if errors.jpeg:
        image = np.stack([_jpeg(view, int(rng.integers(errors.jpeg, 90))) for view in image])
    return image


def _jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    coded = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    decoded = cv2.imdecode(coded, cv2.IMREAD_COLOR)
    assert decoded is not None, "just encoded"
    return decoded[..., ::-1]

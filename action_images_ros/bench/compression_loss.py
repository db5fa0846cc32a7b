"""What storing pictures as JPEG or video costs: likeness of a camera picture, and where a board's corners are found.
Part of `action-images bench recording --compression`."""

from __future__ import annotations

import resource
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from ..recording.stream_video import StreamEncoder, StreamRules, decoded

_COLUMNS, _ROWS, _SQUARE_PX = 9, 6, 100
_BOARDS, _ROUNDS = 20, 4
_NOISE_SD = 2.0


@dataclass(frozen=True)
class Loss:
    """psnr_db: inf without loss; corner_px: root mean square of how far the found corners move; kb, cpu_ms: of one
    picture (0 ms where it is stored as it is)."""

    kind: str
    psnr_db: float
    corner_px: float
    kb: float
    cpu_ms: float


def compression_losses(cell_file: Path, kinds: Sequence[str], parameters: Mapping[str, Mapping]) -> list[Loss]:
    from ..cell import Cell
    from ..ros.recording_sources import pictures

    cell = Cell.load(cell_file)
    seen = pictures(cell, cell.view_names[0])
    boards = [_board(np.random.default_rng(k), seen[0].shape) for k in range(_BOARDS)]
    return [_loss(kind, parameters[kind], seen, boards) for kind in kinds]


def _loss(kind: str, parameters: Mapping, seen: Sequence[np.ndarray], boards: Sequence[np.ndarray]) -> Loss:
    if parameters.get("images", "raw") == "raw":
        return Loss(kind, float("inf"), 0.0, seen[0].nbytes / 1e3, 0.0)
    many = [p for _ in range(_ROUNDS) for p in seen]
    began_s = _cpu_s()
    stored = _stored(many, parameters)
    cpu_ms = 1e3 * (_cpu_s() - began_s) / len(many)
    pairs = zip(many, _read(stored, parameters, seen[0].shape))
    mean = np.mean([np.mean((a.astype(float) - b) ** 2) for a, b in pairs])
    back = _read(_stored(boards, parameters), parameters, boards[0].shape)
    found = [(_corners(a), _corners(b)) for a, b in zip(boards, back)]
    moved = [a - b for a, b in found if a is not None and b is not None]
    corner_px = float(np.sqrt(np.mean(np.sum(np.square(moved), axis=-1)))) if moved else float("nan")
    kb = sum(map(len, stored)) / len(stored) / 1e3
    return Loss(kind, 10 * float(np.log10(255**2 / mean)), corner_px, kb, cpu_ms)


def _cpu_s() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)


def _stored(pictures: Sequence[np.ndarray], parameters: Mapping) -> list[bytes]:
    if parameters["images"] == "jpeg":
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(parameters.get("jpeg_quality", 95))]
        return [cv2.imencode(".jpg", p[..., ::-1], quality)[1].tobytes() for p in pictures]
    encoder = StreamEncoder(StreamRules(parameters["images"]), (pictures[0].shape[1], pictures[0].shape[0]))
    for picture in pictures:
        encoder.write(picture)
    return list(encoder.close())


def _read(stored: Sequence[bytes], parameters: Mapping, shape: tuple[int, ...]) -> list[np.ndarray]:
    if parameters["images"] == "jpeg":
        read = (cv2.imdecode(np.frombuffer(s, np.uint8), cv2.IMREAD_COLOR) for s in stored)
        return [np.asarray(bgr)[..., ::-1] for bgr in read]
    return [p for _, p in decoded(iter(enumerate(stored)), parameters["images"], (shape[1], shape[0]))]


def _board(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """A chessboard seen askew, with the noise of a sensor."""
    height, width = shape[:2]
    y, x = np.mgrid[: (_ROWS + 3) * _SQUARE_PX, : (_COLUMNS + 3) * _SQUARE_PX]
    square = (x // _SQUARE_PX + y // _SQUARE_PX) % 2 * 180 + 40
    inside = (np.minimum(x, y) >= _SQUARE_PX) & (x < (_COLUMNS + 2) * _SQUARE_PX) & (y < (_ROWS + 2) * _SQUARE_PX)
    flat = np.where(inside, square, 220).astype(np.uint8)
    source = np.array([[0, 0], [x.max(), 0], [x.max(), y.max()], [0, y.max()]], np.float32)
    target = np.array([[0.15, 0.15], [0.85, 0.15], [0.85, 0.85], [0.15, 0.85]]) + rng.uniform(-0.08, 0.08, (4, 2))
    H = cv2.getPerspectiveTransform(source, (target * (width, height)).astype(np.float32))
    grey = cv2.warpPerspective(flat, H, (width, height), flags=cv2.INTER_AREA, borderValue=120)
    soft = np.repeat(np.asarray(cv2.GaussianBlur(grey, (0, 0), 0.8), float)[..., None], 3, axis=2)
    return np.clip(soft + rng.normal(0, _NOISE_SD, soft.shape), 0, 255).astype(np.uint8)


def _corners(picture: np.ndarray) -> np.ndarray | None:
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    found, corners = cv2.findChessboardCorners(grey, (_COLUMNS, _ROWS))
    if not found:
        return None
    stop = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_COUNT, 40, 1e-4)
    return cv2.cornerSubPix(grey, corners, (5, 5), (-1, -1), stop).reshape(-1, 2)

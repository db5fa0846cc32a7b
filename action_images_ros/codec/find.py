"""Candidate blobs of every step, view and colour: the strongest first, then what it leaves unexplained."""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass, fields

import numpy as np

from . import background
from .blobs import WINDOW_SIGMA, Blobs, fit
from .config import DecodeConfig
from .encoding import ActionEncoding
from .grid import Grid, add_up, peaks

_BLUE_LIFT = 0.15
_SEARCH_LOSS = 1.25  # height of a drawn blob over that of its smoothed image
_BACKGROUND_ROUNDS = 2
_BACKGROUND_DOUBT = 0.15
_CUT_DOUBT_SIGMA = 0.04
_VISIBLE_SIGMA = 3.0
_APART_SIGMA = 1.4


@dataclass
class Candidates:
    """blobs of shape (T, V, 3, K), strongest first; ok (T, V, 3, K) bool: there is one and its fit can be used."""

    blobs: Blobs
    ok: np.ndarray

    @classmethod
    def joined(cls, parts: list[Candidates]) -> Candidates:
        """Parts of a chunk, one after the other; those with fewer candidates are filled up."""
        most = max(part.ok.shape[-1] for part in parts)
        wide = [part.padded(most) for part in parts]
        blobs = Blobs(*(np.concatenate([getattr(p.blobs, f.name) for p in wide]) for f in fields(Blobs)))
        return cls(blobs, np.concatenate([p.ok for p in wide]))

    def padded(self, k: int) -> Candidates:
        missing = k - self.ok.shape[-1]
        if not missing:
            return self
        shape = (*self.ok.shape[:3], missing)
        none = Blobs.empty(int(np.prod(shape))).reshaped(*shape)
        blobs = Blobs(*(np.concatenate([getattr(self.blobs, f.name), getattr(none, f.name)], 3) for f in fields(Blobs)))
        return Candidates(blobs, np.concatenate([self.ok, np.zeros(shape, bool)], -1))


class Finder:
    """Looks for blobs in one grid. `planes` (T * V * 3, h, w) shares memory with the grid."""

    def __init__(self, grid: Grid, images: np.ndarray, encoding: ActionEncoding, config: DecodeConfig) -> None:
        self.grid, self.images, self.encoding, self.config = grid, images, encoding, config
        self.shape = grid.values.shape[:3]
        self.planes: np.ndarray = grid.values.reshape((-1,) + grid.values.shape[3:])
        self.is_blue = np.tile([False, False, True], len(self.planes) // 3)
        lifted = max(config.min_amplitude, encoding.pedestal + _BLUE_LIFT)
        self.lowest = np.where(self.is_blue, lifted, config.min_amplitude)

    def run(self) -> Candidates:
        found, todo = [self._first()], np.arange(len(self.planes))
        while len(found) < self.config.max_candidates and len(todo):
            todo, extra = self._next(found, todo)
            if len(todo):
                found.append(extra)
        self._remove_background(found)
        self._doubt_cut(found)
        self._doubt_overlaps(found)
        blobs = Blobs.stack(found).reshaped(*self.shape, len(found))
        return Candidates(blobs, self._usable(blobs))

    def _fit(self, planes: np.ndarray, which: np.ndarray, start: np.ndarray, height: np.ndarray) -> Blobs:
        return fit(self.grid, planes, start, height, self.is_blue[which], self.encoding.pedestal)

    def _first(self) -> Blobs:
        every = np.arange(len(self.planes))
        start, height = self._peaks(self._lifted(self._coarse(self.planes), every), every)
        self._add_up(every[::3] // 3, start.reshape(-1, 3, 2))
        return self._fit(self.planes, every, start, height)

    def _add_up(self, which: np.ndarray, centres: np.ndarray) -> None:
        add_up(self.grid, self.images, which, centres, WINDOW_SIGMA * self.grid.sigma + 2)

    def _coarse(self, planes: np.ndarray) -> np.ndarray:
        y, x = (self.grid.coarse(size)[0] for size in planes.shape[1:])
        return planes[:, y::self.grid.stride, x::self.grid.stride]

    def _lifted(self, planes: np.ndarray, which: np.ndarray) -> np.ndarray:
        """Planes with blue measured from the pedestal up."""
        offset = np.where(self.is_blue[which], self.encoding.pedestal, -np.inf).astype(np.float32)[:, None, None]
        return np.maximum(planes, offset) - np.maximum(offset, 0)

    def _peaks(self, lifted: np.ndarray, which: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Highest points of coarse planes: xy in cells of the grid, and the height of the blob that they are."""
        stride = self.grid.stride
        xy, response = peaks(lifted, self.grid.sigma / stride)
        origin = [self.grid.coarse(size)[0] for size in (self.planes.shape[2], self.planes.shape[1])]
        return xy * stride + origin, response * _SEARCH_LOSS + self.encoding.pedestal * self.is_blue[which]

    def _remove_background(self, found: list[Blobs]) -> None:
        """Take a significant background off the planes and fit again; a share of what that moves stays in doubt."""
        which = np.arange(len(self.planes))
        before = [b.xy.copy() for b in found]
        for _ in range(_BACKGROUND_ROUNDS):
            some = self.planes if len(which) == len(self.planes) else self.planes[which]
            slow, those = background.estimate(some, [b.take(which) for b in found], self.grid, self.is_blue[which])
            which = which[those]
            if not len(which):
                break
            self.planes[which] -= background.draw(slow, *self.planes.shape[1:])
            self._fit_again(found, which)
        for blobs, xy in zip(found, before):
            doubt = _BACKGROUND_DOUBT * np.linalg.norm(blobs.xy - xy, axis=-1)
            blobs.cov += doubt[:, None, None] ** 2 * np.eye(2)

    def _fit_again(self, found: list[Blobs], which: np.ndarray) -> None:
        """Fit every blob of these planes from where it is, without the others."""
        for blobs in found:
            some = which[blobs.amplitude[which] > 0]
            if len(some):
                others = [b for b in found if b is not blobs]
                blobs.put(some, self._fit(self._minus(some, others), some, blobs.xy[some], blobs.amplitude[some]))

    def _doubt_cut(self, found: list[Blobs]) -> None:
        """What lies outside the image cannot balance what is wrong inside."""
        for blobs in found:
            hidden = np.clip(0.5 + self._outside(blobs) / _VISIBLE_SIGMA, 0, 1)
            blobs.cov += (_CUT_DOUBT_SIGMA * self.grid.sigma * hidden)[:, None, None] ** 2 * np.eye(2)

    def _doubt_overlaps(self, found: list[Blobs]) -> None:
        """Two blobs that touch cannot be told apart exactly."""
        for blobs, other in itertools.permutations(found, 2):
            apart = ((blobs.xy - other.xy) ** 2).sum(-1) / self.grid.sigma**2
            share = np.where(other.amplitude > 0, other.amplitude / np.maximum(blobs.amplitude, 1e-3), 0.0)
            doubt = np.minimum(share, 1.0) * np.exp(-0.25 * apart) * self.grid.sigma
            blobs.cov += doubt[:, None, None] ** 2 * np.eye(2)

    def _outside(self, blobs: Blobs) -> np.ndarray:
        """How far centres lie outside the image, in sigmas; negative inside."""
        h, w = self.planes.shape[1:]
        return np.maximum(-0.5 - blobs.xy, blobs.xy - np.array([w, h]) + 0.5).max(-1) / self.grid.sigma

    def _model(self, blobs: Blobs, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """What the blobs (N,) draw on these columns and rows of cells."""
        scale = (-0.5 / (self.grid.sigma * np.exp(blobs.log_width)) ** 2)[:, None]
        gx = np.exp(scale * (x - blobs.xy[:, :1]) ** 2).astype(np.float32)
        gy = (blobs.amplitude[:, None] * np.exp(scale * (y - blobs.xy[:, 1:]) ** 2)).astype(np.float32)
        return gy[:, :, None] * gx[:, None, :]

    def _next(self, found: list[Blobs], todo: np.ndarray) -> tuple[np.ndarray, Blobs]:
        """One more blob in each plane whose blobs so far leave a peak; refits the first without it."""
        y, x = (self.grid.coarse(size) for size in self.planes.shape[1:])
        drawn = functools.reduce(np.add, (self._model(b.take(todo), x, y) for b in found))
        rest = self._lifted(self._coarse(self.planes)[todo], todo) - self._lifted(drawn, todo)
        start, height = self._peaks(rest, todo)
        more = height > np.maximum(self.config.ghost_amplitude * found[0].amplitude[todo], self.lowest[todo])
        for b in found:  # what is left close to a blob is its own misfit
            apart = np.linalg.norm(start - b.xy[todo], axis=-1) > _APART_SIGMA * self.grid.sigma
            more &= apart | (b.amplitude[todo] < self.config.min_amplitude)
        todo, start, height = todo[more], start[more], height[more]
        extra = Blobs.empty(len(self.planes))
        if len(todo):
            self._add_up(todo // 3, start[:, None])
            extra.put(todo, self._fit(self._minus(todo, found), todo, start, height))
            self._fit_again([*found, extra], todo)
        return todo, extra

    def _minus(self, which: np.ndarray, blobs: list[Blobs]) -> np.ndarray:
        """Planes without these blobs; of blue what they lift above the pedestal."""
        out = self.planes[which]
        y, x = (np.arange(size) for size in out.shape[1:])
        for b in blobs:
            some = np.flatnonzero(b.amplitude[which] > 0)
            if len(some):
                out[some] -= self._lifted(self._model(b.take(which[some]), x, y), which[some])
        return out

    def _usable(self, blobs: Blobs) -> np.ndarray:
        config = self.config
        sd = np.sqrt(_largest_eigenvalue(blobs.cov)) / self.grid.sigma
        lowest = self.lowest.reshape(*self.shape, 1)
        shape = (blobs.amplitude > lowest) & (blobs.amplitude < config.max_amplitude)
        shape &= np.abs(blobs.log_width) < np.log(config.max_width_factor)
        return shape & (sd < config.max_blob_sd_sigma) & (self._outside(blobs) < config.max_outside_sigma)


def _largest_eigenvalue(m: np.ndarray) -> np.ndarray:
    """Of symmetric (..., 2, 2); infinite where they are not positive definite."""
    half, apart = (m[..., 0, 0] + m[..., 1, 1]) / 2, (m[..., 0, 0] - m[..., 1, 1]) / 2
    span = np.hypot(apart, m[..., 0, 1])
    return np.where((half - span > 1e-9 * half) & np.isfinite(span), half + span, np.inf)

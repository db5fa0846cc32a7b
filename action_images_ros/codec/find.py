"""Candidate blobs of every step, view and colour: the strongest first, then what it leaves unexplained."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from . import background
from .blobs import WINDOW_SIGMA, Blobs, fit
from .config import DecodeConfig
from .encoding import ActionEncoding
from .grid import Grid, add_up, smoothed

_BLUE_LIFT = 0.15
_SEARCH_LOSS = 1.25  # height of a drawn blob over that of its smoothed image
_BACKGROUND_ROUNDS = 2


@dataclass
class Candidates:
    """blobs of shape (T, V, 3, K), strongest first; ok (T, V, 3, K) bool: there is one and its fit can be used."""

    blobs: Blobs
    ok: np.ndarray


class Finder:
    """Looks for blobs in one grid. `planes` (T * V * 3, h, w) shares memory with the grid."""

    def __init__(self, grid: Grid, images: np.ndarray, encoding: ActionEncoding, config: DecodeConfig) -> None:
        self.grid, self.images, self.encoding, self.config = grid, images, encoding, config
        self.shape = grid.values.shape[:3]
        self.planes = grid.values.reshape((-1,) + grid.values.shape[3:])
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
        blobs = Blobs.stack(found).reshaped(*self.shape, len(found))
        return Candidates(blobs, self._usable(blobs))

    def _fit(self, planes: np.ndarray, which: np.ndarray, start: np.ndarray, height: np.ndarray) -> Blobs:
        return fit(self.grid, planes, np.arange(len(which)), start, height, self.is_blue[which], self.encoding.pedestal)

    def _first(self) -> Blobs:
        every = np.arange(len(self.planes))
        start, height = self._peaks(self._lifted(self.planes, every), every)
        add_up(self.grid, self.images, start.reshape(*self.shape, 2), WINDOW_SIGMA * self.grid.sigma + 2)
        return self._fit(self.planes, every, start, height)

    def _lifted(self, planes: np.ndarray, which: np.ndarray) -> np.ndarray:
        """Planes with blue measured from the pedestal up."""
        out = planes.copy()
        blue = self.is_blue[which]
        out[blue] = np.maximum(out[blue] - np.float32(self.encoding.pedestal), 0)
        return out

    def _peaks(self, lifted: np.ndarray, which: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        response = smoothed(lifted, self.grid.sigma).reshape(len(lifted), -1)
        best = response.argmax(-1)
        height = response[np.arange(len(best)), best] * _SEARCH_LOSS + self.encoding.pedestal * self.is_blue[which]
        width = lifted.shape[-1]
        return np.stack([best % width, best // width], -1).astype(float), height

    def _remove_background(self, found: list[Blobs]) -> None:
        """Take a significant background off the planes and fit again."""
        which = np.arange(len(self.planes))
        for _ in range(_BACKGROUND_ROUNDS):
            slow, significant = background.estimate(self.planes[which], [b.take(which) for b in found], self.grid,
                                                    self.is_blue[which])
            which = which[significant]
            if not len(which):
                break
            self.planes[which] -= slow[significant]
            self._fit_again(found, which)

    def _fit_again(self, found: list[Blobs], which: np.ndarray) -> None:
        """Fit every blob of these planes from where it is, without the others."""
        for blobs in found:
            some = which[blobs.amplitude[which] > 0]
            others = [b for b in found if b is not blobs]
            blobs.put(some, self._fit(self._minus(some, others), some, blobs.xy[some], blobs.amplitude[some]))

    def _model(self, blobs: Blobs, which: np.ndarray) -> np.ndarray:
        """What the blobs (N,) draw, blue from the pedestal up."""
        h, w = self.planes.shape[1:]
        scale = (-0.5 / (self.grid.sigma * np.exp(blobs.log_width)) ** 2)[:, None]
        gx = np.exp(scale * (np.arange(w) - blobs.xy[:, :1]) ** 2).astype(np.float32)
        gy = np.exp(scale * (np.arange(h) - blobs.xy[:, 1:]) ** 2).astype(np.float32)
        gy *= blobs.amplitude[:, None].astype(np.float32)
        return gy[:, :, None] * gx[:, None, :]

    def _next(self, found: list[Blobs], todo: np.ndarray) -> tuple[np.ndarray, Blobs]:
        """One more blob in each plane whose blobs so far leave a peak; refits the first without it."""
        drawn = sum(self._model(b.take(todo), todo) for b in found)
        rest = self._lifted(self.planes[todo], todo) - self._lifted(drawn, todo)
        strongest = found[0].amplitude[todo]
        offset = self.encoding.pedestal * self.is_blue[todo]
        need = np.maximum(self.config.ghost_amplitude * strongest, self.lowest[todo]) - offset
        peak = rest.reshape(len(todo), -1).max(-1) > 0.8 * need
        todo, rest, need, drawn = todo[peak], rest[peak], need[peak], drawn[peak]
        if not len(todo):
            return todo, found[0]
        start, height = self._peaks(rest, todo)
        keep = height - self.encoding.pedestal * self.is_blue[todo] > need
        todo, start, height, drawn = todo[keep], start[keep], height[keep], drawn[keep]
        extra = Blobs.empty(len(self.planes))
        if not len(todo):
            return todo, extra
        extra.put(todo, self._fit(self._minus(todo, found), todo, start, height))
        self._fit_again([*found, extra], todo)
        return todo, extra

    def _minus(self, which: np.ndarray, blobs: list[Blobs]) -> np.ndarray:
        """Planes without these blobs; of blue what they lift above the pedestal."""
        out = self.planes[which]
        for b in blobs:
            out -= self._lifted(self._model(b.take(which), which), which)
        return out

    def _usable(self, blobs: Blobs) -> np.ndarray:
        h, w = self.planes.shape[1:]
        config = self.config
        sd = np.sqrt(np.maximum(np.linalg.eigvalsh(blobs.cov)[..., -1], 0)) / self.grid.sigma
        outside = np.maximum(-0.5 - blobs.xy, blobs.xy - np.array([w, h]) + 0.5).max(-1) / self.grid.sigma
        lowest = self.lowest.reshape(*self.shape, 1)
        return ((blobs.amplitude > lowest) & (blobs.amplitude < config.max_amplitude) & (sd < config.max_blob_sd_sigma)
                & (np.abs(blobs.log_width) < np.log(config.max_width_factor)) & (outside < config.max_outside_sigma))

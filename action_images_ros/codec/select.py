"""From candidate blobs to the pose of every step, and to whether it can be believed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..geometry.se3 import make
from .association import associate
from .config import DecodeConfig
from .continuity import agrees, deviation, jumps
from .find import Candidates
from .grid import Grid
from .integrity import error_bounds
from .pose import PoseFit, Scene, Sightings, refine, sight, solve

_COV_FLOOR_SIGMA = 1e-3
_CLEARLY_BETTER = 4.0  # ratio of weighted residuals at which one explanation beats another

_BY_STEP = ("used", "position_m", "rotation_rad", "max_position_m", "max_rotation_rad", "rival", "confirmed", "jump")


@dataclass
class Solution:
    """poses of T steps; used (T, V, 3) bool, the blobs behind them; position_m, rotation_rad (T,) error bounds and
    max_position_m, max_rotation_rad (T,) what is credible; rival (T,): a different pose explains the blobs as well;
    confirmed (T,): bounded by the steps around; jump (T,): thrown out by them."""

    poses: PoseFit
    used: np.ndarray
    position_m: np.ndarray
    rotation_rad: np.ndarray
    max_position_m: np.ndarray
    max_rotation_rad: np.ndarray
    rival: np.ndarray
    confirmed: np.ndarray
    jump: np.ndarray
    min_blobs: int

    def take(self, steps: np.ndarray) -> Solution:
        taken = {name: getattr(self, name)[steps] for name in _BY_STEP}
        return Solution(self.poses.take(steps), min_blobs=self.min_blobs, **taken)

    def put(self, steps: np.ndarray, other: Solution) -> None:
        self.poses.put(steps, other.poses)
        for name in _BY_STEP:
            getattr(self, name)[steps] = getattr(other, name)

    @property
    def bounded(self) -> np.ndarray:
        """(T,) bool: solved by enough blobs, and its error bounds are small enough."""
        return self.enough & (self.position_m <= self.max_position_m) & (self.rotation_rad <= self.max_rotation_rad)

    @property
    def enough(self) -> np.ndarray:
        """(T,) bool: solved by enough blobs."""
        return self.poses.solved & (self.used.sum((1, 2)) >= self.min_blobs)

    def reasons(self) -> tuple[str, ...]:
        """Why each step is not credible; "" where it is."""
        out = []
        for i, used in enumerate(self.used):
            if self.confirmed[i]:
                out.append("")
            elif self.jump[i]:
                out.append("leaves the path of the steps before and after it")
            elif used.sum() < self.min_blobs or not self.poses.solved[i]:
                out.append(f"too few blobs agree: {used.sum()} of {used.size}, {self.min_blobs} needed")
            elif self.rival[i]:
                out.append("ambiguous: another pose explains the blobs as well")
            elif not self.bounded[i]:
                turn, most = np.degrees([self.rotation_rad[i], self.max_rotation_rad[i]])
                out.append(f"blobs disagree: position within {1e3 * self.position_m[i]:.1f} mm (credible: "
                           f"{1e3 * self.max_position_m[i]:.1f}), rotation within {turn:.1f} deg "
                           f"(credible: {most:.1f})")
            else:
                out.append("")
        return tuple(out)


class Selector:
    """Chooses among the candidates of one chunk."""

    def __init__(self, candidates: Candidates, grid: Grid, scene: Scene, config: DecodeConfig) -> None:
        self.ok, self.scene, self.config = candidates.ok, scene, config
        t, v, _, k = candidates.ok.shape
        cov = (candidates.blobs.cov + (_COV_FLOOR_SIGMA * grid.sigma) ** 2 * np.eye(2)) * grid.cell**2
        used = candidates.ok[..., None, None]
        weight = np.where(used, np.linalg.inv(np.where(used, cov, np.eye(2))), 0.0)
        self.uv = grid.to_px(candidates.blobs.xy)
        self.sightings = sight(self.uv.reshape(t, v, 3 * k, 2), weight.reshape(t, v, 3 * k, 2, 2), scene.cameras)

    def run(self) -> Solution:
        """The strongest blobs where they agree; elsewhere those that fit one rigid pose; else all but one."""
        strongest = self.sightings.choose(np.where(self.ok[..., 0], 0, -1))
        self.used_sightings = strongest
        out = self._judge(solve(strongest, self.scene), strongest)
        doubtful = np.flatnonzero(~out.bounded | ~out.used.all((1, 2)))
        if doubtful.size:
            rivals = self._associated(doubtful, out)
            doubtful = doubtful[~out.bounded[doubtful] & ~out.rival[doubtful]]
            self._without_one(doubtful, out)
            self._confirm(out, rivals)
        trusted = out.bounded & ~out.rival
        out.jump[:] = jumps(make(out.poses.R, out.poses.p), trusted, out.max_position_m, out.max_rotation_rad)
        return out

    def _judge(self, poses: PoseFit, sightings: Sightings) -> Solution:
        config = self.config
        position, rotation = error_bounds(poses, sightings, config.blob_bias_sigma * self.scene.sigma_px)
        px = config.max_error_px * self.scene.metres_per_px(poses.p)
        rival, confirmed, jump = np.zeros((3, len(position)), bool)
        return Solution(poses, sightings.used, position, rotation, np.maximum(config.max_position_error_m, px),
                        np.maximum(config.max_rotation_error_rad, px / self.scene.axis_length_m),
                        rival, confirmed, jump, config.min_blobs)

    def _associated(self, steps: np.ndarray, out: Solution) -> dict[int, Solution]:
        """Search these steps for rigid triples: the best into `out`; its rivals with it into the result."""
        limits = self.config.max_position_error_m, self.config.max_rotation_error_rad
        found = associate(self.uv[steps], self.ok[steps], self.sightings.take(steps), self.scene, limits)
        if not found:
            return {}
        step = np.concatenate([np.full(len(a.R), steps[i]) for i, a in found.items()])
        choice, R, p = (np.concatenate([getattr(a, name) for a in found.values()]) for name in ("choice", "R", "p"))
        chosen = self.sightings.take(step).choose(choice)
        solution = self._judge(refine(chosen, R, p, np.ones(len(step), bool), self.scene), chosen)
        first = np.flatnonzero(np.diff(step, prepend=-1))
        count = np.diff(np.append(first, len(step)))
        solution.rival[:] = np.repeat(count > 1, count)
        better = first[solution.enough[first] | ~out.enough[step[first]]]
        out.put(step[better], solution.take(better))
        self.used_sightings.put(step[better], chosen.take(better))
        return {step[i]: solution.take(np.arange(i, i + n)) for i, n in zip(first, count) if n > 1 and i in better}

    def _without_one(self, steps: np.ndarray, out: Solution) -> None:
        """Leave out the one blob that explains the disagreement, where exactly one does."""
        steps = steps[out.poses.solved[steps] & (out.used[steps].sum((1, 2)) > self.config.min_blobs)]
        row, view, colour = np.nonzero(out.used[steps])
        if not len(row):
            return
        step = steps[row]
        trial = self.used_sightings.take(step)
        trial.weight[np.arange(len(step)), view, colour] = 0.0
        poses = refine(trial, out.poses.R[step], out.poses.p[step], np.ones(len(step), bool), self.scene)
        solution = self._judge(poses, trial)
        for t in steps:
            mine = np.flatnonzero(step == t)
            best = mine[poses.chi2[mine].argmin()]
            similar = mine[poses.chi2[mine] < _CLEARLY_BETTER * max(poses.chi2[best], 1.0)]
            apart = deviation(make(poses.R[similar], poses.p[similar]), make(poses.R[best], poses.p[best]),
                              solution.max_position_m[best], solution.max_rotation_rad[best])
            if solution.bounded[best] and np.all(apart <= 1.0):
                out.put(np.array([t]), solution.take(np.array([best])))

    def _confirm(self, out: Solution, rivals: dict[int, Solution]) -> None:
        """Believe a pose that its own blobs cannot check where it lies on the path of the steps around it."""
        trusted = out.bounded & ~out.rival
        for t in np.flatnonzero(~trusted & out.enough).tolist():
            options = rivals.get(t, out.take(np.array([t])))
            path = make(out.poses.R, out.poses.p)
            limits = out.max_position_m[t], out.max_rotation_rad[t]
            fits = [k for k in np.flatnonzero(options.enough).tolist()
                    if agrees(path, make(options.poses.R[k], options.poses.p[k]), t, trusted, limits)]
            if len(fits) == 1:
                out.put(np.array([t]), options.take(np.array(fits)))
                out.confirmed[t] = True

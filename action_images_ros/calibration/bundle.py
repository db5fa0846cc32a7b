"""Joint adjustment of all cameras, boards and arm readings: robust maximum likelihood with estimated noise.

The arm's readings are noisy too: every pose has seven latent joint errors with a common, estimated
standard deviation. That is what makes the weights between poses right and the covariance honest:
without them a millimetre of arm error would have to pass for pixels. Pixel noise is estimated a view.
Noise estimates are iterated variance components (Foerstner 1979); weights are Student's t.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.linalg
from scipy.stats import chi2

from ..errors import CalibrationError
from .residuals import Equations, Observations, State
from .rig import Rig
from .unknowns import Layout, Noise

_MAX_ROUNDS = 60
_SETTLED = 1e-3
_FREEDOM = 5.0
_LEAST_PIXEL_SD = 0.01
_CORNER_GATE = 4.5
_POSE_GATE_P = 1e-4
_VIEW_GATE = 2.5
_MAX_DROPPED = 0.35
_OBSERVED = 0.05
_STILL_SD = 2.0


@dataclass(frozen=True)
class Outlier:
    """A pose, or one board in one view of it, that was left out. kind "arm": its joint reading does not fit what all
    cameras see (view and board ""); "image": its board points do not fit. size: multiple of the limit."""

    pose: str
    view: str
    board: str
    kind: str
    size: float

    @property
    def text(self) -> str:
        where = f"pose {self.pose}" + (f", view {self.view}, board {self.board}" if self.view else "")
        arm, image = "the arm was not where its joints said (moving, or another picture)", "its board points do not fit"
        what = arm if self.kind == "arm" else f"{image} (blur, reflection, wrong board)"
        return f"{where}: {what}; {self.size:.1f} times the limit"


@dataclass(frozen=True, eq=False)
class Solution:
    """What a run found. covariance: of all unknowns, in the layout's order. pixel_sd (V,), joint_sd_rad: estimated
    noise. used (M,): points kept. residuals (M, 2) px of all points. trusted (P,): poses whose reading was kept."""

    state: State
    layout: Layout
    covariance: np.ndarray
    pixel_sd: np.ndarray
    joint_sd_rad: float
    used: np.ndarray
    residuals: np.ndarray
    trusted: np.ndarray
    outliers: tuple[Outlier, ...] = ()

    @property
    def camera_covariance(self) -> np.ndarray:
        """(6 V, 6 V): errors of the camera poses as geometry.se3_exp perturbs them on the left."""
        return self.covariance[self.layout.cameras, self.layout.cameras]


class Bundle:
    """One adjustment problem; `solve` may be called again with other starts or fewer poses."""

    def __init__(
        self,
        rig: Rig,
        equations: Equations,
        observations: Observations,
        names: list[str],
        given: State,
        layout: Layout,
        noise: Noise = Noise(),
    ):
        self.rig, self.equations, self.o, self.names = rig, equations, observations, names
        self.given, self.layout, self.noise = given, layout, noise
        self._widths = np.array([c.image_size[0] for c in rig.cameras.values()], float)
        self._views = len(rig.cameras)

    def solve(
        self,
        start: State,
        find_outliers: bool = True,
        used: np.ndarray | None = None,
        trusted: np.ndarray | None = None,
    ) -> Solution:
        """Adjust from `start`, from the points `used` (M,) and the readings `trusted` (P,) alone (default: all).

        With find_outliers, outliers are left out one by one and named; CalibrationError where too many are.
        """
        used = np.ones(len(self.o), bool) if used is None else used.copy()
        trusted = np.ones(len(self.names), bool) if trusted is None else trusted.copy()
        outliers: list[Outlier] = []
        run = _Run(self, start, used, trusted)
        run.settle(robust=find_outliers)
        while find_outliers:
            worst = self._worst_group(run) or self._worst_pose(run)
            if worst is None:
                break
            outlier, drop = worst
            outliers.append(outlier)
            used &= ~drop
            if outlier.kind == "arm":
                trusted[self.names.index(outlier.pose)] = False
            if len(outliers) > _MAX_DROPPED * len(self.names):
                raise CalibrationError(
                    f"{len(outliers)} of {len(self.names)} poses do not agree with the rest "
                    f"({'; '.join(o.text for o in outliers[:3])}"
                    "; ...). Check the board's printed size and name, that it did not move on its mount, that "
                    "images and joints "
                    "belong together, and the intrinsics"
                )
            run = _Run(self, run.state, used, trusted, run.pixel_sd, run.joint_sd)
            run.settle(robust=True)
        if find_outliers:
            used &= run.scaled() < _CORNER_GATE
            run = _Run(self, run.state, used, trusted, run.pixel_sd, run.joint_sd)
            run.settle(robust=False)
        return Solution(
            run.state,
            self.layout,
            run.covariance() + run.shift_covariance(self.noise.shift_sd_px),
            run.pixel_sd,
            run.joint_sd,
            used,
            run.residuals,
            trusted,
            tuple(outliers),
        )

    def without_pose(self, solution: Solution, pose: int, steps: int = 2) -> State:
        """The solution with one pose's images left out; noise as estimated with it."""
        run = _Run(
            self,
            solution.state,
            solution.used & (self.o.pose != pose),
            solution.trusted,
            solution.pixel_sd,
            solution.joint_sd_rad,
        )
        run.step_only(steps)
        return run.state

    def _worst_group(self, run: _Run) -> tuple[Outlier, np.ndarray] | None:
        """The detection whose median residual is largest, if beyond the gate."""
        scaled, worst = run.scaled(), (1.0, -1)
        for g in np.unique(self.o.group[run.used]):
            size = np.median(scaled[(self.o.group == g) & run.used]) / _VIEW_GATE
            if size > worst[0]:
                worst = (float(size), int(g))
        if worst[1] < 0:
            return None
        mine = self.o.group == worst[1]
        i = int(np.argmax(mine))
        view, board = list(self.rig.cameras)[self.o.view[i]], list(self.rig.boards)[self.o.board[i]]
        return Outlier(self.names[self.o.pose[i]], view, board, "image", worst[0]), mine

    def _worst_pose(self, run: _Run) -> tuple[Outlier, np.ndarray] | None:
        """The pose whose joint errors are least credible under the estimated scatter, if beyond the gate."""
        worst = (1.0, -1)
        for p in np.flatnonzero(run.trusted & (np.bincount(self.o.pose[run.used], minlength=len(self.names)) > 0)):
            d2, freedom = run.surprise(int(p))
            size = np.sqrt(d2 / chi2.ppf(1 - _POSE_GATE_P / len(self.names), freedom)) if freedom else 0.0
            if size > worst[0]:
                worst = (float(size), int(p))
        if worst[1] < 0:
            return None
        return Outlier(self.names[worst[1]], "", "", "arm", worst[0]), self.o.pose == worst[1]


class _Run:
    """Iterations of one adjustment with a fixed choice of points and poses."""

    def __init__(
        self,
        bundle: Bundle,
        start: State,
        used: np.ndarray,
        trusted: np.ndarray,
        pixel_sd: np.ndarray | None = None,
        joint_sd: float | None = None,
    ):
        self._b, self.state, self.used, self.trusted = bundle, start, used.copy(), trusted.copy()
        self._seen = bundle.o.where(used)
        self.joint_sd = np.deg2rad(bundle.noise.joint_sd_deg) if joint_sd is None else joint_sd
        self.residuals = bundle.equations.residuals(start, bundle.o)
        self.pixel_sd = self._first_guess() if pixel_sd is None else pixel_sd.copy()
        self._weights, self._trust = np.ones(len(self._seen)), np.ones(len(trusted))
        self._inverse = np.zeros((0, 0))

    def _first_guess(self) -> np.ndarray:
        """Pixel scatter (V,) that the start's residuals suggest; generous, it shrinks as the fit improves."""
        size = np.linalg.norm(self.residuals, axis=1)
        return np.array(
            [
                np.clip(
                    np.median(size[self.used & (self._b.o.view == v)])
                    if np.any(self.used & (self._b.o.view == v))
                    else 1.0,
                    0.1,
                    50.0,
                )
                for v in range(self._b._views)
            ]
        )

    def scaled(self) -> np.ndarray:
        """Length (M,) of every residual in standard deviations; of what does not move, constant errors too."""
        still = np.where(self._b.o.share < 1, _STILL_SD, 1.0)
        return np.linalg.norm(self.residuals, axis=1) / (still * self.pixel_sd[self._b.o.view])

    def covariance(self) -> np.ndarray:
        return self._inverse

    def shift_covariance(self, shift_sd_px: float) -> np.ndarray:
        """Of the solution, because each view's picture may be shifted as a whole: no number of points averages it."""
        if self._b.layout.has(self._b.layout.lenses):
            return np.zeros_like(self._inverse)
        o, w = self._seen, self._weights / self.pixel_sd[self._seen.view] ** 2
        shifts = np.zeros((2 * len(o), 2 * self._b._views))
        shifts[np.arange(2 * len(o)), np.repeat(2 * o.view, 2) + np.tile([0, 1], len(o))] = np.repeat(w, 2)
        moved = shift_sd_px * self._inverse @ (self._jacobian.T @ shifts)
        return moved @ moved.T

    def surprise(self, pose: int) -> tuple[float, int]:
        """Squared Mahalanobis distance, and its degrees of freedom, of the joint errors that the images alone ask of
        a pose."""
        block, prior = self._b.layout.reading(pose), self._trust[pose] / self.joint_sd**2
        information, axes = np.linalg.eigh(np.linalg.inv(self._inverse[block, block]) - prior * np.eye(7))
        seen = information * self.joint_sd**2 > _OBSERVED
        information = information[seen]
        asked = (information + prior) / information * (axes.T @ self.state.joints[pose])[seen]
        return float((asked**2 / (self.joint_sd**2 + 1 / information)).sum()), int(seen.sum())

    def settle(self, robust: bool) -> None:
        """Weights, step and noise in turn until all stand still."""
        damping = 1e-6
        for _ in range(_MAX_ROUNDS):
            self._weigh(robust)
            damping, moved = self._step(damping)
            before = np.append(self.pixel_sd, self.joint_sd)
            self._estimate_noise()
            change = np.abs(np.append(self.pixel_sd, self.joint_sd) / before - 1).max()
            if change < _SETTLED and moved < 0.02:
                break

    def step_only(self, steps: int) -> None:
        """Gauss-Newton steps with unit weights and the noise as it is."""
        self._weigh(False)
        for _ in range(steps):
            H, g = self._system()
            self.state = self._b.layout.move(self.state, -self._solve(H, g))

    def _weigh(self, robust: bool) -> None:
        """Student's t weights of points, and of the readings of poses (7 at a time)."""
        share = self._seen.share
        if not robust:
            self._weights, self._trust = share, self.trusted.astype(float)
            return
        d2 = self.scaled()[self.used] ** 2
        self._weights = share * (_FREEDOM + 2) / (_FREEDOM + d2)
        p2 = (self.state.joints**2).sum(1) / self.joint_sd**2
        self._trust = self.trusted * (_FREEDOM + 7) / (_FREEDOM + p2)

    def _system(self) -> tuple[np.ndarray, np.ndarray]:
        lin = self._b.equations.linearise(self.state, self._seen)
        J = self._b.layout.jacobian(self._seen, lin)
        w = np.repeat(self._weights / self.pixel_sd[self._seen.view] ** 2, 2)
        precision, deviation = self._prior(self.state)
        H = (J.T @ J.multiply(w[:, None])).toarray()
        self._jacobian = J
        H[np.diag_indices_from(H)] += precision
        return H, J.T @ (w * lin.residuals.ravel()) + precision * deviation

    def _prior(self, state: State) -> tuple[np.ndarray, np.ndarray]:
        floor = np.where(self.trusted, self._trust, 1e-6)
        return self._b.layout.prior(state, self._b.given, self._b.noise, self.joint_sd, floor, self._b._widths)

    def _cost(self, state: State) -> float:
        r = self._b.equations.residuals(state, self._seen)
        w = self._weights / self.pixel_sd[self._seen.view] ** 2
        precision, deviation = self._prior(state)
        return float((w * (r**2).sum(1)).sum() + (precision * deviation**2).sum())

    def _step(self, damping: float) -> tuple[float, float]:
        """One Levenberg-Marquardt step; returns the next damping and the step's length in standard deviations."""
        H, g = self._system()
        cost = self._cost(self.state)
        scale = np.diag(H).copy()
        for _ in range(12):
            damped = H.copy()
            damped[np.diag_indices_from(H)] += damping * scale
            step = -self._solve(damped, g)
            new = self._b.layout.move(self.state, step)
            if self._cost(new) <= cost * (1 + 1e-9):
                self.state = new
                damping = max(damping / 10, 1e-9)
                break
            damping = max(damping * 10, 1e-6)
        self._inverse = self._inverted(H)
        self.residuals = self._b.equations.residuals(self.state, self._b.o)
        sd = np.sqrt(np.diag(self._inverse))
        head = self._b.layout.joints.start
        return damping, float(np.abs(step[:head] / sd[:head]).max())

    @staticmethod
    def _solve(H: np.ndarray, g: np.ndarray) -> np.ndarray:
        try:
            return scipy.linalg.cho_solve(scipy.linalg.cho_factor(H), g)
        except np.linalg.LinAlgError:
            raise CalibrationError(
                "the poses do not determine all cameras and boards; add poses that turn the hand about two "
                "different axes, with every board seen by a camera that sees others"
            ) from None

    def _inverted(self, H: np.ndarray) -> np.ndarray:
        scale = 1 / np.sqrt(np.diag(H))
        return self._solve(H * scale[:, None] * scale, np.eye(len(H))) * scale[:, None] * scale

    def _estimate_noise(self) -> None:
        """Variance components: weighted squares over what is left of their number after fitting."""
        views, layout = self._seen.view, self._b.layout
        J, r2 = self._jacobian, (self.residuals[self.used] ** 2).sum(1)
        w = self._weights / self.pixel_sd[views] ** 2
        leverage = np.einsum("ij,ij->i", J @ self._inverse, J.toarray()).reshape(-1, 2).sum(1)
        for v in range(self._b._views):
            mine = views == v
            left = (2 * self._seen.share[mine] - w[mine] * leverage[mine]).sum()
            if left > 2:
                self.pixel_sd[v] = max(np.sqrt((self._weights[mine] * r2[mine]).sum() / left), _LEAST_PIXEL_SD)
        trust = np.repeat(self._trust, 7)
        diagonal = np.diag(self._inverse)[layout.joints]
        counted = np.repeat(self.trusted, 7)
        left = (1 - trust * diagonal / self.joint_sd**2)[counted].sum()
        squares = (trust * self.state.joints.ravel() ** 2)[counted].sum()
        believed, weight = np.deg2rad(self._b.noise.joint_sd_deg), self._b.noise.joint_weight
        self.joint_sd = float(np.sqrt((squares + weight * believed**2) / (left + weight)))

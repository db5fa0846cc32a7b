"""Noticing without a board that a fixed camera was knocked: the arm's outline is no longer where it must be.

Outlines of many arm poses within a sliding window are fitted together by one displacement of the camera.
What the first window finds is the reference (meshes differ from the real arm by some constant amount);
later windows are compared with it. The covariance is taken over frames, so errors that a frame's points
share count once.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import Enum

import numpy as np
from scipy.stats import chi2

from ..errors import CalibrationError
from ..geometry import PinholeCamera
from ..geometry.se3 import hat
from .robot_model import RobotModel
from .silhouette import EdgeMatches, match_edges, outline

_PRIOR_SD = np.array([0.1, 0.1, 0.1, 0.15, 0.15, 0.15])
_ROUNDS = 8
_SHIFTS = 4
_GOOD_PX = 1.5


@dataclass(frozen=True)
class DriftConfig:
    """window_s: outlines of this long are fitted together; least_frames: fewer say nothing. new_pose_rad: a frame
    counts
    only when some joint moved this far since the last one that counted. reach_px: how far edges are looked for.
    knock_mm, knock_deg: from which displacement of the camera an alarm is due; certainty: one in this many tests may
    pass by chance; repeats: tests in a row that must agree. floor_mm, floor_deg: errors that averaging does not
    remove. lost_share: of points with an edge in place, against the reference, below which the camera moved too far
    to measure."""

    window_s: float = 20.0
    least_frames: int = 10
    new_pose_rad: float = 0.04
    reach_px: float = 14.0
    knock_mm: float = 5.0
    knock_deg: float = 0.5
    certainty: float = 1e7
    repeats: int = 3
    floor_mm: float = 0.8
    floor_deg: float = 0.05
    lost_share: float = 0.5
    max_speed_rad_s: float = 1.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not value > 0:
                raise CalibrationError(f"drift {name} is {value}; legal: more than 0")


class DriftStatus(Enum):
    """LEARNING: collecting the reference. BLIND: too few outlines in the window. STEADY: in place. MOVED: knocked."""

    LEARNING = "learning"
    BLIND = "blind"
    STEADY = "steady"
    MOVED = "moved"


@dataclass(frozen=True, eq=False)
class DriftState:
    """displacement (6,): translation (m) and rotation vector (rad) of the camera since the reference, base frame,
    with its covariance (6, 6). text: for the operator."""

    status: DriftStatus
    displacement: np.ndarray
    covariance: np.ndarray
    text: str

    @property
    def translation_mm(self) -> float:
        return 1e3 * float(np.linalg.norm(self.displacement[:3]))

    @property
    def rotation_deg(self) -> float:
        return float(np.rad2deg(np.linalg.norm(self.displacement[3:])))


@dataclass(frozen=True, eq=False)
class _Fit:
    step: np.ndarray
    covariance: np.ndarray
    share: float
    points: int


class DriftMonitor:
    """Watches one fixed camera. Feed it frames of normal operation, a few a second; it judges about once a second."""

    def __init__(
        self,
        view: str,
        camera: PinholeCamera,
        robot: RobotModel,
        workspace_m: np.ndarray,
        config: DriftConfig = DriftConfig(),
    ):
        self._view, self._camera, self._robot, self._config = view, camera, robot, config
        self._workspace = np.asarray(workspace_m, float)
        self._frames: deque[tuple[int, EdgeMatches]] = deque()
        self._last_q: np.ndarray | None = None
        self._reference: _Fit | None = None
        self._agreeing = 0
        self._before = np.zeros(6)

    def add(self, image: np.ndarray, q: np.ndarray, stamp_ns: int, dq: np.ndarray | None = None) -> DriftState | None:
        """One picture, uint8 (H, W, 3) or (H, W), and the joints at its exposure. None where it adds nothing: the
        arm has hardly moved since the last that did, or moves too fast."""
        c, q = self._config, np.asarray(q, float)
        fast = dq is not None and np.abs(dq).max() > c.max_speed_rad_s
        if fast or (self._last_q is not None and np.abs(q - self._last_q).max() < c.new_pose_rad):
            return None
        self._last_q = q
        matches = match_edges(image, outline(self._robot, q, self._camera), self._camera, c.reach_px)
        self._frames.append((stamp_ns, matches))
        while stamp_ns - self._frames[0][0] > 1e9 * c.window_s:
            self._frames.popleft()
        return self._judge(stamp_ns)

    def _judge(self, stamp_ns: int) -> DriftState:
        nothing = np.zeros(6), np.diag(_PRIOR_SD**2)
        if sum(len(m) > 0 for _, m in self._frames) < self._config.least_frames:
            status = DriftStatus.LEARNING if self._reference is None else DriftStatus.BLIND
            return DriftState(
                status, *nothing, f"{self._view}: too few arm outlines in the last {self._config.window_s:g} s"
            )
        fit = self._fit()
        if self._reference is None:
            if stamp_ns - self._frames[0][0] < 0.9e9 * self._config.window_s:
                return DriftState(DriftStatus.LEARNING, *nothing, f"{self._view}: learning the outline")
            self._reference = fit
            return DriftState(
                DriftStatus.STEADY,
                *nothing,
                f"{self._view}: outline learnt, {self._size(fit.step)} from the calibration",
            )
        return self._compare(fit)

    def _compare(self, fit: _Fit) -> DriftState:
        c, reference = self._config, self._reference
        assert reference is not None, "learnt before anything is compared"
        moved = fit.step - reference.step
        floor = np.repeat([1e-3 * c.floor_mm, np.deg2rad(c.floor_deg)], 3) ** 2
        C = fit.covariance + reference.covariance + np.diag(floor)
        sure = moved @ np.linalg.solve(C, moved) > chi2.isf(1 / c.certainty, 6)
        lost = fit.share < c.lost_share * reference.share
        large = (
            max(
                np.linalg.norm(moved[:3]) / (0.6e-3 * c.knock_mm),
                np.linalg.norm(moved[3:]) / np.deg2rad(0.6 * c.knock_deg),
                np.linalg.norm(self.at_workspace(moved)) / (0.6e-3 * c.knock_mm),
            )
            > 1
        )
        self._agreeing = self._agreeing + 1 if lost or (sure and large) else 0
        if self._agreeing < c.repeats:
            return DriftState(DriftStatus.STEADY, moved, C, f"{self._view}: in place, within {self._size(moved)}")
        how = "further than can be measured" if lost else f"by {self._size(moved)}"
        return DriftState(
            DriftStatus.MOVED, moved, C, f"{self._view}: the camera moved {how}; fix it and calibrate again"
        )

    def at_workspace(self, moved: np.ndarray) -> np.ndarray:
        """Displacement (3,) m at the workspace of what this camera sees there."""
        return moved[:3] - hat(self._workspace - self._camera.centre) @ moved[3:]

    def _size(self, moved: np.ndarray) -> str:
        return (
            f"{1e3 * np.linalg.norm(moved[:3]):.1f} mm and {np.rad2deg(np.linalg.norm(moved[3:])):.2f} deg "
            f"({1e3 * np.linalg.norm(self.at_workspace(moved)):.1f} mm at the workspace)"
        )

    def _fit(self) -> _Fit:
        """The best of the fits from where the camera was, from no displacement, and from the best shift of the
        picture."""
        kept = [m for _, m in self._frames if len(m)]
        A, S = np.concatenate([m.rows for m in kept]), np.concatenate([m.offsets for m in kept])
        frame = np.repeat(np.arange(len(kept)), [len(m) for m in kept])
        usable = np.isfinite(S).any(1)
        total = len(A)
        A, S, frame = A[usable], S[usable], frame[usable]
        fits = [_robust(A, S, start) for start in (np.zeros(6), self._before, self._voted(A, S))]
        step, weight, left = max(fits, key=lambda f: (np.abs(f[2]) < _GOOD_PX).sum())
        self._before = step
        g = np.zeros((len(kept), 6))
        np.add.at(g, frame, (weight * left)[:, None] * A)
        H = (A * weight[:, None]).T @ A + np.diag(1 / _PRIOR_SD**2)
        spread = g.T @ g * len(kept) / max(len(kept) - 1, 1)
        inverse = np.linalg.inv(H)
        return _Fit(step, inverse @ spread @ inverse, float((np.abs(left) < _GOOD_PX).sum() / total), total)

    def _voted(self, A: np.ndarray, S: np.ndarray) -> np.ndarray:
        """The turn of the camera that brings most edges into place, over a grid of turns up to the reach."""
        reach, f = self._config.reach_px, self._camera.K[0, 0]
        pick = np.linspace(0, len(A) - 1, min(len(A), 600)).astype(int)
        R = self._camera.base_T_camera[:3, :3]
        turns = np.linspace(-reach, reach, 2 * _SHIFTS + 1) / f
        best, most = np.zeros(6), -1.0
        for x in turns:
            for y in turns:
                step = np.concatenate([np.zeros(3), R @ [x, y, 0.0]])
                off = np.nanmin(np.abs(S[pick] - (A[pick] @ step)[:, None]), axis=1)
                score = np.exp(-0.5 * (off / 2.0) ** 2).sum()
                if score > most:
                    best, most = step, score
        return best


def _robust(A: np.ndarray, S: np.ndarray, start: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Displacement (6,), weights (N,) and residuals (N,) px: nearest edges by Tukey's biweight, its width shrinking."""
    step, prior = start, np.diag(1 / _PRIOR_SD**2)
    for k in range(_ROUNDS):
        width = max(6.0 * 0.7**k, 2.0)
        nearest, left = _nearest(A, S, step)
        weight = np.where(np.abs(left) < width, (1 - (left / width) ** 2) ** 2, 0.0)
        step = np.linalg.solve((A * weight[:, None]).T @ A + prior, A.T @ (weight * nearest))
    nearest, left = _nearest(A, S, step)
    return step, np.where(np.abs(left) < 2.0, (1 - (left / 2.0) ** 2) ** 2, 0.0), left


def _nearest(A: np.ndarray, S: np.ndarray, step: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    put = A @ step
    which = np.nanargmin(np.abs(S - put[:, None]), axis=1)
    nearest = S[np.arange(len(S)), which]
    return nearest, nearest - put

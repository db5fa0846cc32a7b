"""From samples to a result: refuse, adjust, correct what the data determine, measure the quality."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from scipy.stats import chi2

from ..errors import CalibrationError
from ..geometry.se3 import hat
from .bundle import Bundle, Solution
from .initial import start_values
from .leave_out import HeldOut, leave_one_out
from .lenses import check_lenses
from .quality import Demands, refusals
from .residuals import Equations, Observations, State, start_state
from .result import ArmCorrection, BoardResult, CalibrationResult, PoseRms, SeenPoints, ViewResult
from .rig import ArmModel, CameraMount, Rig, Sample, require_known
from .unknowns import Correction, Intrinsics, Layout, Noise, given_lenses

WORKSPACE_M = (0.5, 0.0, 0.2)
_DETERMINED = 0.5
_MAX_PIXEL_SD = 2.0
_SIGNIFICANT_P = 0.01


@dataclass(frozen=True)
class Options:
    """How to calibrate. workspace_m: the point in the base frame at which errors are stated."""

    intrinsics: Intrinsics = Intrinsics.CHECKED
    joint_offsets: Correction = Correction.OFF
    stamp_offset: Correction = Correction.OFF
    noise: Noise = field(default_factory=Noise)
    demands: Demands = field(default_factory=Demands)
    workspace_m: tuple[float, float, float] = WORKSPACE_M


def calibrate(rig: Rig, samples: list[Sample], arm: ArmModel, options: Options = Options()) -> CalibrationResult:
    """All cameras and boards of the rig at once. Raises CalibrationError, saying what to add, where the samples do
    not do."""
    require_known(rig, samples)
    why = refusals(rig, samples, arm, options.intrinsics, options.demands)
    if why:
        raise CalibrationError(f"these poses do not determine the calibration: {'; '.join(why)}")
    problem = _Problem(rig, samples, arm, options)
    bundle, solution, notes = problem.solve()
    _require_plausible(rig, solution)
    held_out = leave_one_out(bundle, solution)
    checks = {view: "" for view in rig.cameras}
    if options.intrinsics is Intrinsics.CHECKED:
        checks = check_lenses(bundle, solution, problem.with_lenses(solution))
    return _result(rig, bundle, solution, held_out, checks, notes, options)


def _require_plausible(rig: Rig, solution: Solution) -> None:
    """Points that scatter by pixels are no noise: the model of that camera is wrong."""
    bad = [f"{view} by {sd:.1f} px" for view, sd in zip(rig.cameras, solution.pixel_sd) if sd > _MAX_PIXEL_SD]
    if bad:
        raise CalibrationError(
            f"board points scatter in view {', '.join(bad)}, where a tenth is usual: the intrinsics are not those of "
            "this camera and image size, or the board is not the one that was named; mend that, or re-estimate the "
            "intrinsics"
        )


def quick_solution(
    rig: Rig, samples: list[Sample], arm: ArmModel, options: Options = Options()
) -> tuple[Bundle, Solution]:
    """The adjustment alone, without refusals, corrections or leave-one-out: for a live estimate."""
    problem = _Problem(rig, samples, arm, options)
    bundle = problem.bundle(False, False, options.intrinsics is Intrinsics.ESTIMATED)
    return bundle, bundle.solve(problem.start)


class _Problem:
    def __init__(self, rig: Rig, samples: list[Sample], arm: ArmModel, options: Options):
        self.rig, self.options = rig, options
        self.names = [s.name for s in samples]
        if len(set(self.names)) != len(self.names):
            raise CalibrationError("two poses have one name; name each differently")
        self.equations, self.o = Equations(rig, samples, arm), Observations.gather(rig, samples)
        found = start_values(rig, samples, arm)
        self.start = start_state(
            np.array([found.cameras[v] for v in rig.cameras]),
            np.array([found.boards[b] for b in rig.boards]),
            given_lenses(rig),
            len(samples),
        )

    def bundle(self, offsets: bool, delay: bool, lenses: bool) -> Bundle:
        layout = Layout(self.rig, len(self.names), lenses, offsets, delay)
        return Bundle(self.rig, self.equations, self.o, self.names, self.start, layout, self.options.noise)

    def solve(self) -> tuple[Bundle, Solution, list[str]]:
        """With the corrections that are asked for; those that the data do not determine are taken out again."""
        wanted = {
            "joint offsets": self.options.joint_offsets is Correction.IF_DETERMINED,
            "stamp offset": self.options.stamp_offset is Correction.IF_DETERMINED,
        }
        lenses = self.options.intrinsics is Intrinsics.ESTIMATED
        notes: list[str] = []
        while True:
            bundle = self.bundle(wanted["joint offsets"], wanted["stamp offset"], lenses)
            solution = bundle.solve(self.start)
            dropped = self._undetermined(solution, notes)
            if not dropped:
                return bundle, solution, notes
            wanted[dropped] = False

    def _undetermined(self, solution: Solution, notes: list[str]) -> str:
        """The first correction that is not worth keeping, or ""; says why in `notes`."""
        layout, noise = solution.layout, self.options.noise
        asked = [
            (
                "joint offsets",
                layout.offsets,
                np.deg2rad(noise.offset_sd_deg),
                solution.state.offsets[layout.OFFSET_JOINTS],
            ),
            ("stamp offset", layout.delay, noise.delay_sd_s, np.array([solution.state.delay_s])),
        ]
        for name, block, prior_sd, value in asked:
            if not layout.has(block):
                continue
            C = solution.covariance[block, block]
            if np.sqrt(np.diag(C)).max() > _DETERMINED * prior_sd:
                more = (
                    "add poses that differ more in every joint"
                    if block is layout.offsets
                    else "add samples taken while the arm moves"
                )
                notes.append(f"{name} left out: the data do not determine them; {more}")
                return name
            if value @ np.linalg.solve(C, value) < chi2.ppf(1 - _SIGNIFICANT_P, len(value)):
                notes.append(f"{name} left out: not different from zero within their uncertainty")
                return name
        return ""

    def with_lenses(self, solution: Solution) -> Solution:
        """The same data with intrinsics free, from the solution, without looking for outliers again."""
        bundle = self.bundle(False, False, True)
        return bundle.solve(solution.state, find_outliers=False, used=solution.used, trusted=solution.trusted)


def _result(
    rig: Rig,
    bundle: Bundle,
    solution: Solution,
    held_out: list[HeldOut],
    checks: dict[str, str],
    notes: list[str],
    options: Options,
) -> CalibrationResult:
    views = {
        view: _view(rig, view, i, bundle, solution, held_out, checks[view], options)
        for i, view in enumerate(rig.cameras)
    }
    boards = {}
    for i, (name, b) in enumerate(rig.boards.items()):
        C = solution.covariance[solution.layout.board(i), solution.layout.board(i)]
        boards[name] = BoardResult(
            b.mount,
            b.board,
            solution.state.boards[i],
            C[:6, :6],
            float(solution.state.scales[i]),
            float(np.sqrt(C[6, 6])),
        )
    state, layout = solution.state, solution.layout
    offset_sd, delay_sd = np.zeros(7), 0.0
    if layout.has(layout.offsets):
        offset_sd[layout.OFFSET_JOINTS] = np.sqrt(np.diag(solution.covariance)[layout.offsets])
    if layout.has(layout.delay):
        delay_sd = float(np.sqrt(solution.covariance[layout.delay, layout.delay][0, 0]))
    correction = ArmCorrection(
        float(np.rad2deg(solution.joint_sd_rad)),
        np.rad2deg(state.offsets),
        np.rad2deg(offset_sd),
        state.delay_s,
        delay_sd,
    )
    return CalibrationResult(
        rig.arm,
        views,
        boards,
        correction,
        tuple(_pose_rms(rig, bundle, solution)),
        tuple(held_out),
        solution.outliers,
        tuple(notes),
        len(bundle.names),
        options.workspace_m,
        solution.camera_covariance,
        _seen(rig, bundle, solution),
    )


def _view(
    rig: Rig,
    view: str,
    i: int,
    bundle: Bundle,
    solution: Solution,
    held_out: list[HeldOut],
    check: str,
    options: Options,
) -> ViewResult:
    camera, o = rig.cameras[view], bundle.o
    mine = solution.used & (o.view == i)
    lens = solution.state.lenses[i]
    K = np.array([[lens[0], 0, lens[2]], [0, lens[1], lens[3]], [0, 0, 1.0]])
    K[0, 1] = camera.K[0, 1]
    block = solution.layout.camera(i)
    C = solution.covariance[block, block]
    middle = _workspace_in_parent(rig, view, solution.state, i, bundle, options)
    lever = np.concatenate([np.eye(3), -hat(middle - solution.state.cameras[i][:3, 3])], 1)
    errors = [(h.position_mm, h.rotation_deg) for h in held_out if h.view == view]
    mm, deg = np.array(errors).T if errors else (np.zeros(0), np.zeros(0))
    return ViewResult(
        mount=camera.mount,
        camera=replace(camera, K=K, distortion=np.append(lens[4:], camera.coefficients[5:])),
        parent_T_camera=solution.state.cameras[i],
        covariance=C,
        pixel_sd=float(solution.pixel_sd[i]),
        reproj_rms_px=_rms(solution.residuals[mine]),
        poses=len(np.unique(o.pose[mine])),
        points=int(mine.sum()),
        held_out_mm=(_middle(mm), float(mm.max(initial=0.0))),
        held_out_deg=(_middle(deg), float(deg.max(initial=0.0))),
        workspace_sd_mm=1e3 * float(np.sqrt(np.linalg.eigvalsh(lever @ C @ lever.T).max())),
        rotation_sd_deg=float(np.rad2deg(np.sqrt(np.linalg.eigvalsh(C[3:, 3:]).max()))),
        intrinsics=check,
    )


def _workspace_in_parent(rig: Rig, view: str, state: State, i: int, bundle: Bundle, options: Options) -> np.ndarray:
    """The point (3,) at which a view's uncertainty is stated, in its parent's frame: the workspace; for a wrist camera,
    the middle of what it saw."""
    if rig.cameras[view].mount is CameraMount.EYE_TO_HAND:
        return np.array(options.workspace_m)
    depth = np.median(bundle.equations.camera_points(state, bundle.o)[bundle.o.view == i, 2])
    return state.cameras[i][:3, 3] + depth * state.cameras[i][:3, 2]


def _pose_rms(rig: Rig, bundle: Bundle, solution: Solution) -> list[PoseRms]:
    o, views = bundle.o, list(rig.cameras)
    found = []
    for p, name in enumerate(bundle.names):
        for v, view in enumerate(views):
            mine = (o.pose == p) & (o.view == v)
            if mine.any():
                found.append(
                    PoseRms(
                        name, view, int(mine.sum()), _rms(solution.residuals[mine]), bool(solution.used[mine].any())
                    )
                )
    return found


def _seen(rig: Rig, bundle: Bundle, solution: Solution) -> SeenPoints:
    o = bundle.o
    return SeenPoints(
        np.array(list(rig.cameras))[o.view], np.array(bundle.names)[o.pose], o.uv, solution.residuals, solution.used
    )


def _rms(residuals: np.ndarray) -> float:
    """Root mean square length of residual vectors (N, 2)."""
    return float(np.sqrt((residuals**2).sum(1).mean())) if len(residuals) else 0.0


def _middle(values: np.ndarray) -> float:
    return float(np.median(values)) if len(values) else 0.0

"""A calibration in progress: samples come in one by one, and after each the operator sees what they are worth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from ..cell import WorkspaceBox
from ..errors import CalibrationError
from ..geometry.se3 import hat
from .bundle import Bundle, Solution
from .calibrate import Options, calibrate, quick_solution
from .proposals import Proposal, ProposalConfig, Proposer
from .quality import Coverage, coverage, refusals, similar_to
from .result import CalibrationResult
from .rig import ArmModel, CameraMount, Rig, Sample, require_known

_STILL_RAD_S = 0.01
_LEAST_FOR_ESTIMATE = 5


@dataclass(frozen=True)
class Taken:
    """Whether a sample was kept, and why not. sees: views with board points in it."""

    accepted: bool
    reason: str
    sees: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Estimate:
    """Where the calibration stands. cameras: parent_T_camera by view. workspace_sd_mm, rotation_sd_deg: by view.
    outliers: texts naming poses that do not fit."""

    cameras: dict[str, np.ndarray]
    reproj_px: dict[str, float]
    workspace_sd_mm: dict[str, float]
    rotation_sd_deg: dict[str, float]
    outliers: tuple[str, ...]


@dataclass
class CalibrationSession:
    """Add samples until `refusals` is empty and the estimate is good enough, then `finish`.

    box: where the arm may go for proposals. clear: see Proposer. Not thread-safe. Nothing here moves the arm.
    """

    rig: Rig
    arm: ArmModel
    box: WorkspaceBox
    options: Options = field(default_factory=Options)
    proposal_config: ProposalConfig = field(default_factory=ProposalConfig)
    clear: Callable[[np.ndarray], np.ndarray] | None = None
    samples: list[Sample] = field(default_factory=list, init=False)
    _vain: list[np.ndarray] = field(default_factory=list, init=False, repr=False)
    _solved: tuple[int, Bundle, Solution] | None = field(default=None, init=False, repr=False)

    def add(self, sample: Sample) -> Taken:
        """Keep a sample, unless it tells nothing new, shows no board, or the arm moves (where no stamp offset is
        sought)."""
        require_known(self.rig, [sample])
        sees = tuple(view for view in self.rig.cameras if sample.points(view))
        reason = self._objection(sample, sees)
        if not reason:
            self.samples.append(sample)
            self._solved = None
        else:
            self._vain.append(sample.q)
        return Taken(not reason, reason, sees)

    def _objection(self, sample: Sample, sees: tuple[str, ...]) -> str:
        if any(s.name == sample.name for s in self.samples):
            return f"there is a pose {sample.name} already; give it another name"
        if not sees:
            return "no view sees a board; check light, focus and that the board's name is what was printed"
        if np.abs(sample.dq).max() > _STILL_RAD_S and not self.options.stamp_offset.value == "if_determined":
            return (
                f"joint {int(np.abs(sample.dq).argmax()) + 1} moves at {np.abs(sample.dq).max():.3f} rad/s; "
                "hold the arm still "
                f"(below {_STILL_RAD_S} rad/s), or let the stamp offset be estimated"
            )
        if self.samples:
            tcp = self.arm.fk(np.array([s.q for s in self.samples]))
            same = similar_to(self.arm.fk(sample.q), tcp, self.options.demands)
            twin = next((s for s, like in zip(self.samples, same) if like and set(sees) <= set(s.detections)), None)
            if twin is not None:
                return (
                    f"nearly the same as pose {twin.name}; move by {self.options.demands.similar_m * 100:.0f} "
                    "cm or turn by "
                    f"{self.options.demands.similar_deg:.0f} deg at least"
                )
        return ""

    def remove(self, name: str) -> None:
        """Forget a pose. Raises CalibrationError where there is none of that name."""
        if not any(s.name == name for s in self.samples):
            raise CalibrationError(
                f"there is no pose {name!r}; there are: {', '.join(s.name for s in self.samples) or 'none'}"
            )
        self.samples = [s for s in self.samples if s.name != name]
        self._solved = None

    def coverage(self) -> dict[str, Coverage]:
        return {
            view: coverage(self.rig, self.samples, self.arm, view, self.options.demands) for view in self.rig.cameras
        }

    def refusals(self) -> list[str]:
        """What is missing before `finish` will calibrate; each says what to add."""
        return refusals(self.rig, self.samples, self.arm, self.options.intrinsics, self.options.demands)

    def estimate(self) -> Estimate | None:
        """The calibration from the samples so far, or None while they do not determine all of it. About half a
        second."""
        solved = self._solution()
        if solved is None:
            return None
        bundle, solution = solved
        cameras, px, mm, deg = {}, {}, {}, {}
        for i, (view, camera) in enumerate(self.rig.cameras.items()):
            T, C = solution.state.cameras[i], solution.covariance[solution.layout.camera(i), solution.layout.camera(i)]
            wrist = camera.mount is CameraMount.EYE_IN_HAND
            lever = 0.5 * T[:3, 2] if wrist else np.array(self.options.workspace_m) - T[:3, 3]
            L = np.concatenate([np.eye(3), -hat(lever)], 1)
            cameras[view], px[view] = T, float(solution.pixel_sd[i])
            mm[view] = 1e3 * float(np.sqrt(np.linalg.eigvalsh(L @ C @ L.T).max()))
            deg[view] = float(np.rad2deg(np.sqrt(np.linalg.eigvalsh(C[3:, 3:]).max())))
        return Estimate(cameras, px, mm, deg, tuple(o.text for o in solution.outliers))

    def _solution(self) -> tuple[Bundle, Solution] | None:
        if len(self.samples) < _LEAST_FOR_ESTIMATE:
            return None
        if self._solved is None or self._solved[0] != len(self.samples):
            try:
                self._solved = (len(self.samples), *quick_solution(self.rig, self.samples, self.arm, self.options))
            except CalibrationError:
                return None
        return self._solved[1:]

    def propose(self, q_now: np.ndarray, rng: np.random.Generator) -> Proposal:
        """The next pose to take, from where the arm is now. Raises CalibrationError where none is safe."""
        proposer = Proposer(self.rig, self.arm, self.box, self.proposal_config, self.clear)
        solved = self._solution()
        if solved is None:
            good = np.array([s.q for s in self.samples]).reshape(-1, 7)
            return proposer.explore(q_now, good, rng, np.array(self._vain).reshape(-1, 7))
        short = [v for v, c in self.coverage().items() if c.distinct < self.options.demands.poses]
        return proposer.refine(*solved, q_now, self.samples, rng, np.array(self.options.workspace_m), short)

    def finish(self) -> CalibrationResult:
        """The calibration with its evidence. Raises CalibrationError with all `refusals`."""
        return calibrate(self.rig, self.samples, self.arm, self.options)

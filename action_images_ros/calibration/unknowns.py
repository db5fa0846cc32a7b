"""Which unknowns are solved for, where each stands in the vector, and what is known of each beforehand."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np
import scipy.sparse as sp

from ..errors import CalibrationError
from .residuals import BOARD, INTRINSICS, Equations, Linearised, Observations, State
from .rig import Rig


class Intrinsics(Enum):
    """FIXED: as given. CHECKED: as given, and compared with what the images say. ESTIMATED: re-estimated."""

    FIXED = "fixed"
    CHECKED = "checked"
    ESTIMATED = "estimated"


class Correction(Enum):
    """Whether a correction of the arm's readings is left out, or made where the data determine it."""

    OFF = "off"
    IF_DETERMINED = "if_determined"


@dataclass(frozen=True)
class Noise:
    """What the measurements are believed to be before they are seen.

    joint_sd_deg: scatter of each joint of each pose; it is re-estimated from the data and this counts as
    `joint_weight` joint angles' worth of evidence. scale_sd: share by which a printed board's size may be off (5e-4:
    measured with a calliper, 0.1 mm in 200). offset_sd_deg, delay_sd_s: of the corrections. focal_sd,
    centre_sd: share of focal length and image width; lens_sd: distortion coefficients. shift_sd_px: by which all points
    of a view are off together (what the lens's centre and the detector keep as an error), where the lens is given.
    """

    joint_sd_deg: float = 0.05
    joint_weight: float = 30.0
    scale_sd: float = 5e-4
    offset_sd_deg: float = 0.5
    delay_sd_s: float = 0.05
    focal_sd: float = 0.03
    centre_sd: float = 0.02
    lens_sd: float = 0.3
    shift_sd_px: float = 0.02

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not value > 0:
                raise CalibrationError(f"{name} is {value}; legal: more than 0")


class Layout:
    """Slices of the vector of unknowns: cameras, boards, then lenses, offsets and delay where solved for, then the
    joints of every pose. The first joint's offset turns the whole cell about the base and the last joint's turns
    what the gripper carries: no camera can see them, so joints 2 to 6 are the ones that can be corrected."""

    OFFSET_JOINTS = slice(1, 6)

    def __init__(self, rig: Rig, poses: int, lenses: bool, offsets: bool, delay: bool):
        self.views, self.boards, self.poses = len(rig.cameras), len(rig.boards), poses
        sizes = [
            6 * self.views,
            BOARD * self.boards,
            INTRINSICS * self.views * lenses,
            5 * offsets,
            int(delay),
            7 * poses,
        ]
        ends = np.cumsum(sizes)
        self.cameras, self.board_poses, self.lenses, self.offsets, self.delay, self.joints = (
            slice(int(e - s), int(e)) for s, e in zip(sizes, ends)
        )
        self.size = int(ends[-1])

    def camera(self, view: int) -> slice:
        return slice(6 * view, 6 * view + 6)

    def board(self, board: int) -> slice:
        return slice(self.board_poses.start + BOARD * board, self.board_poses.start + BOARD * board + BOARD)

    def reading(self, pose: int) -> slice:
        return slice(self.joints.start + 7 * pose, self.joints.start + 7 * pose + 7)

    def has(self, block: slice) -> bool:
        return block.stop > block.start

    def jacobian(self, o: Observations, lin: Linearised) -> sp.csr_matrix:
        """(2 M, size), rows u and v of each point in turn."""
        blocks = [
            (self.cameras.start + 6 * o.view, lin.camera),
            (self.board_poses.start + BOARD * o.board, lin.board),
            (self.joints.start + 7 * o.pose, lin.joints),
        ]
        if self.has(self.lenses):
            blocks.append((self.lenses.start + INTRINSICS * o.view, lin.lens))
        if self.has(self.offsets):
            blocks.append((np.full(len(o), self.offsets.start), lin.joints[..., self.OFFSET_JOINTS]))
        if self.has(self.delay):
            blocks.append((np.full(len(o), self.delay.start), lin.delay[..., None]))
        columns = np.concatenate([start[:, None] + np.arange(d.shape[2]) for start, d in blocks], 1)
        values = np.concatenate([d for _, d in blocks], 2)
        width = columns.shape[1]
        columns = np.repeat(columns[:, None], 2, 1)
        pointer = np.arange(2 * len(o) + 1) * width
        return sp.csr_matrix((values.ravel(), columns.ravel(), pointer), shape=(2 * len(o), self.size))

    def move(self, state: State, step: np.ndarray) -> State:
        offsets = np.zeros(7)
        if self.has(self.offsets):
            offsets[self.OFFSET_JOINTS] = step[self.offsets]
        lenses = step[self.lenses].reshape(-1, INTRINSICS) if self.has(self.lenses) else np.zeros_like(state.lenses)
        return state.moved(
            step[self.cameras].reshape(-1, 6),
            step[self.board_poses].reshape(-1, BOARD),
            step[self.joints].reshape(-1, 7),
            offsets,
            float(step[self.delay].sum()),
            lenses,
        )

    def prior(
        self, state: State, given: State, noise: Noise, joint_sd_rad: float, trust: np.ndarray, widths: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Precision (size,) of each unknown before measuring and its present deviation (size,).

        trust (P,): weight of each pose's reading. widths (V,) px. Camera and board poses have none.
        """
        precision, deviation = np.zeros(self.size), np.zeros(self.size)
        precision[self.joints] = np.repeat(trust / joint_sd_rad**2, 7)
        deviation[self.joints] = state.joints.ravel()
        scales = np.arange(self.board_poses.start + BOARD - 1, self.board_poses.stop, BOARD)
        precision[scales], deviation[scales] = 1 / noise.scale_sd**2, state.scales
        if self.has(self.lenses):
            sd = np.full((self.views, INTRINSICS), noise.lens_sd)
            sd[:, :2] = noise.focal_sd * given.lenses[:, :2]
            sd[:, 2:4] = noise.centre_sd * widths[:, None]
            precision[self.lenses] = 1 / sd.ravel() ** 2
            deviation[self.lenses] = (state.lenses - given.lenses).ravel()
        if self.has(self.offsets):
            precision[self.offsets] = 1 / np.deg2rad(noise.offset_sd_deg) ** 2
            deviation[self.offsets] = state.offsets[self.OFFSET_JOINTS]
        if self.has(self.delay):
            precision[self.delay] = 1 / noise.delay_sd_s**2
            deviation[self.delay] = state.delay_s
        return precision, deviation


def given_lenses(rig: Rig) -> np.ndarray:
    """(V, 9) fx fy cx cy k1 k2 p1 p2 k3 as the rig has them."""
    return np.array([[c.K[0, 0], c.K[1, 1], c.K[0, 2], c.K[1, 2], *c.coefficients[:5]] for c in rig.cameras.values()])


__all__ = ["Correction", "Equations", "Intrinsics", "Layout", "Noise", "given_lenses"]

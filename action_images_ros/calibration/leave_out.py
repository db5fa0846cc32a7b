"""Leave-one-pose-out: where cameras calibrated without a pose see its board, against where the arm holds it.

What is compared is what the cell is used for: the place of a thing on the tool, found by the cameras, in
the base frame. The error holds the held-out pose's own joint noise too, so it is an upper bound.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..geometry.se3 import angle_between, hat, inverse, make, so3_exp
from .bundle import Bundle, Solution
from .residuals import State, project
from .rig import BoardMount, CameraMount

ALL_VIEWS = "all fixed views"
_STEPS = 8
_LEAST_POINTS = 6


@dataclass(frozen=True)
class HeldOut:
    """Error of one pose: the board as `view` (or all fixed views together) finds it, against the arm's."""

    pose: str
    view: str
    board: str
    position_mm: float
    rotation_deg: float


def leave_one_out(bundle: Bundle, solution: Solution) -> list[HeldOut]:
    """Errors of every used pose, view and board that moves against the view, and of all fixed views together."""
    found = []
    for pose in np.unique(bundle.o.pose[solution.used]):
        state = bundle.without_pose(solution, int(pose))
        found += _errors(bundle, solution, state, int(pose))
    return found


def _errors(bundle: Bundle, solution: Solution, state: State, pose: int) -> list[HeldOut]:
    rig, o, equations = bundle.rig, bundle.o, bundle.equations
    tcp = equations.arm.fk(equations.q[pose] + state.offsets + state.delay_s * equations.dq[pose])
    cameras = [
        tcp @ T if c.mount is CameraMount.EYE_IN_HAND else T for T, c in zip(state.cameras, rig.cameras.values())
    ]
    fixed = [i for i, c in enumerate(rig.cameras.values()) if c.mount is CameraMount.EYE_TO_HAND]
    groups = [(view, [i]) for i, view in enumerate(rig.cameras)] + ([(ALL_VIEWS, fixed)] if len(fixed) > 1 else [])
    found = []
    for b, (name, board) in enumerate(rig.boards.items()):
        carried = board.mount is BoardMount.GRIPPER
        expected = tcp @ state.boards[b] if carried else state.boards[b]
        for view, indices in groups:
            mine = solution.used & (o.pose == pose) & (o.board == b) & np.isin(o.view, indices)
            wrist = rig.cameras[view].mount is CameraMount.EYE_IN_HAND if view in rig.cameras else False
            if wrist == carried or mine.sum() < _LEAST_POINTS * len(indices):
                continue
            T = _locate(bundle, state, cameras, mine, expected, solution.pixel_sd)
            found.append(
                HeldOut(
                    bundle.names[pose],
                    view,
                    name,
                    1e3 * float(np.linalg.norm(T[:3, 3] - expected[:3, 3])),
                    float(np.rad2deg(angle_between(T[:3, :3], expected[:3, :3]))),
                )
            )
    return found


def _locate(
    bundle: Bundle, state: State, cameras: list[np.ndarray], mine: np.ndarray, start: np.ndarray, pixel_sd: np.ndarray
) -> np.ndarray:
    """base_T_board (4, 4) from the points `mine` of any number of known cameras, by Gauss-Newton."""
    o, T = bundle.o.where(mine), start
    into = np.array([inverse(c) for c in cameras])[o.view]
    lens, high = state.lenses[o.view], bundle.equations.high_order[o.view]
    weight = 1 / pixel_sd[o.view]
    X = o.X * (1 + state.scales[o.board])[:, None]
    for _ in range(_STEPS):
        lever = X @ T[:3, :3].T
        p = np.einsum("mij,mj->mi", into[:, :3, :3], lever + T[:3, 3]) + into[:, :3, 3]
        uv, d_point, _ = project(p, lens, high)
        twist = np.concatenate([np.broadcast_to(np.eye(3), (len(o), 3, 3)), -hat(lever)], 2)
        J = (d_point @ into[:, :3, :3] @ twist * weight[:, None, None]).reshape(-1, 6)
        step = -np.linalg.lstsq(J, ((uv - o.uv) * weight[:, None]).ravel(), rcond=None)[0]
        T = make(so3_exp(step[3:]) @ T[:3, :3], T[:3, 3] + step[:3])
    return T

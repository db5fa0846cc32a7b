"""The next arm pose to take: the one that most shrinks the uncertainty of the cameras, among those that are safe.

Candidates are drawn in joint space around the poses already taken, so they need no inverse
kinematics and keep away from joint limits. A candidate's worth is the drop of the summed
variance at the workspace, from the same equations, noise and joint errors as the adjustment.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..cell import WorkspaceBox
from ..errors import CalibrationError
from ..geometry.se3 import angle_between, hat, inverse, transform
from .bundle import Bundle, Solution
from .detect import Detection
from .quality import Demands, similar_to
from .residuals import BOARD, Equations, Observations, State
from .rig import ArmModel, BoardMount, CameraMount, Rig, Sample
from .unknowns import Layout

_HAND_M = np.array([[0.0, 0.0, 0.0], [0.0, 0.102, -0.045], [0.0, -0.102, -0.045]])
_MAX_TILT_COS = np.cos(np.deg2rad(60.0))
_EDGE = 0.03
_PATH_POINTS = 12
_ALIKE_M = 0.12
_ALIKE_RAD = 0.35


@dataclass(frozen=True)
class ProposalConfig:
    """candidates: drawn. judged: of the safe ones, how many are judged fully. spread_rad (7,): how far from the poses
    taken so far each joint is drawn. limit_margin_rad: kept from the joints' ends. clearance_m: of hand and board
    from the table and keep-out boxes. seen: share of a board's points that must be in the picture."""

    candidates: int = 3000
    judged: int = 120
    spread_rad: tuple[float, ...] = (0.55, 0.4, 0.45, 0.45, 0.55, 0.55, 1.0)
    limit_margin_rad: float = 0.15
    clearance_m: float = 0.03
    seen: float = 0.95

    def __post_init__(self) -> None:
        if len(self.spread_rad) != 7 or min(self.spread_rad) < 0:
            raise CalibrationError(f"spread_rad is {self.spread_rad}; expected 7 angles of 0 or more")


@dataclass(frozen=True, eq=False)
class Proposal:
    """q (7,) rad to go to; sees: views that will see a board; worth: expected share by which the root mean
    square uncertainty at the workspace shrinks (nan where there is no estimate yet); why: for the operator."""

    q: np.ndarray
    sees: tuple[str, ...]
    worth: float
    why: str


class Proposer:
    """Proposes poses for one rig, arm and workspace.

    clear: optional, tells of joint angles (N, 7) which are free of collision (a planner's check); without
    it only the TCP, the hand's corners and the boards are kept inside the workspace.
    """

    def __init__(
        self,
        rig: Rig,
        arm: ArmModel,
        box: WorkspaceBox,
        config: ProposalConfig = ProposalConfig(),
        clear: Callable[[np.ndarray], np.ndarray] | None = None,
    ):
        self._rig, self._arm, self._box, self._config, self._clear = rig, arm, box, config, clear

    def explore(
        self, q_now: np.ndarray, taken: np.ndarray, rng: np.random.Generator, vain: np.ndarray = np.zeros((0, 7))
    ) -> Proposal:
        """While nothing is known of the cameras: a small safe turn of the hand from one of those `taken` (P, 7), in
        which boards were seen, unlike all of them and those that were in `vain` (N, 7)."""
        tight = ProposalConfig(spread_rad=tuple(0.4 * s for s in self._config.spread_rad))
        around = np.reshape(taken, (-1, 7)) if len(taken) else np.asarray(q_now)[None]
        q = self._safe(self._draw(around, tight, rng), q_now, [])
        if not len(q):
            raise self._nothing()
        tcp, before = self._arm.fk(q), self._arm.fk(np.concatenate([around, np.reshape(vain, (-1, 7)), [q_now]]))
        relative = np.swapaxes(before[None, :, :3, :3], -1, -2) @ tcp[:, None, :3, :3]
        turn = np.arccos(np.clip((np.trace(relative, axis1=2, axis2=3) - 1) / 2, -1, 1))
        far = turn + np.linalg.norm(tcp[:, None, :3, 3] - before[None, :, :3, 3], axis=2) / 0.3
        return Proposal(
            q[int(far.min(1).argmax())], (), float("nan"), "turns and moves the hand away from the poses taken so far"
        )

    def refine(
        self,
        bundle: Bundle,
        solution: Solution,
        q_now: np.ndarray,
        samples: Sequence[Sample],
        rng: np.random.Generator,
        workspace_m: np.ndarray,
        short: Collection[str] = (),
    ) -> Proposal:
        """The safe pose that tells most, given the samples taken so far; views that are `short` of poses come first."""
        state, taken = solution.state, np.array([s.q for s in samples])
        carried = [
            transform(state.boards[i], b.board.outline)
            for i, b in enumerate(self._rig.boards.values())
            if b.mount is BoardMount.GRIPPER
        ]
        q = self._safe(self._draw(taken, self._config, rng), q_now, carried)
        old = self._arm.fk(taken)
        q = q[[not similar_to(T, old, Demands()).any() for T in self._arm.fk(q)]] if len(q) else q
        hidden = self._hidden(state, samples)
        seeing = [s for row in q[: 6 * self._config.judged] if (s := self._expected(state, row, hidden)).detections]
        if not seeing:
            raise self._nothing()
        serves = np.array([len(set(short) & set(s.detections)) for s in seeing])
        seeing = [s for s, n in zip(seeing, serves) if n == serves.max()][: self._config.judged]
        covariance = solution.covariance[: bundle.layout.board_poses.stop, : bundle.layout.board_poses.stop]
        L = _levers(self._rig, state, workspace_m)
        left = [np.einsum("ij,jk,ik->", L, self._after(state, solution, covariance, s), L) for s in seeing]
        best = seeing[int(np.argmin(left))]
        worth = 1 - float(np.sqrt(min(left) / np.einsum("ij,jk,ik->", L, covariance, L)))
        views = tuple(best.detections)
        why = f"seen by {', '.join(views)}; shrinks the uncertainty at the workspace by {worth:.0%}"
        return Proposal(best.q, views, worth, why)

    def _hidden(self, state: State, samples: Sequence[Sample]) -> dict[tuple[str, str], tuple[np.ndarray, np.ndarray]]:
        """By view and board: TCP poses (N, 4, 4) in which it was in the picture by geometry, and whether it was
        found (N,): what the arm or anything else hides is learnt from the poses taken."""
        tried: dict[tuple[str, str], list[tuple[np.ndarray, bool]]] = {}
        for sample in samples:
            tcp = self._arm.fk(sample.q)
            for view, expected in self._seen(state, sample.q).detections.items():
                found = {d.board for d in sample.detections.get(view, ())}
                for d in expected:
                    tried.setdefault((view, d.board), []).append((tcp, d.board in found))
        return {key: (np.array([T for T, _ in rows]), np.array([ok for _, ok in rows])) for key, rows in tried.items()}

    def _expected(self, state: State, q: np.ndarray, hidden: dict) -> Sample:
        """What the cameras will see, less what they did not see in the most alike of the poses taken."""
        sample, tcp, kept = self._seen(state, q), self._arm.fk(q), {}
        for view, detections in sample.detections.items():
            open_ = tuple(d for d in detections if not _was_hidden(tcp, *hidden.get((view, d.board), ((), ()))))
            if open_:
                kept[view] = open_
        return replace(sample, detections=kept)

    def _draw(self, around: np.ndarray, config: ProposalConfig, rng: np.random.Generator) -> np.ndarray:
        base = around[rng.integers(0, len(around), config.candidates)]
        q = base + rng.uniform(-1, 1, base.shape) * config.spread_rad
        limits, margin = self._arm.limits, config.limit_margin_rad
        return q[np.all((q > limits.q_min + margin) & (q < limits.q_max - margin), axis=1)]

    def _safe(self, q: np.ndarray, q_now: np.ndarray, carried: list[np.ndarray]) -> np.ndarray:
        """Those of q (N, 7) that are inside the workspace, and the straight joint path to them too."""
        points = np.concatenate([_HAND_M, *carried])
        q = q[self._inside(q, points)]
        steps = np.linspace(0, 1, _PATH_POINTS)[1:, None, None]
        path = np.asarray(q_now) + steps * (q - q_now)
        start_bad = not self._inside(np.asarray(q_now)[None], points)[0]
        inside = self._inside(path.reshape(-1, 7), points).reshape(len(steps), -1)
        q = q[inside[len(steps) // 2 :].all(0) if start_bad else inside.all(0)]
        return q if self._clear is None or not len(q) else q[np.asarray(self._clear(q), bool)]

    def _inside(self, q: np.ndarray, points: np.ndarray) -> np.ndarray:
        box, keep = self._box, self._config.clearance_m
        tcp = self._arm.fk(q)
        xyz = transform(tcp[:, None], points)
        ok = np.all((tcp[:, :3, 3] >= box.box_min_m) & (tcp[:, :3, 3] <= box.box_max_m), axis=1)
        if box.table_z_m is not None:
            ok &= xyz[..., 2].min(1) > box.table_z_m + keep
        for low, high in box.keep_out_boxes_m:
            ok &= ~np.all((xyz > np.array(low) - keep) & (xyz < np.array(high) + keep), axis=2).any(1)
        return ok

    def _seen(self, state: State, q: np.ndarray) -> Sample:
        """What the cameras would see, by the present estimate."""
        tcp = self._arm.fk(q)
        detections: dict[str, tuple[Detection, ...]] = {}
        for v, (view, camera) in enumerate(self._rig.cameras.items()):
            of_camera = tcp @ state.cameras[v] if camera.mount is CameraMount.EYE_IN_HAND else state.cameras[v]
            for b, (name, board) in enumerate(self._rig.boards.items()):
                if (camera.mount is CameraMount.EYE_IN_HAND) != (board.mount is BoardMount.TABLE):
                    continue
                of_board = tcp @ state.boards[b] if board.mount is BoardMount.GRIPPER else state.boards[b]
                T, points = inverse(of_camera) @ of_board, board.board.points
                uv = camera.at(np.eye(4)).project_camera_points(transform(T, points))
                size = np.array(camera.image_size)
                inside = np.all((uv > _EDGE * size) & (uv < (1 - _EDGE) * size), axis=1)
                facing = T[:3, 3] @ T[:3, 2] > _MAX_TILT_COS * np.linalg.norm(T[:3, 3])
                if facing and inside.mean() >= self._config.seen:
                    ids = np.flatnonzero(inside)
                    detections[view] = (*detections.get(view, ()), Detection(name, ids, uv[ids]))
        return Sample("proposal", q, detections)

    def _after(self, state: State, solution: Solution, covariance: np.ndarray, sample: Sample) -> np.ndarray:
        """Covariance of cameras and boards with this sample's information added, its joint errors marginalised."""
        one = State(
            state.cameras, state.boards, state.scales, np.zeros((1, 7)), state.offsets, state.delay_s, state.lenses
        )
        equations, o = Equations(self._rig, [sample], self._arm), Observations.gather(self._rig, [sample])
        layout = Layout(self._rig, 1, False, False, False)
        J = layout.jacobian(o, equations.linearise(one, o)).toarray() / np.repeat(solution.pixel_sd[o.view], 2)[:, None]
        poses, joints = J[:, : layout.board_poses.stop], J[:, layout.joints] * solution.joint_sd_rad
        noise = np.eye(len(J)) + joints @ joints.T
        seen = poses @ covariance
        return covariance - seen.T @ np.linalg.solve(noise + seen @ poses.T, seen)

    def _nothing(self) -> CalibrationError:
        b = self._box
        return CalibrationError(
            f"no safe pose found from here in the workspace {b.box_min_m} to {b.box_max_m} m in which a board is seen; "
            "guide the arm to the middle of the workspace with the board in view, or widen the workspace"
        )


def _was_hidden(tcp: np.ndarray, tried: np.ndarray, found: np.ndarray) -> bool:
    """Whether the most alike of the TCP poses tried (N, 4, 4) is near and showed nothing."""
    if not len(tried):
        return False
    turned = angle_between(tried[:, :3, :3], tcp[:3, :3])
    apart = np.linalg.norm(tried[:, :3, 3] - tcp[:3, 3], axis=1) / _ALIKE_M + turned / _ALIKE_RAD
    return bool(apart.min() < 2.0 and not found[int(apart.argmin())])


def _levers(rig: Rig, state: State, workspace_m: np.ndarray) -> np.ndarray:
    """(3 V, unknowns): displacement at the workspace by each camera's error; a wrist camera's, half a metre ahead."""
    rows = np.zeros((3 * len(rig.cameras), 6 * len(rig.cameras) + BOARD * len(rig.boards)))
    for v, camera in enumerate(rig.cameras.values()):
        T = state.cameras[v]
        ahead = 0.5 * T[:3, 2] if camera.mount is CameraMount.EYE_IN_HAND else np.asarray(workspace_m) - T[:3, 3]
        rows[3 * v : 3 * v + 3, 6 * v : 6 * v + 6] = np.concatenate([np.eye(3), -hat(ahead)], 1)
    return rows

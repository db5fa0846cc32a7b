"""The measurement equations of a rig, all points at once, with their analytic derivatives.

A point X of a board goes through  base_T_tcp (board on the gripper)  or nothing (board on the table) into
the base frame, then through  inverse(base_T_camera)  or  inverse(base_T_tcp tcp_T_camera)  into the camera.
Every pose is perturbed on the left: translation += dt, rotation = exp(w) rotation (as geometry.se3_exp).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..geometry.se3 import hat, make, so3_exp
from .rig import ArmModel, BoardMount, CameraMount, Rig, Sample, moving

INTRINSICS = 9
"""fx fy cx cy k1 k2 p1 p2 k3: what may be re-estimated of a camera; k4 k5 k6 stay as given."""
BOARD = 7
"""Translation, rotation vector and scale: what is sought of a board."""


@dataclass(frozen=True, eq=False)
class State:
    """All unknowns. cameras (V, 4, 4): base_T_camera, or tcp_T_camera of a wrist camera; boards (B, 4, 4):
    base_T_board, or tcp_T_board of a board on the gripper; scales (B,): printed over nominal size, less 1; joints
    (P, 7) rad: error of each pose's reading;
    offsets (7,) rad: of all readings; delay_s: stamp of the image minus that of the reading; lenses (V, 9)."""

    cameras: np.ndarray
    boards: np.ndarray
    scales: np.ndarray
    joints: np.ndarray
    offsets: np.ndarray
    delay_s: float
    lenses: np.ndarray

    def moved(
        self,
        cameras: np.ndarray,
        boards: np.ndarray,
        joints: np.ndarray,
        offsets: np.ndarray,
        delay_s: float,
        lenses: np.ndarray,
    ) -> State:
        """The state after a step; cameras (V, 6) and boards (B, 7: with scale) are left perturbations, the others
        added."""
        return replace(
            self,
            cameras=_moved(self.cameras, cameras),
            boards=_moved(self.boards, boards[:, :6]),
            scales=self.scales + boards[:, 6],
            joints=self.joints + joints,
            offsets=self.offsets + offsets,
            delay_s=self.delay_s + delay_s,
            lenses=self.lenses + lenses,
        )


def _moved(T: np.ndarray, step: np.ndarray) -> np.ndarray:
    return make(so3_exp(step[:, 3:]) @ T[:, :3, :3], T[:, :3, 3] + step[:, :3])


def start_state(cameras: np.ndarray, boards: np.ndarray, lenses: np.ndarray, poses: int) -> State:
    """Camera poses (V, 4, 4), board poses (B, 4, 4) and lenses (V, 9) with readings taken as exact."""
    return State(cameras, boards, np.zeros(len(boards)), np.zeros((poses, 7)), np.zeros(7), 0.0, lenses)


@dataclass(frozen=True, eq=False)
class Observations:
    """M seen points, flat. view, board, pose, group (M,): indices; group numbers the (pose, view, board)
    detections. X (M, 3) m in the board frame, uv (M, 2) px. share (M,): what a point counts for: 1, but where
    neither the board nor the camera moves with the arm, all pictures of a point together count for one, because
    they repeat each other's errors instead of averaging them out.
    """

    view: np.ndarray
    board: np.ndarray
    pose: np.ndarray
    group: np.ndarray
    X: np.ndarray
    uv: np.ndarray
    share: np.ndarray

    @classmethod
    def gather(cls, rig: Rig, samples: list[Sample]) -> Observations:
        views, boards = list(rig.cameras), list(rig.boards)
        rows, X, uv, ids, group = [], [], [], [], 0
        for p, sample in enumerate(samples):
            for view, detections in sample.detections.items():
                for d in detections:
                    rows += [(views.index(view), boards.index(d.board), p, group)] * len(d)
                    X.append(rig.boards[d.board].board.points[d.ids])
                    uv.append(d.uv)
                    ids.append(d.ids)
                    group += 1
        index = np.array(rows, int).reshape(-1, 4)
        moved = np.array([[moving(rig, view, board) for board in boards] for view in views])
        points = np.column_stack([index[:, :2], np.concatenate([np.zeros(0, int), *ids])])
        _, back, count = np.unique(points, axis=0, return_inverse=True, return_counts=True)
        share = np.where(moved[index[:, 0], index[:, 1]], 1.0, 1.0 / count[back.ravel()])
        view, board, pose, grouped = index.T
        seen = np.concatenate([np.zeros((0, 3)), *X]), np.concatenate([np.zeros((0, 2)), *uv])
        return cls(view, board, pose, grouped, *seen, share)

    def where(self, keep: np.ndarray) -> Observations:
        names = ("view", "board", "pose", "group", "X", "uv", "share")
        return Observations(**{name: getattr(self, name)[keep] for name in names})

    def __len__(self) -> int:
        return len(self.uv)


@dataclass(frozen=True, eq=False)
class Linearised:
    """Residuals (M, 2) px = projected - seen, and what they change by: with the camera pose (M, 2, 6), the board (M,
    2, 7), with the reading of the pose's joints (M, 2, 7), with the delay (M, 2), with the lens (M, 2, 9)."""

    residuals: np.ndarray
    camera: np.ndarray
    board: np.ndarray
    joints: np.ndarray
    delay: np.ndarray
    lens: np.ndarray


class Equations:
    """Measurement equations of one rig and its samples."""

    def __init__(self, rig: Rig, samples: list[Sample], arm: ArmModel):
        self.arm = arm
        self.q = np.array([s.q for s in samples]).reshape(-1, 7)
        self.dq = np.array([s.dq for s in samples]).reshape(-1, 7)
        self.wrist = np.array([c.mount is CameraMount.EYE_IN_HAND for c in rig.cameras.values()])
        self.carried = np.array([b.mount is BoardMount.GRIPPER for b in rig.boards.values()])
        self.high_order = np.array([c.coefficients[5:] for c in rig.cameras.values()])

    def readings(self, state: State) -> np.ndarray:
        """True joint angles (P, 7) as the state has them."""
        return self.q + state.offsets + state.delay_s * self.dq + state.joints

    def camera_points(self, state: State, o: Observations) -> np.ndarray:
        """Seen points in their camera's frame (M, 3) m."""
        return self._chain(state, o, self.arm.fk(self.readings(state))[o.pose])[0]

    def residuals(self, state: State, o: Observations) -> np.ndarray:
        """(M, 2) px; a point behind its camera counts as very far off."""
        uv, _, _ = project(self.camera_points(state, o), state.lenses[o.view], self.high_order[o.view])
        return uv - o.uv

    def linearise(self, state: State, o: Observations) -> Linearised:
        tcp, jacobian = self.arm.fk_jacobian(self.readings(state))
        p, to_camera, d_camera, d_board, d_tcp = self._chain(state, o, tcp[o.pose])
        uv, d_point, d_lens = project(p, state.lenses[o.view], self.high_order[o.view])
        d_point = d_point @ to_camera
        d_joints = d_point @ d_tcp @ jacobian[o.pose]
        return Linearised(
            uv - o.uv,
            d_point @ d_camera,
            d_point @ d_board,
            d_joints,
            np.einsum("mij,mj->mi", d_joints, self.dq[o.pose]),
            d_lens,
        )

    def _chain(self, state: State, o: Observations, F: np.ndarray):
        """Points in the camera, the rotation (M, 3, 3) of the camera's parent frame into the camera, and that
        parent frame's displacements (M, 3, .) by camera, board and TCP pose. F (M, 4, 4) base_T_tcp."""
        A, B = state.cameras[o.view], state.boards[o.board]
        carried, wrist = self.carried[o.board], self.wrist[o.view]
        FR, Ft = F[:, :3, :3], F[:, :3, 3]
        unscaled = _apply(B[:, :3, :3], o.X)
        lever = unscaled * (1 + state.scales[o.board])[:, None]
        on_board = lever + B[:, :3, 3]
        arm = _apply(FR, on_board)
        parent = np.where((carried & ~wrist)[:, None], arm + Ft, on_board)
        from_tcp = parent - Ft
        back = np.swapaxes(FR, 1, 2)
        seen_by_wrist = (wrist & ~carried)[:, None]
        parent = np.where(seen_by_wrist, _apply(back, from_tcp), parent)
        turned = np.where((carried & ~wrist)[:, None, None], FR, np.where(seen_by_wrist[..., None], back, np.eye(3)))
        d_board = turned @ np.concatenate([_twist(lever), unscaled[..., None]], 2)
        d_tcp = np.where((carried & ~wrist)[:, None, None], _twist(arm), 0.0) - np.where(
            seen_by_wrist[..., None], back @ _twist(from_tcp), 0.0
        )
        to_camera = np.swapaxes(A[:, :3, :3], 1, 2)
        off = parent - A[:, :3, 3]
        return _apply(to_camera, off), to_camera, -_twist(off), d_board, d_tcp


def _apply(R: np.ndarray, x: np.ndarray) -> np.ndarray:
    return np.einsum("mij,mj->mi", R, x)


def _twist(lever: np.ndarray) -> np.ndarray:
    """(M, 3) -> (M, 3, 6): displacement dt + w x lever by (dt, w)."""
    return np.concatenate([np.broadcast_to(np.eye(3), lever.shape[:1] + (3, 3)), -hat(lever)], 2)


def project(p: np.ndarray, lens: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Camera-frame points (M, 3), lenses (M, 9) and k4 k5 k6 (M, 3) -> uv (M, 2), its derivatives by the point
    (M, 2, 3) and by the lens (M, 2, 9). Depths below 1 mm count as 1 mm."""
    fx, fy, cx, cy, k1, k2, p1, p2, k3 = lens.T
    z = np.maximum(p[:, 2], 1e-3)
    x, y = p[:, 0] / z, p[:, 1] / z
    r2 = x * x + y * y
    up = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
    down = 1 + r2 * (high[:, 0] + r2 * (high[:, 1] + r2 * high[:, 2]))
    radial = up / down
    slope = (
        (k1 + r2 * (2 * k2 + 3 * k3 * r2)) - radial * (high[:, 0] + r2 * (2 * high[:, 1] + 3 * high[:, 2] * r2))
    ) / down
    xd = x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x)
    yd = y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y
    dxx = radial + 2 * x * x * slope + 2 * p1 * y + 6 * p2 * x
    dxy = 2 * x * y * slope + 2 * p1 * x + 2 * p2 * y
    dyy = radial + 2 * y * y * slope + 6 * p1 * y + 2 * p2 * x
    d_point = np.empty((len(p), 2, 3))
    d_point[:, 0, 0], d_point[:, 0, 1] = fx * dxx / z, fx * dxy / z
    d_point[:, 1, 0], d_point[:, 1, 1] = fy * dxy / z, fy * dyy / z
    d_point[:, :, 2] = -(d_point[:, :, 0] * x[:, None] + d_point[:, :, 1] * y[:, None])
    d_lens = np.zeros((len(p), 2, INTRINSICS))
    d_lens[:, 0, 0], d_lens[:, 1, 1] = xd, yd
    d_lens[:, 0, 2] = d_lens[:, 1, 3] = 1.0
    powers = r2[:, None] ** [1, 2, 3] / down[:, None]
    for axis, (f, n) in enumerate(((fx, x), (fy, y))):
        d_lens[:, axis, [4, 5, 8]] = (f * n)[:, None] * powers
    d_lens[:, 0, 6], d_lens[:, 0, 7] = fx * 2 * x * y, fx * (r2 + 2 * x * x)
    d_lens[:, 1, 6], d_lens[:, 1, 7] = fy * (r2 + 2 * y * y), fy * 2 * x * y
    return np.stack([fx * xd + cx, fy * yd + cy], 1), d_point, d_lens

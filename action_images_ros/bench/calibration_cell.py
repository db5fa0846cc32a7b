"""Random cells with known truth: fixed cameras, one on the wrist, a board on the gripper, one on the table."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..calibration.boards import Board
from ..calibration.detect import Detection
from ..calibration.rig import BoardMount, CameraMount, Rig, RigBoard, RigCamera, Sample
from ..control.kinematics import FR3_HOME_Q, Fr3Kinematics
from ..errors import CalibrationError
from ..geometry import inverse, so3_exp
from ..geometry.se3 import make, transform

GRIPPER_BOARD = Board.parse("charuco:6x4:45/31mm:4X4_50")
TABLE_BOARD = Board.parse("charuco:7x5:45/31mm:4X4_50+20")
_SPREAD_RAD = np.array([0.55, 0.40, 0.45, 0.45, 0.55, 0.55, 1.0])
_CANDIDATES = 4000
_PRINT_SD = 3e-4
_EDGE = 0.02
_MAX_TILT_COS = np.cos(np.deg2rad(65.0))
_CENTRE_M = np.array([0.48, 0.0, 0.22])


@dataclass(frozen=True, eq=False)
class TrueCell:
    """A rig and the truth about it: base_T_camera or tcp_T_camera by view, base_T_board or tcp_T_board by name, and how
    large each board came out of the printer (1 = as named)."""

    rig: Rig
    cameras: dict[str, np.ndarray]
    boards: dict[str, np.ndarray]
    scales: dict[str, float]
    arm: Fr3Kinematics

    def base_T_camera(self, view: str, base_T_tcp: np.ndarray) -> np.ndarray:
        wrist = self.rig.cameras[view].mount is CameraMount.EYE_IN_HAND
        return base_T_tcp @ self.cameras[view] if wrist else self.cameras[view]

    def base_T_board(self, name: str, base_T_tcp: np.ndarray) -> np.ndarray:
        carried = self.rig.boards[name].mount is BoardMount.GRIPPER
        return base_T_tcp @ self.boards[name] if carried else self.boards[name]


def random_cell(
    rng: np.random.Generator, image_size: tuple[int, int] = (640, 480), statics: int = 2, wrist: bool = True
) -> TrueCell:
    """Fixed cameras 0.9 to 1.4 m from the workspace with lenses of 40 to 55 degrees across the shorter side and mild
    distortion; a wrist camera behind the hand; boards where a person would put them."""
    rig_cameras, poses = {}, {}
    for k in range(statics):
        view = ("left", "right", "front")[k] if k < 3 else f"static{k}"
        rig_cameras[view] = _lens(rng, image_size, rng.uniform(40, 55), f"static-{k}", CameraMount.EYE_TO_HAND)
        poses[view] = _static_pose(rng, (-1, 1, 0)[k % 3] * rng.uniform(20, 60))
    if wrist:
        rig_cameras["wrist"] = _lens(rng, image_size, rng.uniform(50, 62), "wrist-0", CameraMount.EYE_IN_HAND)
        turn = so3_exp(np.array([0.0, 0.0, rng.uniform(-0.2, 0.2)])) @ so3_exp(
            np.array([rng.uniform(-0.15, 0.15), rng.uniform(-0.1, 0.2), 0.0])
        )
        poses["wrist"] = make(turn, np.array([-0.08, 0.0, -0.07]) + rng.uniform(-0.01, 0.01, 3))
    tilt = np.deg2rad(rng.uniform(10, 30))
    out = np.array([np.cos(tilt), 0.0, -np.sin(tilt)])
    gripper = make(
        np.stack([[0, 1.0, 0], np.cross(-out, [0, 1.0, 0]), -out], 1),
        np.array([0.075, 0.0, -0.04]) + rng.uniform(-0.01, 0.01, 3),
    )
    flat = so3_exp(np.array([0.0, 0.0, rng.uniform(-np.pi, np.pi)])) @ np.diag([1.0, -1.0, -1.0])
    table = make(
        so3_exp(rng.normal(0, 0.02, 3)) @ flat, np.array([rng.uniform(0.38, 0.5), rng.uniform(-0.12, 0.12), 0.004])
    )
    boards = {"gripper": RigBoard(BoardMount.GRIPPER, GRIPPER_BOARD)}
    board_poses = {"gripper": gripper}
    if wrist:
        boards["table"], board_poses["table"] = RigBoard(BoardMount.TABLE, TABLE_BOARD), table
    scales = {name: 1 + rng.normal(0, _PRINT_SD) for name in boards}
    return TrueCell(Rig(rig_cameras, boards), poses, board_poses, scales, Fr3Kinematics())


def _lens(
    rng: np.random.Generator, image_size: tuple[int, int], fov_deg: float, serial: str, mount: CameraMount
) -> RigCamera:
    width, height = image_size
    f = 0.5 * height / np.tan(np.deg2rad(fov_deg) / 2)
    cx, cy = (width - 1) / 2 + rng.uniform(-6, 6), (height - 1) / 2 + rng.uniform(-6, 6)
    K = np.array([[f, 0, cx], [0, f * rng.uniform(0.997, 1.003), cy], [0, 0, 1]])
    k1 = rng.uniform(-0.12, 0.10)
    distortion = [k1, -0.5 * k1 + rng.uniform(-0.03, 0.03), *rng.uniform(-1e-3, 1e-3, 2), 0.0]
    return RigCamera(mount, serial, K, image_size, np.array(distortion))


def _static_pose(rng: np.random.Generator, azimuth_deg: float) -> np.ndarray:
    azimuth, elevation = np.deg2rad(azimuth_deg), np.deg2rad(rng.uniform(18, 50))
    back = np.array([np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)])
    right = np.cross(-back, [0, 0, 1.0])
    right /= np.linalg.norm(right)
    R = np.stack([right, np.cross(-back, right), -back], 1) @ so3_exp(np.array([0, 0, rng.uniform(-0.09, 0.09)]))
    return make(R, _CENTRE_M + rng.uniform(0.9, 1.4) * back + rng.normal(0, 0.02, 3))


def visible_points(cell: TrueCell, view: str, board: str, base_T_tcps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """uv (P, N, 2) of a board's points and which (P, N) are inside the picture with the board facing the camera."""
    camera, points = cell.rig.cameras[view], cell.rig.boards[board].board.points * cell.scales[board]
    uv, seen = [], []
    for tcp in base_T_tcps:
        T = inverse(cell.base_T_camera(view, tcp)) @ cell.base_T_board(board, tcp)
        px = camera.at(np.eye(4)).project_camera_points(transform(T, points))
        ray = T[:3, 3] / np.linalg.norm(T[:3, 3])
        inside = np.all((px > _EDGE * camera.image_size[0]) & (px < np.array(camera.image_size) * (1 - _EDGE)), 1)
        uv.append(px)
        seen.append(inside & (ray @ T[:3, 2] > _MAX_TILT_COS))
    return np.array(uv), np.array(seen)


def operator_poses(rng: np.random.Generator, cell: TrueCell, count: int) -> np.ndarray:
    """Joint angles (count, 7) as a person picks them: the hand is turned and moved at random about the middle of the
    workspace, and a pose is kept when one fixed camera sees the gripper's board whole and the wrist most of the
    table's."""
    q = FR3_HOME_Q + rng.uniform(-1, 1, (_CANDIDATES, 7)) * _SPREAD_RAD
    tcp = cell.arm.fk(q)
    low, high = _CENTRE_M - (0.18, 0.28, 0.02), _CENTRE_M + (0.17, 0.28, 0.30)
    fair = np.flatnonzero(np.all((tcp[:, :3, 3] > low) & (tcp[:, :3, 3] < high), 1) & (tcp[:, 2, 2] < -0.75))
    keep, seen_by = [], {view: 0 for view in cell.rig.cameras}
    for i in fair:
        sees = {}
        for view, camera in cell.rig.cameras.items():
            wrist = camera.mount is CameraMount.EYE_IN_HAND
            share = visible_points(cell, view, "table" if wrist else "gripper", tcp[i][None])[1].mean()
            sees[view] = share > (0.6 if wrist else 0.99)
        statics = [v for v, c in cell.rig.cameras.items() if c.mount is CameraMount.EYE_TO_HAND]
        needy = min(statics, key=lambda v: seen_by[v]) if statics else None
        if all(sees[v] for v in cell.rig.cameras if v not in statics) and (needy is None or sees[needy]):
            keep.append(i)
            for view, s in sees.items():
                seen_by[view] += s
            if len(keep) == count:
                return q[keep]
    raise CalibrationError(
        f"only {len(keep)} of {count} poses found in which the boards are seen; another cell is needed"
    )


def synthetic_samples(
    rng: np.random.Generator, cell: TrueCell, q: np.ndarray, joint_sd_deg: float = 0.05, pixel_sd: float = 0.1
) -> list[Sample]:
    """Samples with ideal detection of what each camera sees, white pixel noise, and noisy joint readings."""
    tcp, samples = cell.arm.fk(q), []
    seen = {(v, b): visible_points(cell, v, b, tcp) for v in cell.rig.cameras for b in cell.rig.boards}
    for p in range(len(q)):
        detections: dict[str, list[Detection]] = {}
        for (view, board), (uv, inside) in seen.items():
            ids = np.flatnonzero(inside[p])
            if len(ids) >= 8:
                noisy = uv[p, ids] + rng.normal(0, pixel_sd, (len(ids), 2))
                detections.setdefault(view, []).append(Detection(board, ids, noisy))
        reading = q[p] + rng.normal(0, np.deg2rad(joint_sd_deg), 7)
        samples.append(Sample(f"{p:02d}", reading, {v: tuple(d) for v, d in detections.items()}))
    return samples

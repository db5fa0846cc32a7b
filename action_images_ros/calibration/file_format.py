"""How a calibration stands in its YAML file, and reading it back with every value checked."""

from __future__ import annotations

import datetime

import numpy as np

from ..errors import ActionImagesError, CalibrationError
from ..geometry.se3 import make, matrix_from_quat, quat_from_matrix
from ..yaml_tree import YamlNode
from .boards import Board
from .bundle import Outlier
from .leave_out import HeldOut
from .result import ArmCorrection, BoardResult, CalibrationResult, PoseRms, ViewResult
from .rig import BoardMount, CameraMount, RigCamera

FORMAT = "action_images_ros calibration 1"
_DIGITS = 10


def _numbers(values) -> list[float]:
    return [float(f"{v:.{_DIGITS}g}") for v in np.ravel(values)]


def _plain_pose(T: np.ndarray) -> dict:
    return {"translation_m": _numbers(T[:3, 3]), "quaternion_xyzw": _numbers(quat_from_matrix(T[:3, :3]))}


def to_plain(r: CalibrationResult, date: str) -> dict:
    """Mappings, lists and numbers for a YAML writer."""
    c = r.correction
    return {
        "format": FORMAT,
        "date": date,
        "arm": r.arm,
        "method": r.method,
        "poses": r.poses,
        "workspace_m": list(r.workspace_m),
        "views": {name: _plain_view(v) for name, v in r.views.items()},
        "boards": {
            name: {
                "board": b.board.text,
                "mount": b.mount.value,
                "parent_T_board": _plain_pose(b.parent_T_board),
                "covariance": _numbers(b.covariance),
                "scale": float(b.scale),
                "scale_sd": float(b.scale_sd),
            }
            for name, b in r.boards.items()
        },
        "arm_correction": {
            "joint_sd_deg": float(c.joint_sd_deg),
            "offsets_deg": _numbers(c.offsets_deg),
            "offsets_sd_deg": _numbers(c.offsets_sd_deg),
            "delay_s": float(c.delay_s),
            "delay_sd_s": float(c.delay_sd_s),
        },
        "camera_covariance": _numbers(r.camera_covariance),
        "pose_rms": [
            {"pose": p.pose, "view": p.view, "points": p.points, "rms_px": round(p.rms_px, 4), "used": p.used}
            for p in r.pose_rms
        ],
        "held_out": [
            {
                "pose": h.pose,
                "view": h.view,
                "board": h.board,
                "position_mm": round(h.position_mm, 4),
                "rotation_deg": round(h.rotation_deg, 5),
            }
            for h in r.held_out
        ],
        "outliers": [
            {"pose": o.pose, "view": o.view, "board": o.board, "kind": o.kind, "size": round(o.size, 2)}
            for o in r.outliers
        ],
        "notes": list(r.notes),
    }


def _plain_view(v: ViewResult) -> dict:
    return {
        "mount": v.mount.value,
        "serial": v.camera.serial,
        "K": _numbers(v.camera.K),
        "image_size": list(v.camera.image_size),
        "distortion": _numbers(v.camera.distortion),
        "parent_T_camera": _plain_pose(v.parent_T_camera),
        "covariance": _numbers(v.covariance),
        "pixel_sd": float(v.pixel_sd),
        "reproj_rms_px": float(v.reproj_rms_px),
        "poses": v.poses,
        "points": v.points,
        "held_out_mm": _numbers(v.held_out_mm),
        "held_out_deg": _numbers(v.held_out_deg),
        "workspace_sd_mm": float(v.workspace_sd_mm),
        "rotation_sd_deg": float(v.rotation_sd_deg),
        "intrinsics": v.intrinsics,
    }


def from_yaml(root: YamlNode) -> tuple[CalibrationResult, str]:
    """Result and date. Raises ConfigError naming file, line, key and what is legal."""
    m = root.mapping(
        (
            "format",
            "date",
            "arm",
            "method",
            "poses",
            "workspace_m",
            "views",
            "boards",
            "arm_correction",
            "camera_covariance",
            "pose_rms",
            "held_out",
            "outliers",
            "notes",
        )
    )
    if m["format"].text() != FORMAT:
        raise m["format"].fail(f"{m['format'].value!r}; this version reads {FORMAT!r}")
    views = {name: _view(node) for name, node in m["views"].entries().items()}
    boards = {name: _board(node) for name, node in m["boards"].entries().items()}
    if not views:
        raise m["views"].fail("no view; a calibration has one at least")
    c = m["arm_correction"].mapping(("joint_sd_deg", "offsets_deg", "offsets_sd_deg", "delay_s", "delay_sd_s"))
    correction = ArmCorrection(
        c["joint_sd_deg"].number(0),
        np.array(c["offsets_deg"].numbers(7)),
        np.array(c["offsets_sd_deg"].numbers(7)),
        c["delay_s"].number(),
        c["delay_sd_s"].number(0),
    )
    n = 6 * len(views)
    joint = _covariance(m["camera_covariance"], n)
    result = CalibrationResult(
        m["arm"].text(),
        views,
        boards,
        correction,
        tuple(_pose_rms(p) for p in m["pose_rms"].items()),
        tuple(_held_out(h) for h in m["held_out"].items()),
        tuple(_outlier(o) for o in m["outliers"].items()),
        tuple(t.text() for t in m["notes"].items()),
        int(m["poses"].number(1)),
        m["workspace_m"].triple(),
        joint,
    )
    date = m["date"].value
    text = date.isoformat() if isinstance(date, (datetime.date, datetime.datetime)) else m["date"].text()
    return result, text


def _covariance(node: YamlNode, n: int) -> np.ndarray:
    C = np.array(node.numbers(n * n)).reshape(n, n)
    if (
        np.abs(C - C.T).max() > 1e-6 * max(np.abs(C).max(), 1e-30)
        or np.linalg.eigvalsh(C).min() < -1e-9 * np.abs(C).max()
    ):
        raise node.fail("is no covariance: it must be symmetric and positive")
    return (C + C.T) / 2


def _pose(node: YamlNode) -> np.ndarray:
    p = node.mapping(("translation_m", "quaternion_xyzw"))
    xyzw = np.array(p["quaternion_xyzw"].numbers(4))
    if abs(np.linalg.norm(xyzw) - 1) > 1e-3:
        raise p["quaternion_xyzw"].fail("is no unit quaternion in the order x, y, z, w")
    return make(matrix_from_quat(xyzw), np.array(p["translation_m"].numbers(3)))


def _choice(node: YamlNode, kind):
    try:
        return kind(node.text())
    except ValueError:
        raise node.fail(f"{node.value!r}; legal: {', '.join(k.value for k in kind)}") from None


def _view(node: YamlNode) -> ViewResult:
    v = node.mapping(
        (
            "mount",
            "serial",
            "K",
            "image_size",
            "distortion",
            "parent_T_camera",
            "covariance",
            "pixel_sd",
            "reproj_rms_px",
            "poses",
            "points",
            "held_out_mm",
            "held_out_deg",
            "workspace_sd_mm",
            "rotation_sd_deg",
            "intrinsics",
        )
    )
    mount = _choice(v["mount"], CameraMount)
    try:
        width, height = v["image_size"].numbers(2)
        camera = RigCamera(
            mount,
            v["serial"].text(),
            np.array(v["K"].numbers(9)).reshape(3, 3),
            (int(width), int(height)),
            np.array([d.number() for d in v["distortion"].items()]),
        )
    except ActionImagesError as e:
        raise node.fail(str(e)) from e
    text = v["intrinsics"].value
    (middle_mm, worst_mm), (middle_deg, worst_deg) = v["held_out_mm"].numbers(2), v["held_out_deg"].numbers(2)
    return ViewResult(
        mount,
        camera,
        _pose(v["parent_T_camera"]),
        _covariance(v["covariance"], 6),
        v["pixel_sd"].number(0),
        v["reproj_rms_px"].number(0),
        int(v["poses"].number(0)),
        int(v["points"].number(0)),
        (middle_mm, worst_mm),
        (middle_deg, worst_deg),
        v["workspace_sd_mm"].number(0),
        v["rotation_sd_deg"].number(0),
        str(text or ""),
    )


def _board(node: YamlNode) -> BoardResult:
    b = node.mapping(("board", "mount", "parent_T_board", "covariance", "scale", "scale_sd"))
    try:
        board = Board.parse(b["board"].text())
    except CalibrationError as e:
        raise b["board"].fail(str(e)) from e
    return BoardResult(
        _choice(b["mount"], BoardMount),
        board,
        _pose(b["parent_T_board"]),
        _covariance(b["covariance"], 6),
        b["scale"].number(-0.5, 0.5),
        b["scale_sd"].number(0),
    )


def _pose_rms(node: YamlNode) -> PoseRms:
    p = node.mapping(("pose", "view", "points", "rms_px", "used"))
    return PoseRms(
        p["pose"].text(), p["view"].text(), int(p["points"].number(0)), p["rms_px"].number(0), bool(p["used"].value)
    )


def _held_out(node: YamlNode) -> HeldOut:
    h = node.mapping(("pose", "view", "board", "position_mm", "rotation_deg"))
    return HeldOut(
        h["pose"].text(), h["view"].text(), h["board"].text(), h["position_mm"].number(0), h["rotation_deg"].number(0)
    )


def _outlier(node: YamlNode) -> Outlier:
    o = node.mapping(("pose", "view", "board", "kind", "size"))
    return Outlier(
        o["pose"].text(), str(o["view"].value or ""), str(o["board"].value or ""), o["kind"].text(), o["size"].number(0)
    )

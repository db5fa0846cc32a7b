"""The calibration as one HTML page that a person can judge: numbers, residual plots, overlays on the pictures."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from html import escape

import cv2
import numpy as np

from .leave_out import ALL_VIEWS
from .picture import overlay
from .result import CalibrationResult
from .rig import ArmModel, Sample
from .store import StoredCalibration
from .svg import arrows, bars, scatter

_OVERLAYS = 3
_STYLE = """body{font:14px sans-serif;max-width:1180px;margin:2em
auto;color:#222}table{border-collapse:collapse;margin:.6em 0} td,th{border:1px solid #ccc;padding:3px
9px;text-align:right}th{background:#f2f2f2}td:first-child,th:first-child{text-align:left} h2{border-bottom:1px solid
#ccc;margin-top:1.6em}svg,img{margin:4px}.bad{color:#b00}figure{display:inline-block;margin:4px}
figcaption{font-size:12px;color:#555}"""


def html_report(
    stored: StoredCalibration,
    samples: list[Sample],
    arm: ArmModel,
    images: Mapping[str, Mapping[str, np.ndarray]] | None = None,
) -> str:
    """A self-contained page. images[view][pose]: uint8 (H, W, 3) RGB, for the overlays; views and poses may be
    missing."""
    r = stored.result
    parts = [
        f"<!doctype html><html lang='en'><meta charset='utf-8'><title>Camera calibration {escape(stored.date)}</title>"
        f"<style>{_STYLE}</style><h1>Camera calibration</h1>",
        _header(stored),
        _views_table(r),
        _boards_table(r),
        _remarks(r),
        "<h2>Poses</h2>",
        _pose_bars(r),
    ]
    for view in r.views:
        parts.append(f"<h2>View {escape(view)}</h2>{_view_plots(r, view)}")
        parts += _overlays(r, view, samples, arm, (images or {}).get(view, {}))
    return "\n".join([*parts, "</html>\n"])


def _header(stored: StoredCalibration) -> str:
    r = stored.result
    return f"<p>{escape(stored.date)}, arm {escape(r.arm)}: {escape(r.method)}. Workspace point {r.workspace_m} m.</p>"


def _table(head: list[str], rows: list[list[str]]) -> str:
    cells = "".join(f"<th>{escape(h)}</th>" for h in head)
    body = "".join("<tr>" + "".join(f"<td>{escape(c)}</td>" for c in row) + "</tr>" for row in rows)
    return f"<table><tr>{cells}</tr>{body}</table>"


def _views_table(r: CalibrationResult) -> str:
    head = [
        "view",
        "serial",
        "mount",
        "poses",
        "points",
        "reprojection rms",
        "left out: position median / worst",
        "left out: rotation median / worst",
        "uncertainty at the workspace (1 sd)",
        "position in its parent (m)",
    ]
    rows = []
    for name, v in r.views.items():
        rows.append(
            [
                name,
                v.camera.serial,
                v.mount.value,
                str(v.poses),
                str(v.points),
                f"{v.reproj_rms_px:.3f} px",
                f"{v.held_out_mm[0]:.2f} / {v.held_out_mm[1]:.2f} mm",
                f"{v.held_out_deg[0]:.3f} / {v.held_out_deg[1]:.3f} deg",
                f"{v.workspace_sd_mm:.2f} mm, {v.rotation_sd_deg:.3f} deg",
                ", ".join(f"{x:.4f}" for x in v.parent_T_camera[:3, 3]),
            ]
        )
    together = [h for h in r.held_out if h.view == ALL_VIEWS]
    if together:
        mm, deg = [h.position_mm for h in together], [h.rotation_deg for h in together]
        rows.append(
            [
                ALL_VIEWS,
                "",
                "",
                str(len({h.pose for h in together})),
                "",
                "",
                f"{np.median(mm):.2f} / {max(mm):.2f} mm",
                f"{np.median(deg):.3f} / {max(deg):.3f} deg",
                "",
                "",
            ]
        )
    return (
        "<h2>Cameras</h2>"
        + _table(head, rows)
        + (
            "<p>Left out: each pose is located with cameras calibrated without it, and compared with where the "
            "arm says it is; "
            "this holds the arm's own error in that pose, so it is an upper bound.</p>"
        )
    )


def _boards_table(r: CalibrationResult) -> str:
    rows = [
        [
            name,
            b.board.text,
            b.mount.value,
            f"{1e3 * b.scale:+.2f} +- {1e3 * b.scale_sd:.2f} parts in 1000",
            ", ".join(f"{x:.4f}" for x in b.parent_T_board[:3, 3]),
        ]
        for name, b in r.boards.items()
    ]
    return "<h2>Boards</h2>" + _table(["board", "pattern", "mount", "print scale", "position in its parent (m)"], rows)


def _remarks(r: CalibrationResult) -> str:
    c = r.correction
    lines = [f"Scatter of joint readings: {c.joint_sd_deg:.4f} deg."]
    if np.any(c.offsets_sd_deg):
        lines.append(
            "Joint offsets (deg, add to readings): "
            + ", ".join(f"{v:+.3f} +- {s:.3f}" for v, s in zip(c.offsets_deg, c.offsets_sd_deg))
            + "."
        )
    if c.delay_sd_s:
        lines.append(
            f"Images are stamped {1e3 * c.delay_s:+.1f} +- {1e3 * c.delay_sd_s:.1f} ms after the joints they belong to."
        )
    lines += [f"{view}: {v.intrinsics}." for view, v in r.views.items() if v.intrinsics]
    lines += [*r.notes]
    bad = [f"<li class='bad'>{escape(o.text)}</li>" for o in r.outliers] or ["<li>No pose was left out.</li>"]
    return "<h2>Remarks</h2><ul>" + "".join(f"<li>{escape(t)}</li>" for t in lines) + "".join(bad) + "</ul>"


def _pose_bars(r: CalibrationResult) -> str:
    poses = list(dict.fromkeys(p.pose for p in r.pose_rms))
    rms = {(p.pose, p.view): p.rms_px for p in r.pose_rms if p.used}
    left = {(h.pose, h.view): h for h in r.held_out}
    views = list(r.views)
    nan = float("nan")
    both = [bars(poses, {v: [rms.get((p, v), nan) for p in poses] for v in views}, "reprojection rms by pose", "px")]
    for unit, get in (("mm", lambda h: h.position_mm), ("deg", lambda h: h.rotation_deg)):
        both.append(
            bars(
                poses,
                {v: [get(left[p, v]) if (p, v) in left else nan for p in poses] for v in views},
                "leave-one-pose-out error",
                unit,
            )
        )
    return "".join(both)


def _view_plots(r: CalibrationResult, view: str) -> str:
    if r.seen is None:
        return "<p>Residuals are not kept in the file.</p>"
    mine = (r.seen.view == view) & r.seen.used
    sd = r.views[view].pixel_sd
    rings = [float(f"{k * sd:.2g}") for k in (1, 2, 3)]
    magnify = float(f"{15 / max(sd, 1e-6):.1g}")
    return scatter(r.seen.residuals[mine], "residuals; rings at 1, 2, 3 sd", rings, "px") + arrows(
        r.seen.uv[mine],
        r.seen.residuals[mine],
        r.views[view].camera.image_size,
        magnify,
        f"residuals over the picture, {magnify:g} times enlarged",
    )


def _overlays(
    r: CalibrationResult, view: str, samples: list[Sample], arm: ArmModel, images: Mapping[str, np.ndarray]
) -> list[str]:
    """The worst, the middle and the best of the poses that have a picture."""
    ranked = sorted((p for p in r.pose_rms if p.view == view and p.pose in images and p.used), key=lambda p: -p.rms_px)
    if not ranked:
        return []
    picks = sorted({0, len(ranked) // 2, len(ranked) - 1})[:_OVERLAYS]
    by_name, out = {s.name: s for s in samples}, []
    for i in picks:
        image = overlay(r, view, by_name[ranked[i].pose], arm, images[ranked[i].pose])
        ok, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 85])
        text = base64.b64encode(data.tobytes()).decode() if ok else ""
        out.append(
            f"<figure><img width='560' alt='overlay' src='data:image/jpeg;base64,{text}'><figcaption>pose "
            f"{escape(ranked[i].pose)}: "
            f"{ranked[i].rms_px:.3f} px rms. Green: points found. Magenta: where the calibration and the arm's "
            "reading alone "
            "put the board. Red, green, blue: axes of the TCP and of the base, 10 cm.</figcaption></figure>"
        )
    return out

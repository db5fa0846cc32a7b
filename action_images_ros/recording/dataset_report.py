"""The audit of a data set as one HTML file: what was recorded, how evenly, where the arm went, and whether the actions,
drawn into the pictures by the calibration, lie on the arm."""

from __future__ import annotations

import base64
import html
from itertools import islice
from pathlib import Path

import cv2
import numpy as np

from ..codec import ActionEncoding, encode
from ..pictures.sheet import fitted, write
from .convert import Converted
from .lerobot_read import RecordedEpisode, read_dataset

_MOMENTS = 4
_AHEAD = 9
_AHEAD_S = 3.2
_CELL = (320, 240)
_STYLE = """body{font:14px sans-serif;margin:2em;max-width:1400px}table{border-collapse:collapse}
td,th{border:1px solid #bbb;padding:2px 8px;text-align:right}td:first-child,th:first-child{text-align:left}
.bad{background:#fdd}img{max-width:100%}"""


def write_report(path: Path, directory: Path, result: Converted, samples: int) -> None:
    """samples: how many episodes are drawn, evenly out of all."""
    episodes = list(read_dataset(directory))
    chosen = sorted({round(k) for k in np.linspace(0, len(episodes) - 1, min(samples, len(episodes)))})
    parts = [
        f"<h1>{html.escape(str(directory))}</h1>",
        _totals(result),
        _skipped(result),
        "<h2>Where the arm went</h2><p>TCP of every frame in the base frame, from above (x up, y left) and from the "
        "side (x right, z up); grid 10 cm.</p>",
        _picture(coverage(episodes)),
        "<h2>Episodes</h2>",
        _table(result),
        "<h2>Actions in the pictures</h2><p>The next steps of the recorded action, drawn as action images by the "
        "calibration of the episode: they must lie on the gripper and lead where it goes.</p>",
        *(f"<h3>{_title(episodes[k])}</h3>{_picture(episode_sheet(episodes[k]))}" for k in chosen),
    ]
    page = f"<!doctype html><meta charset=utf-8><title>audit</title><style>{_STYLE}</style>{''.join(parts)}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8")


def _title(e: RecordedEpisode) -> str:
    return html.escape(f"episode {e.index}: {e.instruction} ({e.success})")


def _totals(r: Converted) -> str:
    audits = [e.about["audit"] for e in r.episodes]
    marks = [e.about["success"] for e in r.episodes]
    text = (
        f"{len(r.episodes)} episodes, {r.frames} frames at {r.fps:g}/s, {sum(a['duration_s'] for a in audits):.0f} s; "
        f"success {marks.count('success')}, failure {marks.count('failure')}, unknown {marks.count('unknown')}; splits "
        + ", ".join(f"{k} {v}" for k, v in r.splits.items())
    )
    return f"<p>{html.escape(text)}</p>"


def _skipped(r: Converted) -> str:
    rows = "".join(f"<li class=bad>{html.escape(b)}: {html.escape(w)}</li>" for b, w in r.skipped.items())
    return f"<h2>Skipped</h2><ul>{rows}</ul>" if rows else ""


def _table(r: Converted) -> str:
    heads = ("bag", "instruction", "marked", "by", "s", "frames", "unused sets", "repeated", "longest gap s",
             "skew ms median / max", "camera Hz", "notes")  # fmt: skip
    rows = []
    for e in r.episodes:
        a = e.about["audit"]
        cells = (
            Path(e.about["bag"]).name, e.about["instruction"], e.about["success"], ", ".join(e.about["sources"]),
            f"{a['duration_s']:.1f}", e.about["frames"], a["sets_unused"], a["frames_repeated"],
            f"{a['longest_gap_s']:.2f}", f"{a['skew_ms'][0]:.1f} / {a['skew_ms'][1]:.1f}",
            ", ".join(f"{v} {hz:.1f}" for v, hz in a["rates_hz"].items()), "; ".join(a["notes"]),
        )  # fmt: skip
        bad = " class=bad" if a["frames_repeated"] > 0.1 * e.about["frames"] else ""
        rows.append(f"<tr{bad}>" + "".join(f"<td>{html.escape(str(c))}</td>" for c in cells) + "</tr>")
    head = "".join(f"<th>{h}</th>" for h in heads)
    return f"<table><tr>{head}</tr>{''.join(rows)}</table>"


def coverage(episodes: list[RecordedEpisode], px: int = 420) -> np.ndarray:
    """Two views of all TCP positions, (px, 2 px, 3) uint8."""
    p = np.concatenate([e.base_T_tcps[:, :3, 3] for e in episodes])
    centre, half = (p.min(0) + p.max(0)) / 2, max(0.15, float(np.ptp(p, axis=0).max()) * 0.55)
    out = np.full((px, 2 * px, 3), 255, np.uint8)
    for column, (right, up) in enumerate((((1, -1), (0, 1)), ((0, 1), (2, 1)))):
        at = [px / 2 + sign * (p[:, axis] - centre[axis]) / half * px / 2 for axis, sign in (right, up)]
        for axis, horizontal in ((right[0], True), (up[0], False)):
            for tick in np.arange(np.ceil((centre[axis] - half) * 10), (centre[axis] + half) * 10 + 1):
                sign = right[1] if horizontal else up[1]
                k = int(px / 2 + sign * (tick / 10 - centre[axis]) / half * px / 2)
                if 0 <= k < px and horizontal:
                    out[:, column * px + k] = 225
                elif 0 <= k < px:
                    out[px - 1 - k, column * px : (column + 1) * px] = 225
        for x, y in zip(at[0], at[1]):
            cv2.circle(out, (column * px + int(x), px - 1 - int(y)), 2, (30, 90, 200), -1)
    return out


def episode_sheet(e: RecordedEpisode) -> np.ndarray:
    """Row = view, column = moment: the picture with the blobs of the next action steps over it."""
    n = len(e.openness)
    moments = sorted({int(k) for k in np.linspace(0, n - 1, _MOMENTS)})
    step = max(1, round(_AHEAD_S * e.fps / (_AHEAD - 1)))
    rows = []
    for view, camera in e.cameras.items():
        small = camera.resized((camera.image_size[0] // 2, camera.image_size[1] // 2))
        wanted, cells = set(moments), []
        for k, frame in enumerate(islice(e.frames(view), n)):
            if k in wanted:
                ahead = np.minimum(k + step * np.arange(_AHEAD), n - 1)
                drawn = encode(e.base_T_tcps[ahead], e.openness[ahead], [small], ActionEncoding())[:, 0]
                cells.append(_labelled(_blended(frame, drawn), f"{view} {k / e.fps:.1f} s"))
        rows.append(np.hstack(cells))
    return np.vstack(rows)


def _blended(frame: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """drawn (T, h, w, 3): the brightest of each colour over time; what is only the gripper's pedestal is left out."""
    blobs = np.where(drawn > 80, drawn, 0).max(0)
    blobs = cv2.resize(blobs, (frame.shape[1], frame.shape[0]), interpolation=cv2.INTER_LINEAR).astype(np.float32)
    weight = blobs.max(-1, keepdims=True) / 255.0 * 0.75
    return np.clip(frame * (1 - weight) + blobs * weight, 0, 255).astype(np.uint8)


def _labelled(picture: np.ndarray, text: str) -> np.ndarray:
    out = fitted(picture, _CELL)
    out[-18:] = 255
    write(out, text, (4, out.shape[0] - 5))
    return out


def _picture(image: np.ndarray) -> str:
    good, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88])
    return f"<img src='data:image/jpeg;base64,{base64.b64encode(data.tobytes()).decode()}'>" if good else ""

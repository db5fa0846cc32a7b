"""`action-images generate`: any mode of a model on pictures, videos or a recorded episode, without a robot.

Writes into --out: trajectory.csv and trajectory.png (the targets), action_images.png and video.png (the model's own
pixels, row = step, column = view), generated.mp4 (every view's video beside its action images), overlay.mp4 and
overlay.png (the targets drawn over the pictures), summary.json.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from ..ros.paths import config_file
from . import generate_inputs
from .generate_inputs import Request

_VIEW_PX = 384
_PLAYED_HZ = 10.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", type=config_file, default="models/reach", help="model directory (%(default)s)")
    parser.add_argument("--mode", default="policy", help="policy, joint, world, label or video (%(default)s)")
    generate_inputs.add_arguments(parser)
    parser.add_argument("--engine", default="auto", help="inference engine (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the noise that it starts from (%(default)s)")
    parser.add_argument("--out", type=Path, required=True, help="directory for the results")
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")


def run(args: argparse.Namespace) -> int:
    from ..model.canvas import Mode
    from ..policy import ActionImagePolicy

    mode = Mode.parse(args.mode)
    policy = ActionImagePolicy.from_pretrained(args.model, engine=args.engine)
    request = generate_inputs.read_request(args, mode, policy.config)
    made = policy.generate_mode(mode, request.frames, request.base_T_tcps, request.openness, request.instruction,
                                args.seed)
    args.out.mkdir(parents=True, exist_ok=True)
    summary = {"model": str(args.model), "engine": policy.engine, "mode": mode.value, "seed": args.seed,
               "instruction": request.instruction, "dt_s": policy.config.dt_s, "views": list(request.frames[0].views)}
    summary |= _write_numbers(args.out, made, request, policy.config.dt_s)
    _write_pictures(args.out, made, request, policy.config.dt_s)
    summary["files"] = sorted(p.name for p in args.out.iterdir())
    (args.out / "summary.json").write_text(json.dumps(summary, indent=1) + "\n")
    print(json.dumps(summary, indent=1) if args.json else _describe(summary, args.out))
    return 0


def _write_numbers(out: Path, made, request: Request, dt_s: float) -> dict:
    """Trajectory as CSV and plot; returns what the summary says of it."""
    from ..metrics.actions import angle_error_rad, bridged, position_error_m
    from ..pictures.plot import plot_trajectory
    from ..trajectory_csv import write_trajectory

    found: dict = {}
    if made.chunk is not None:
        write_trajectory(out / "trajectory.csv", made.chunk, dt_s)
        truth = request.truth
        poses = None if truth is None else truth.base_T_tcps
        plot = plot_trajectory(made.chunk, dt_s, request.instruction, poses, None if truth is None else truth.openness)
        save(out / "trajectory.png", plot)
        found["steps"], found["credible_steps"] = len(made.chunk), int(made.chunk.credible.sum())
        if poses is not None and len(request.base_T_tcps) < len(poses):
            went = bridged(made.chunk)
            found["mean_error_mm"] = round(float(1e3 * position_error_m(poses, went)[1:].mean()), 2)
            found["mean_error_deg"] = round(float(np.degrees(angle_error_rad(poses, went)[1:].mean())), 2)
    if request.truth_video and made.video is not None and len(request.frames) == 1:
        found |= _video_likeness(made, request)
    return found


def _video_likeness(made, request: Request) -> dict:
    from ..metrics.images import video_scores

    truth = np.stack([np.stack(frames.images) for frames in request.truth_video])
    if truth.shape != made.video.shape:
        return {}
    scores = video_scores(truth, made.video)
    return {"psnr_db": round(scores.psnr_db, 2), "ssim": round(scores.ssim, 4), "gmsd": round(scores.gmsd, 4)}


def _write_pictures(out: Path, made, request: Request, dt_s: float) -> None:
    from ..overlay import enlarged
    from ..pictures.sheet import tiled
    from ..pictures.video_file import write_mp4

    steps = len(made.video if made.action_images is None else made.action_images.images)
    views = range(len(request.frames[0].views))
    hold = max(1, round(_PLAYED_HZ * dt_s))
    parts = []  # of every view its video, then its action images: T pictures each
    for v in views:
        if made.video is not None:
            parts.append([enlarged(frame, _VIEW_PX) for frame in made.video[:, v]])
        if made.action_images is not None:
            parts.append([enlarged(frame, _VIEW_PX) for frame in made.action_images.images[:, v]])
    if made.video is not None:
        save(out / "video.png", tiled(made.video))
    if made.action_images is not None:
        save(out / "action_images.png", tiled(made.action_images.images))
    _play(write_mp4, out / "generated.mp4", parts, steps, hold)
    over = [_overlays(made, request, v, steps) for v in views]
    _play(write_mp4, out / "overlay.mp4", over, steps, hold)
    save(out / "overlay.png", _sheet(made, request, over, steps, dt_s))


def _play(write_mp4, path: Path, parts: list, steps: int, hold: int) -> None:
    """Parts beside each other, every step for `hold` frames."""
    write_mp4(path, [frame for k in range(steps) for frame in [np.hstack([p[k] for p in parts])] * hold], _PLAYED_HZ)


def _overlays(made, request: Request, view: int, steps: int) -> list[np.ndarray]:
    """The targets up to each step over the picture of that step: generated if there is one, else given."""
    from ..overlay import draw_chunk

    out = []
    for k in range(steps):
        if made.video is not None and len(request.frames) == 1:
            camera = made.video_cameras[view].resized((_VIEW_PX, _VIEW_PX))
            image = cv2.resize(made.video[k, view], camera.image_size, interpolation=cv2.INTER_CUBIC)
        else:
            frames = request.frames[min(k, len(request.frames) - 1)]
            image, camera = _of_height(frames.images[view], frames.cameras[view])
        out.append(image if made.chunk is None else draw_chunk(image, _first(made.chunk, k + 1), camera))
    return out


def _of_height(image: np.ndarray, camera) -> tuple[np.ndarray, object]:
    """A small picture and its camera at _VIEW_PX px; one that is large enough as it is."""
    width, height = camera.image_size
    if height >= _VIEW_PX:
        return image, camera
    large = camera.resized((round(width * _VIEW_PX / height), _VIEW_PX))
    return cv2.resize(image, large.image_size, interpolation=cv2.INTER_CUBIC), large


def _first(chunk, n: int):
    return replace(chunk, base_T_tcps=chunk.base_T_tcps[:n], openness=chunk.openness[:n],
                   covariance=chunk.covariance[:n], reproj_rms_px=chunk.reproj_rms_px[:n],
                   credible=chunk.credible[:n], why=chunk.why[:n])


def _sheet(made, request: Request, over: list, steps: int, dt_s: float) -> np.ndarray:
    from ..overlay import enlarged
    from ..pictures.sheet import contact_sheet

    rows = []
    for v, view in enumerate(request.frames[0].views):
        if request.truth_video:
            rows.append((f"{view}\nrecorded", [f.images[v] for f in request.truth_video]))
        said = "generated" if made.video is not None and len(request.frames) == 1 else "given"
        rows.append((f"{view}\n{said},\ntargets drawn", over[v]))
        if made.action_images is not None:
            rows.append((f"{view}\naction images", [enlarged(a, 144) for a in made.action_images.images[:, v]]))
    return contact_sheet(rows, [f"{k * dt_s:.1f} s" for k in range(steps)])


def save(path: Path, image: np.ndarray) -> None:
    """RGB -> file."""
    cv2.imwrite(str(path), np.ascontiguousarray(image[..., ::-1]))


def _describe(summary: dict, out: Path) -> str:
    lines = [f"mode {summary['mode']} on {summary['engine']}: {summary['instruction']!r}"]
    if "steps" in summary:
        lines.append(f"{summary['credible_steps']} of {summary['steps']} steps credible")
    if "mean_error_mm" in summary:
        lines.append(f"mean error against the recording: {summary['mean_error_mm']:.1f} mm, "
                     f"{summary['mean_error_deg']:.1f} deg")
    if "psnr_db" in summary:
        lines.append(f"video against the recording: PSNR {summary['psnr_db']:.2f} dB, SSIM {summary['ssim']:.3f}, "
                     f"GMSD {summary['gmsd']:.3f}")
    return "\n".join([*lines, f"wrote {', '.join(summary['files'])} to {out}"])

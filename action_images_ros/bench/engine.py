"""Denoiser speed on this machine: latency by stage, operations, share of the measured matrix peak, memory.

Weights are random (--size) or a model directory's (--model). Every figure is of this run on this device; a part that
could not run is listed with its reason. The share of the peak counts the operations of the method's forward pass; that
of the operations really executed (the fused transformer needs fewer) is in the JSON.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

from ..errors import ConfigError, one_of, pip_install
from ..model.canvas import Mode
from ..model.config import ModelConfig

AUTHORS_S = {"published, one H100": 49.0, "published, eight H100, cached": 2.3}
_SIZES = ("full", "small", "tiny")
_VARIANTS = ("eager", "eager+graph", "compile", "compile+graph", "fp8+compile+graph")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", type=Path, metavar="DIR", help="a model directory; default: random weights")
    parser.add_argument("--size", choices=_SIZES, default="full", help="of the random model (%(default)s)")
    parser.add_argument("--image", type=int, nargs="+", default=[512], metavar="PX", help="image sides (512)")
    parser.add_argument("--frames", type=int, default=41, help="action steps of a chunk, 4 q + 1 (%(default)s)")
    parser.add_argument("--views", type=int, default=2)
    parser.add_argument("--mode", nargs="+", default=["policy"], help="modes (policy)")
    parser.add_argument("--variants", nargs="+", metavar="NAME", help=f"of {', '.join(_VARIANTS)}; default: all that "
                        "the device has for the first shape, the compiled ones for the others")
    parser.add_argument("--nfe", type=int, nargs="+", default=[1, 4, 16], help="denoising steps (1 4 16)")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--threads", type=int, help="processor threads")
    parser.add_argument("--no-vae", action="store_true", help="leave out the VAE and whole chunks")
    parser.add_argument("--budget-s", type=float, default=1e9, help="begin nothing new after so many seconds")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures there, after every part")


def run(args: argparse.Namespace) -> int:
    try:
        from .engine_session import Session
    except ImportError as e:
        raise ConfigError(f"bench engine needs {e.name}: {pip_install('train')}") from e
    if min(args.nfe) < 1 or min(args.image) < 1:
        raise ConfigError(f"--nfe {args.nfe} and --image {args.image} must be positive")
    for name in args.variants or ():
        one_of("variant", name, _VARIANTS, ConfigError)
    modes = tuple(Mode.parse(name) for name in args.mode)
    session = Session(args, modes, time.monotonic)
    for part in session.parts():
        print(f"  {part}", flush=True)
        _save(session.report, args.json)
    _save(session.report, args.json)
    print(table(session.report))
    return 0


def _save(report: dict, path: Path | None) -> None:
    """After every part: what was measured survives whatever ends the process."""
    if path is not None:
        path.write_text(json.dumps(report, indent=1) + "\n")


def load_config(args: argparse.Namespace) -> ModelConfig:
    """Of the model directory, or of the random model at the first image size."""
    if args.model is None:
        from .engine_model import config_of

        return config_of(args.size, args.image[0], args.frames, args.views)
    return ModelConfig.load(args.model)


def table(report: dict) -> str:
    machine, peak = report["machine"], report["peak_tflop_s"]
    lines = [f"{report['model']} on {machine['device']} ({machine['processor']}, {machine['cores']} cores), torch "
             f"{machine['torch']}, weights {report['weights']}",
             "matrix product peak, measured: " + ", ".join(f"{k} {v:.1f} TFLOP/s" for k, v in peak.items())]
    lines += ["", f"{'canvas':30s} {'variant':18s} {'NFE':>4s} {'s':>9s} {'ms/NFE':>9s} {'TFLOP/s':>8s} "
              f"{'of bf16':>8s} {'GiB':>6s} {'first s':>8s}"]
    for r in report["denoising"]:
        share = f"{r['of_peak']['bf16'] * 100:7.1f}%" if "of_peak" in r else f"{'-':>8s}"
        speed = f"{r['tflop_s']:8.1f}" if "tflop_s" in r else f"{'-':>8s}"
        lines.append(f"{r['shape']:30s} {r['variant']:18s} {r['nfe']:4d} {r['seconds']:9.4f} "
                     f"{1e3 * r['seconds_per_nfe']:9.2f} {speed} {share} {r['memory_gib']:6.1f} "
                     f"{r['first_seconds']:8.1f}" + ("" if r["finite"] else "  NOT FINITE"))
    lines += [""] + [f"{name}: velocity cosine {v['cosine']:.6f}, difference {v['relative_rms']:.2e} of its rms"
                     for name, v in report["likeness"].items()]
    lines += [f"self-attention {shape}: " + ", ".join(f"{k} {v:.3f} ms" for k, v in ms.items())
              for shape, ms in report["attention_ms"].items() if ms]
    lines += [f"VAE {name}: encode {v['encode']:.3f} s, decode {v['decode']:.3f} s"
              for name, v in report["vae"].items()]
    if report["chunks"]:
        lines += ["", f"{'whole chunk, images to action images':50s} {'s':>8s} {'+ blobs':>8s} {'VAE share':>10s}"]
        for r in report["chunks"]:
            lines.append(f"{r['name']:50s} {r['seconds']:8.3f} {r['with_blobs']:8.3f} {100 * r['vae_share']:9.0f}%")
        lines += [f"{name:50s} {value:8.3f}" for name, value in AUTHORS_S.items()]
    lines += [""] + [f"could not run: {fault}" for fault in report["faults"]]
    return "\n".join(lines).rstrip()

"""`action-images compile`: build a model's inference engine, verify it against torch, measure it.

tensorrt, tensorrt-rtx: an engine file in the trusted directory (--engine-dir), with a manifest of what it was built
from and for. onnxruntime, openvino: the exported graph beside the weights. torch-compile: nothing is stored.
Exit status 1 where the verification fails.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

_ENGINES = ("tensorrt", "tensorrt-rtx", "onnxruntime", "openvino", "torch-compile")
_BUILT = ("tensorrt", "tensorrt-rtx")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=Path, metavar="MODEL_DIR")
    parser.add_argument("--engine", required=True, choices=_ENGINES)
    parser.add_argument("--precision", default="auto", help="auto, fp32, bf16, fp16 or fp8 (%(default)s)")
    parser.add_argument("--engine-dir", type=Path, metavar="DIR", help="trusted directory of engine files")
    parser.add_argument("--target", type=int, nargs="+", default=[], metavar="SM", help="tensorrt-rtx: build for these "
                        "compute capabilities, such as 86 89 120, without a GPU; verify on the machine that has one")
    parser.add_argument("--verify-only", action="store_true", help="verify and measure what is built already")
    parser.add_argument("--build-only", action="store_true", help="build and do not verify (there is no GPU here)")
    parser.add_argument("--episodes", type=Path, help="real canvases from recorded shards; default: simulated cell")
    parser.add_argument("--task", default="reach_target", help="task of the simulated scenes (%(default)s)")
    parser.add_argument("--observations", type=int, default=8, help="real canvases (%(default)s)")
    parser.add_argument("--threads", type=int, help="processor threads")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the report there too")


def run(args: argparse.Namespace) -> int:
    from ..engines import EngineOptions, Precision
    from ..errors import ConfigError, EngineError, pip_install
    from ..model.config import ModelConfig

    if args.build_only and args.verify_only:
        raise ConfigError("--build-only and --verify-only exclude each other")
    if args.target and args.engine != "tensorrt-rtx":
        raise ConfigError(f"--target is for tensorrt-rtx; engine {args.engine} is built for the GPU of this machine")
    config = ModelConfig.load(args.model)
    options = EngineOptions(args.threads, Precision.parse(args.precision), engine_dir=args.engine_dir)
    report = {"model": str(args.model), "engine": args.engine, "precision": options.precision.value}
    try:
        if not args.verify_only:
            report |= _build(args, config, options)
        if not args.build_only and not args.target:
            report |= _verify(args, config, options)
    except ModuleNotFoundError as e:
        raise EngineError(f"compile needs {e.name}: {pip_install('train')}") from e
    if args.json is not None:
        args.json.write_text(json.dumps(report, indent=1) + "\n")
    print(_table(report))
    return 1 if report.get("passed") is False else 0


def _build(args: argparse.Namespace, config, options) -> dict:
    from ..engines.base import ENGINES
    from ..engines.graph import serves
    from ..errors import EngineError

    if args.engine == "torch-compile":
        return {}
    if config.denoiser == "conv_canvas" and serves(args.model):
        from ..engines.export import export_graphs

        export_graphs(args.model)
    if args.engine not in _BUILT:
        if config.denoiser == "wan":
            raise EngineError(f"denoiser wan is not served by {args.engine}; legal: {', '.join(_BUILT)}, torch-compile")
        return {"stored": str(args.model)}
    import importlib

    from ..engines.plans import build_engines

    missing = importlib.import_module(ENGINES[args.engine]).available()
    if missing:
        raise EngineError(missing)
    folder = build_engines(args.model, config, args.engine, options, tuple(args.target))
    return {"stored": str(folder), "bytes": {p.name: p.stat().st_size for p in sorted(folder.glob("*.plan"))}}


def _verify(args: argparse.Namespace, config, options) -> dict:
    from ..bench.engine_check import compare, fitting
    from ..bench.observations import recorded, rendered
    from ..engines import EngineOptions, Precision
    from ..engines.store import LEAST_COSINE
    from ..policy import ActionImagePolicy

    other = _policy(args, config, options)
    seen = (recorded(args.episodes, args.observations, 0) if args.episodes
            else rendered(args.task, config.views, args.observations, 0))
    reference = ActionImagePolicy.from_pretrained(
        args.model, "torch", EngineOptions(args.threads, Precision.F32, options.device))
    found = compare(reference, other, fitting(seen, config.image_size[0]))
    if args.engine in _BUILT:
        from ..engines.plans import found_folder, note

        folder = found_folder(args.engine, args.model, options)
        assert folder is not None, "just built or used"
        note(folder, found.checks(), found.timings())
    return found.checks() | found.timings() | {"passed": found.cosine >= LEAST_COSINE}


def _policy(args: argparse.Namespace, config, options):
    from ..model.pipeline import Pipeline
    from ..policy import ActionImagePolicy

    if args.engine not in _BUILT:
        return ActionImagePolicy.from_pretrained(args.model, args.engine, options)
    from ..engines.plans import load

    denoiser = load(args.engine, args.model, config, replace(options), verified=False)
    return ActionImagePolicy(config, Pipeline.from_directory(args.model, config, denoiser), args.engine)


def _table(report: dict) -> str:
    lines = [f"{report['model']} on {report['engine']} {report['precision']}"]
    if "stored" in report:
        lines.append(f"  stored in {report['stored']}")
    lines += [f"  {name:28s} {size / 1e6:9.1f} MB" for name, size in report.get("bytes", {}).items()]
    if "cosine" not in report:
        return "\n".join([*lines, "  not verified: run again with --verify-only on the machine that is to use it"])
    drift = report["drift"]
    lines.append(f"  cosine of the velocity, least of {report['observations']} canvases: {report['cosine']:.6f}")
    lines.append("  decoded drift: no step is credible in both, the model is untrained" if drift is None else
                 f"  decoded drift: {drift['median_mm']:.3f} mm, {drift['median_deg']:.3f} deg (median), "
                 f"{drift['p95_mm']:.3f} mm, {drift['p95_deg']:.3f} deg (95 %)")
    lines.append(f"  chunk {report['chunk_ms']:.1f} ms, torch {report['reference_chunk_ms']:.1f} ms")
    return "\n".join([*lines, "  passed" if report["passed"] else "  FAILED: it will not be used"])

"""`action-images export`: the denoiser's graph for inference without torch."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

HELP = "export a model's graph, so that it runs without torch"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=Path, metavar="MODEL_DIR",
                        help="directory with config.json and model.safetensors")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def run(args: argparse.Namespace) -> int:
    from ..errors import EngineError, pip_install
    from ..model.config import ModelConfig

    ModelConfig.load(args.model)
    try:
        from ..engines.export import export_graphs, remove_graphs
        from ..engines.verify import verify_graphs
    except ModuleNotFoundError as e:
        raise EngineError(f"export needs {e.name}: {pip_install('train')}") from e
    manifest = export_graphs(args.model)
    try:
        checks = verify_graphs(args.model)
    except EngineError as e:
        remove_graphs(args.model)
        raise EngineError(f"the export was removed: {e}") from e
    files = {g.file: (args.model / g.file).stat().st_size for g in manifest.graphs}
    report = {"model": str(args.model), "opset": manifest.opset, "torch": manifest.torch, "bytes": files,
              "relative_error": checks}
    print(json.dumps(report, indent=1) if args.json else _table(report))
    return 0


def _table(report: dict) -> str:
    lines = [f"{report['model']}: opset {report['opset']}, torch {report['torch']}"]
    lines += [f"  {name:20s} {size / 1e3:7.1f} kB" for name, size in report["bytes"].items()]
    errors = report["relative_error"]
    lines += [f"  {name:20s} differs from torch by {error:.1e} of the output" for name, error in errors.items()]
    return "\n".join(lines + ([] if errors else ["  not verified: neither openvino nor onnxruntime is installed"]))

"""`action-images convert`: a published Wan or action-weights checkpoint -> a transformer folder of this package."""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path

HELP = "convert a published transformer checkpoint into this package's layout"
_DTYPES = ("float32", "float16", "bfloat16")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", type=Path, help="torch file, .safetensors file, or folder of safetensors shards: the "
                                                  "released action weights, or a plain Wan2.2-TI2V transformer")
    parser.add_argument("out", type=Path, help="folder to write; must not exist")
    parser.add_argument("--convention", choices=["project", "release"],
                        help="axes of the camera rays the weights expect (default: release for weights with camera "
                             "modules, project for those without)")
    parser.add_argument("--heads", type=int, help="attention heads, where neither config.json nor the width tells")
    parser.add_argument("--section", help="which set of weights of a torch file that holds several, e.g. ema")
    parser.add_argument("--dtype", choices=_DTYPES, help="stored precision (default: as in the source)")
    parser.add_argument("--shard-gb", type=float, default=4.0, help="largest file, and memory needed (%(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the report there too")


def run(args: argparse.Namespace) -> int:
    from ..errors import ConfigError

    if args.shard_gb <= 0 or (args.heads is not None and args.heads < 1):
        raise ConfigError(f"--shard-gb is {args.shard_gb} and --heads {args.heads}; both must be positive")
    try:
        import torch

        from ..model.wan.convert import convert
        from ..model.wan.rays import RayConvention
    except ImportError as e:
        raise ConfigError(f"convert needs torch, diffusers and safetensors ({e}); "
                          "install them with `pip install 'action_images_ros[train]'`") from e

    convention = None if args.convention is None else RayConvention.parse(args.convention)
    dtype = None if args.dtype is None else getattr(torch, args.dtype)
    report = convert(args.source, args.out, convention, args.heads, args.section, dtype, int(args.shard_gb * 1024**3),
                     lambda done, total: print(f"file {done} of {total}", flush=True))
    print(f"{args.out}: {report.kind.value} checkpoint with {report.style.value} names, "
          f"{report.parameters / 1e9:.3f} G parameters in {report.shards} files")
    print(f"  {report.tensors_read} tensors read, {report.tensors_created} created, "
          f"rays in the {report.ray_convention.value} convention")
    if report.left_out:
        print(f"  left out of the torch file, not weights of this model: {', '.join(report.left_out)}")
    if args.json is not None:
        args.json.write_text(json.dumps(dataclasses.asdict(report), indent=2) + "\n")
    return 0

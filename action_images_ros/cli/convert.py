"""`action-images convert`: a published Wan or action-weights checkpoint -> a model directory of this package.

Writes OUT/transformer, OUT/config.json and, from --parts, the VAE, text encoder and tokenizer that the model runs with.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import shutil
from pathlib import Path

_DTYPES = ("float32", "float16", "bfloat16")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", type=Path, help="torch file, .safetensors file, or folder of safetensors shards: the "
                                                  "released action weights, or a plain Wan2.2-TI2V transformer")
    parser.add_argument("out", type=Path, help="model directory to write; must not exist")
    parser.add_argument("--convention", choices=["project", "release"],
                        help="axes of the camera rays the weights expect (default: release for weights with camera "
                             "modules, project for those without)")
    parser.add_argument("--heads", type=int, help="attention heads, where neither config.json nor the width tells")
    parser.add_argument("--section", help="which set of weights of a torch file that holds several, e.g. ema")
    parser.add_argument("--dtype", choices=_DTYPES, help="stored precision (default: as in the source)")
    parser.add_argument("--shard-gb", type=float, default=4.0, help="largest file, and memory needed (%(default)s)")
    parser.add_argument("--parts", type=Path, metavar="DIR", help="folder of Wan2.2-TI2V in diffusers' layout, whose "
                        "vae, text_encoder and tokenizer the model uses: linked, not copied")
    parser.add_argument("--copy", action="store_true", help="copy --parts instead of linking them")
    parser.add_argument("--transformer-only", action="store_true", help="write the transformer's folder alone, as OUT")
    parser.add_argument("--views", type=int, default=2, help="cameras on the canvas (%(default)s)")
    parser.add_argument("--frames", type=int, default=41, help="action steps of a chunk, 4 q + 1 (%(default)s)")
    parser.add_argument("--image", type=int, default=512, metavar="PX", help="side of the model's images (%(default)s)")
    parser.add_argument("--dt-s", type=float, default=0.1, help="seconds between action steps in the data that the "
                        "weights were trained on, which they do not tell (%(default)s)")
    parser.add_argument("--steps", type=int, default=50, help="denoising steps (%(default)s)")
    parser.add_argument("--guidance", type=float, default=5.0, help="guidance scale, 1 = none (%(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the report there too")


def run(args: argparse.Namespace) -> int:
    from ..errors import ConfigError, ModelError, pip_install

    if args.shard_gb <= 0 or (args.heads is not None and args.heads < 1):
        raise ConfigError(f"--shard-gb is {args.shard_gb} and --heads {args.heads}; both must be positive")
    try:
        import torch

        from ..model.wan.convert import convert
        from ..model.wan.directory import complete
        from ..model.wan.rays import RayConvention
    except ImportError as e:
        raise ConfigError(f"convert needs torch, diffusers and safetensors ({e}); "
                          f"install them with `{pip_install('train')}`") from e

    convention = None if args.convention is None else RayConvention.parse(args.convention)
    dtype = None if args.dtype is None else getattr(torch, args.dtype)
    folder = args.out if args.transformer_only else args.out / "transformer"
    if args.out.exists():
        raise ModelError(f"{args.out} exists already; remove it or choose another folder")
    try:
        report = convert(args.source, folder, convention, args.heads, args.section, dtype,
                         int(args.shard_gb * 1024**3), lambda done, total: print(f"file {done} of {total}", flush=True))
        missing = [] if args.transformer_only else complete(args.out, _use(args), args.parts, args.copy)
    except BaseException:
        shutil.rmtree(args.out, ignore_errors=True)
        raise
    print(f"{args.out}: {report.kind.value} checkpoint with {report.style.value} names, "
          f"{report.parameters / 1e9:.3f} G parameters in {report.shards} files")
    print(f"  {report.tensors_read} tensors read, {report.tensors_created} created, "
          f"rays in the {report.ray_convention.value} convention")
    if report.left_out:
        print(f"  left out of the torch file, not weights of this model: {', '.join(report.left_out)}")
    if not args.transformer_only:
        print(f"  config.json says {args.views} views of {args.image} px, {args.frames} steps {args.dt_s} s apart: "
              "correct it where the weights were trained otherwise")
    if missing:
        print(f"  still to be put there, from Wan2.2-TI2V in diffusers' layout: {', '.join(missing)}")
    if args.json is not None:
        args.json.write_text(json.dumps(dataclasses.asdict(report) | {"missing": missing}, indent=2) + "\n")
    return 0


def _use(args: argparse.Namespace):
    from ..model.wan.directory import Use

    return Use(args.views, args.frames, args.image, args.dt_s, args.steps, guidance_scale=args.guidance)

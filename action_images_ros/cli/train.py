"""`action-images train`: episodes -> a model directory."""

from __future__ import annotations

import argparse
import dataclasses
import os
import time
from pathlib import Path

HELP = "train a denoiser on collected episodes"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data", type=Path, required=True, help="directory of episode shards (action-images sim collect)"
    )
    parser.add_argument("--validation", type=Path, help="directory of held-out episode shards")
    parser.add_argument("--out", type=Path, required=True, help="model directory to write")
    parser.add_argument(
        "--samples", type=int, default=40_000, help="canvases until the learning rate is zero (%(default)s)"
    )
    parser.add_argument(
        "--minutes", type=float, default=float("inf"), help="the same as a time budget; whichever comes first"
    )
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--learning-rate", type=float, default=6e-4)
    parser.add_argument(
        "--mode-mix", default="policy=0.6,joint=0.2,world=0.1,label=0.1", help="share of each mode (%(default)s)"
    )
    parser.add_argument("--config", type=Path, metavar="MODEL_DIR",
                        help="directory whose config.json, VAE and text encoder to train with (any denoiser), "
                             "instead of the small one in the sizes below")
    parser.add_argument("--width", type=int, default=192)
    parser.add_argument("--channels", type=int, default=64)
    parser.add_argument("--blocks", type=int, default=5)
    parser.add_argument("--heads", type=int, default=3)
    parser.add_argument("--frame-channels", type=int, default=32, help="of each future frame on its own (%(default)s)")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--episodes", type=int, help="read at most this many episodes")
    parser.add_argument(
        "--every", type=int, default=2_000, help="samples between validations and checkpoints (%(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--start-from", type=Path, help="model directory whose weights to train on")
    parser.add_argument("--distil", type=Path, metavar="TEACHER",
                        help="model directory: train its weights on to need fewer denoising steps")
    parser.add_argument("--student-steps", type=int, default=1, help="of the distilled model (%(default)s)")
    parser.add_argument("--teacher-steps", type=int, default=4, help="of the teacher, a multiple (%(default)s)")
    parser.add_argument("--resume", action="store_true", help="go on where the checkpoint in --out left off")


def run(args: argparse.Namespace) -> int:
    import torch

    from ..training.data import CanvasSource, load_episodes

    torch.set_num_threads(args.threads)
    trainer = _trainer(args)
    source, model = trainer.source, trainer.model_config
    files = args.config or args.distil
    held_out = None
    if args.validation:
        held_out = CanvasSource(load_episodes(args.validation, None, model, "val"), model, files)
    size = sum(p.numel() for p in trainer.model.parameters()) / 1e6
    print(
        f"{len(source.episodes)} episodes, {size:.1f} M parameters, {args.threads} threads, modes {args.mode_mix}",
        flush=True,
    )
    last = time.monotonic()
    began, first = time.monotonic(), trainer.samples

    def show(progress) -> None:
        nonlocal last
        if time.monotonic() - last < 20 and progress.share < 1:
            return
        last = time.monotonic()
        losses = " ".join(f"{k} {v:.4f}" for k, v in progress.losses.items())
        rate = (progress.samples - first) / (last - began)
        print(f"{progress.share:6.1%}  {progress.samples:7d} samples  {rate:5.1f}/s  {losses}", flush=True)

    def validate(averaged) -> dict[str, float]:
        if held_out is None:
            return {}
        from ..training.validate import chunk_errors, first_windows, random_windows

        summary = chunk_errors(averaged, held_out, random_windows(held_out, 64, seed=1), seed=1).summary(hit_m=0.03)
        first = chunk_errors(averaged, held_out, first_windows(held_out, 64), seed=1).summary(hit_m=0.03)
        summary |= {"val_first_mm": first["val_last_mm"], "val_first_hit": first["val_last_hit"]}
        print("  held out: " + "  ".join(f"{k} {v:.3g}" for k, v in summary.items()), flush=True)
        return summary

    trainer.run(show, validate, args.every)
    _draw_course(args.out)
    print(f"wrote {args.out}: weights, config.json, log.jsonl, curve.png")
    return 0


def _trainer(args: argparse.Namespace):
    """The run that the arguments describe, ready to go."""
    from ..errors import ConfigError
    from ..model.factory import copy_frozen_parts
    from ..training.data import CanvasSource, load_episodes
    from ..training.loop import TrainConfig, Trainer
    from ..training.loss import LossConfig

    try:
        mix = {k: float(v) for k, v in (item.split("=") for item in args.mode_mix.split(","))}
    except ValueError:
        raise ConfigError(f"--mode-mix is {args.mode_mix!r}; expected like policy=0.7,joint=0.3") from None
    if args.distil and (args.config or args.start_from):
        raise ConfigError("--distil takes sizes and weights from the teacher; leave out --config and --start-from")
    model, files, start = _model_config(args, tuple(mix)), args.config or args.distil, args.start_from or args.distil
    config = TrainConfig(samples=args.samples, minutes=args.minutes, batch_size=args.batch_size,
                         learning_rate=args.learning_rate, seed=args.seed, mode_mix=mix,
                         loss=LossConfig(shift=model.sampler.shift))
    source = CanvasSource(load_episodes(args.data, args.episodes, model), model, files)
    loss = _distillation(args, config.loss) if args.distil else None
    trainer = Trainer(source, model, config, args.out, time.monotonic, loss)
    if files:
        copy_frozen_parts(files, args.out)
    if start:
        new = trainer.start_from(start)
        if new:
            print(f"{len(new)} parameters are not in {start} and start anew: {', '.join(new[:4])} ...")
    if args.resume:
        trainer.resume()
    return trainer


def _distillation(args: argparse.Namespace, loss):
    from ..engines.torch_eager import load_denoiser
    from ..model.config import ModelConfig
    from ..training.distil import DistilConfig, Distillation

    teacher = ModelConfig.load(args.distil)
    steps = DistilConfig(args.student_steps, args.teacher_steps)
    return Distillation(load_denoiser(args.distil, teacher), steps, loss, teacher.sampler)


def _draw_course(out: Path) -> None:
    import json

    import cv2

    from ..pictures.curve import training_curve

    rows = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    cv2.imwrite(str(out / "curve.png"), training_curve(rows)[..., ::-1])


def _model_config(args: argparse.Namespace, modes: tuple[str, ...]):
    from ..model.config import ConvCanvasConfig, ModelConfig

    if args.distil:
        teacher = ModelConfig.load(args.distil)
        sampler = dataclasses.replace(teacher.sampler, denoising_steps=args.student_steps)
        return dataclasses.replace(teacher, modes=modes, sampler=sampler)
    if args.config:
        return dataclasses.replace(ModelConfig.load(args.config), modes=modes)
    size = ConvCanvasConfig(args.width, args.channels, args.blocks, args.heads, frame_channels=args.frame_channels)
    return ModelConfig(modes=modes, conv_canvas=size)

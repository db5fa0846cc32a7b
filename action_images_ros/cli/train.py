"""`action-images train`: episodes -> a model directory. One process, or several: `accelerate launch -m
action_images_ros.cli train ...`."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import time
from pathlib import Path

HELP = "train a denoiser on collected or recorded episodes"
_SIZES = ("width", "channels", "blocks", "heads", "frame_channels")
_WINDOWS, _SHOWN = 64, 4


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, required=True,
                        help="episode shards (action-images sim collect) or a data set (action-images dataset)")
    parser.add_argument("--validation", type=Path, help="held-out shards, or a data set, whose split val is taken")
    parser.add_argument("--out", type=Path, required=True, help="model directory to write")
    parser.add_argument("--samples", type=int, default=40_000,
                        help="canvases until the learning rate is zero (%(default)s)")
    parser.add_argument("--minutes", type=float, default=float("inf"),
                        help="the same as a time budget; whichever comes first")
    parser.add_argument("--clock", choices=["wall", "processor"], default="wall",
                        help="what --minutes counts; processor: of all threads, which a busy machine does not falsify")
    parser.add_argument("--mode-mix", default="policy=0.6,joint=0.2,world=0.1,label=0.1",
                        help="share of each mode (%(default)s)")
    parser.add_argument("--episodes", type=int, help="read at most this many episodes")
    parser.add_argument("--every", type=int, default=2_000,
                        help="samples between validations and checkpoints (%(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--resume", action="store_true", help="go on where the checkpoint in --out left off")
    _add_model(parser.add_argument_group("what is trained"))
    _add_optimisation(parser.add_argument_group("how"))
    _add_augmentation(parser.add_argument_group("augmentation, calibrated"))


def _add_model(group) -> None:
    group.add_argument("--start-from", type=Path, metavar="MODEL_DIR",
                       help="train its weights on; also gives config, VAE and text encoder unless --config does")
    group.add_argument("--lora-rank", type=int, default=0,
                       help="train low-rank adapters of --start-from only; the model written has them merged")
    group.add_argument("--lora-alpha", type=int, default=0, help="scale of the adapters (the rank)")
    group.add_argument("--only", default="", metavar="REGEX", help="train only parameters whose name it finds")
    group.add_argument("--config", type=Path, metavar="MODEL_DIR",
                       help="directory whose config.json, VAE and text encoder to train with (any denoiser)")
    for name in _SIZES:
        group.add_argument("--" + name.replace("_", "-"), type=int, help="size of the small denoiser")
    group.add_argument("--distil", type=Path, metavar="TEACHER",
                       help="model directory: train its weights on to need fewer denoising steps")
    group.add_argument("--student-steps", type=int, default=1, help="of the distilled model (%(default)s)")
    group.add_argument("--teacher-steps", type=int, default=4, help="of the teacher, a multiple (%(default)s)")


def _add_optimisation(group) -> None:
    group.add_argument("--batch-size", type=int, default=16, help="canvases a step, of all processes (%(default)s)")
    group.add_argument("--accumulate", type=int, default=1, help="parts in which a process makes its share")
    group.add_argument("--learning-rate", type=float, default=6e-4, help="(%(default)s)")
    group.add_argument("--warmup-samples", type=int, default=2_000, help="(%(default)s)")
    group.add_argument("--full-noise-share", type=float, default=0.35,
                       help="canvases at full noise, where a single denoising step lives (%(default)s)")
    group.add_argument("--structure-weight", type=float, default=0.0,
                       help="of 1 - SSIM of generated pictures, in the loss (%(default)s)")
    group.add_argument("--average-decay", type=float, default=0.998, help="of the averaged weights (%(default)s)")
    group.add_argument("--arithmetic", choices=["bf16", "f32"], default="bf16", help="(%(default)s)")
    group.add_argument("--recompute", action="store_true", help="gradient checkpointing: less memory, more time")
    group.add_argument("--sharded", action="store_true", help="weights in shards over all processes (FSDP)")
    group.add_argument("--threads", type=int, help="of each process (all, shared)")
    group.add_argument("--track", choices=["none", "tensorboard", "trackio"], default="none",
                       help="beside log.jsonl and curve.png (%(default)s)")


def _add_augmentation(group) -> None:
    from ..training.augment import Augment

    plain = Augment()
    group.add_argument("--mirror", type=float, default=plain.mirror, metavar="SHARE",
                       help="of windows in which the whole cell is mirrored (%(default)s)")
    group.add_argument("--crop", type=float, default=plain.crop, help="largest part of a side cut away (%(default)s)")
    group.add_argument("--turn-deg", type=float, default=plain.turn_deg,
                       help="largest turn of a camera about its centre (%(default)s)")
    group.add_argument("--brightness", type=float, default=plain.brightness, help="largest change (%(default)s)")
    group.add_argument("--contrast", type=float, default=plain.contrast, help="largest change (%(default)s)")


def run(args: argparse.Namespace) -> int:
    try:
        import torch

        from ..training.data import CanvasSource, load_episodes
    except ModuleNotFoundError as e:
        from ..errors import ConfigError, pip_install

        raise ConfigError(f"training needs {e.name}: {pip_install('train')}") from e

    threads = args.threads or max(1, (os.cpu_count() or 1) // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
    torch.set_num_threads(threads)
    trainer = _trainer(args)
    model = trainer.model_config
    held_out = None
    if args.validation:
        held_out = CanvasSource(load_episodes(args.validation, None, model, "val"), model, _files(args))
    if trainer.is_main:
        print(_title(trainer, threads, args.mode_mix), flush=True)
    trainer.run(_Course(trainer), lambda averaged: _validate(averaged, held_out, trainer), args.every)
    if trainer.is_main:
        _draw_course(args.out)
        print(f"wrote {args.out}: weights, config.json, log.jsonl, curve.png")
    return 0


def _title(trainer, threads: int, mix: str) -> str:
    every = sum(p.numel() for p in trainer.model.parameters()) / 1e6
    trained = sum(p.numel() for p in trainer.model.parameters() if p.requires_grad) / 1e6
    world = trainer.accelerator.num_processes
    what = f"{every:.1f} M parameters" if trained == every else f"{trained:.2f} M of {every:.1f} M parameters trained"
    return (f"{len(trainer.source.episodes)} episodes, {what}, {world} process{'es' * (world > 1)} of {threads} "
            f"threads on {trainer.accelerator.device}, modes {mix}")


class _Course:
    """Prints how far it is, every 20 s."""

    def __init__(self, trainer) -> None:
        self._began = self._last = time.monotonic()
        self._first = trainer.samples

    def __call__(self, progress) -> None:
        now = time.monotonic()
        if now - self._last < 20 and progress.share < 1:
            return
        self._last = now
        losses = " ".join(f"{k} {v:.4f}" for k, v in progress.losses.items())
        rate = (progress.samples - self._first) / (now - self._began)
        print(f"{progress.share:6.1%}  {progress.samples:7d} samples  {rate:5.1f}/s  {losses}", flush=True)


def _validate(averaged, held_out, trainer) -> dict[str, float]:
    """Errors of chunks of held-out windows, and a picture of some in OUT/samples."""
    if held_out is None:
        return {}
    import cv2

    from ..training.validate import chunk_errors, first_windows, random_windows, sample_sheet, sampled_chunks

    averaged.to(trainer.accelerator.device)
    anywhere, beginnings = random_windows(held_out, _WINDOWS, seed=1), first_windows(held_out, _WINDOWS)
    summary = chunk_errors(averaged, held_out, anywhere, seed=1).summary(hit_m=0.03)
    first = chunk_errors(averaged, held_out, beginnings, seed=1).summary(hit_m=0.03)
    summary |= {"val_first_mm": first["val_last_mm"], "val_first_hit": first["val_last_hit"]}
    folder = trainer.out / "samples"
    folder.mkdir(exist_ok=True)
    sheet = sample_sheet(sampled_chunks(averaged, held_out, beginnings[:_SHOWN], seed=1))
    cv2.imwrite(str(folder / f"{trainer.samples:08d}.png"), sheet[..., ::-1])
    print("  held out: " + "  ".join(f"{k} {v:.3g}" for k, v in summary.items()), flush=True)
    return summary


def _trainer(args: argparse.Namespace):
    """The run that the arguments describe, ready to go."""
    from ..errors import ConfigError
    from ..model.factory import copy_frozen_parts
    from ..training.augment import Augment
    from ..training.data import CanvasSource, load_episodes
    from ..training.loop import Arithmetic, TrainConfig, Trainer
    from ..training.lora import LoraSettings
    from ..training.loss import LossConfig
    from ..training.sharing import Sharing

    try:
        mix = {k: float(v) for k, v in (item.split("=") for item in args.mode_mix.split(","))}
    except ValueError:
        raise ConfigError(f"--mode-mix is {args.mode_mix!r}; expected like policy=0.7,joint=0.3") from None
    if args.distil and (args.config or args.start_from):
        raise ConfigError("--distil takes sizes and weights from the teacher; leave out --config and --start-from")
    model, files = _model_config(args, tuple(mix)), _files(args)
    config = TrainConfig(
        samples=args.samples, minutes=args.minutes, batch_size=args.batch_size, accumulate=args.accumulate,
        learning_rate=args.learning_rate, warmup_samples=args.warmup_samples, average_decay=args.average_decay,
        seed=args.seed, mode_mix=mix, only=args.only,
        loss=LossConfig(args.full_noise_share, shift=model.sampler.shift, structure_weight=args.structure_weight),
        arithmetic=Arithmetic(args.arithmetic), recompute=args.recompute,
        sharing=Sharing.SHARDED if args.sharded else Sharing.REPLICATED,
        lora=LoraSettings(args.lora_rank, args.lora_alpha),
        augment=Augment(mirror=args.mirror, crop=args.crop, turn_deg=args.turn_deg, brightness=args.brightness,
                        contrast=args.contrast))  # fmt: skip
    source = CanvasSource(load_episodes(args.data, args.episodes, model), model, files)
    loss = _distillation(args, config.loss) if args.distil else None
    start = args.start_from or args.distil
    clock = time.process_time if args.clock == "processor" else time.monotonic
    trainer = Trainer(source, model, config, args.out, clock, loss, start,
                      "" if args.track == "none" else args.track)
    if files and trainer.is_main:
        copy_frozen_parts(files, args.out)
    if trainer.new_names and trainer.is_main:
        names = ", ".join(trainer.new_names[:4])
        print(f"{len(trainer.new_names)} parameters are not in {start} and start anew: {names} ...")
    if args.resume:
        trainer.resume()
    return trainer


def _files(args: argparse.Namespace) -> Path | None:
    """Where configuration, VAE and text encoder come from."""
    return args.config or args.distil or args.start_from


def _distillation(args: argparse.Namespace, loss):
    from ..engines.torch_eager import load_denoiser
    from ..model.config import ModelConfig
    from ..training.distil import DistilConfig, Distillation

    teacher = ModelConfig.load(args.distil)
    steps = DistilConfig(args.student_steps, args.teacher_steps)
    return Distillation(load_denoiser(args.distil, teacher), steps, loss, teacher.sampler)


def _draw_course(out: Path) -> None:
    import cv2

    from ..pictures.curve import training_curve

    rows = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    cv2.imwrite(str(out / "curve.png"), training_curve(rows)[..., ::-1])


def _model_config(args: argparse.Namespace, modes: tuple[str, ...]):
    """That of the files, or the default one; sizes that are given replace its own."""
    from ..errors import ConfigError
    from ..model.config import ModelConfig
    from ..recording.lerobot_read import is_dataset
    from ..training.recorded import data_contract

    files = _files(args)
    model = ModelConfig.load(files) if files else ModelConfig()
    sizes = {name: getattr(args, name) for name in _SIZES if getattr(args, name) is not None}
    if sizes and model.denoiser != "conv_canvas":
        raise ConfigError(f"{', '.join(sizes)} are sizes of the small denoiser; {files} has {model.denoiser}")
    if args.distil:
        model = dataclasses.replace(
            model, sampler=dataclasses.replace(model.sampler, denoising_steps=args.student_steps, by_mode={}))
    if is_dataset(args.data):
        model = dataclasses.replace(model, data=data_contract(args.data))
    return dataclasses.replace(model, modes=modes, conv_canvas=dataclasses.replace(model.conv_canvas, **sizes))

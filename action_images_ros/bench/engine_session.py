"""One run of `bench engine`: parts in order of importance, each on its own, until the time is used up."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from ..engines import EngineOptions
from ..engines.torch_eager import load_placed, prepare, wan_dtype
from ..model.canvas import Mode
from . import engine_runs as runs
from .engine import load_config
from .engine_device import facts, peaks
from .engine_model import at_image, random_denoiser, random_vae
from .engine_runs import VARIANTS, Shape, attempt


class Session:
    """`parts` measures and yields what it did; `report` holds everything so far."""

    def __init__(self, args: argparse.Namespace, modes: tuple[Mode, ...], clock: Callable[[], float]) -> None:
        options = EngineOptions(args.threads, device=args.device)
        self._args, self._clock, self._ends_s = args, clock, clock() + args.budget_s
        self.device, self.config = prepare(options), load_config(args)
        self.dtype, self._options = wan_dtype(options.precision, self.device), options
        sizes = [self.config] if args.model else [at_image(self.config, px) for px in args.image]
        self.shapes = [Shape(config, mode) for config in sizes for mode in modes]
        name = str(args.model) if args.model else f"random {args.size}"
        self.report: dict[str, Any] = {
                       "model": name, "weights": str(self.dtype).removeprefix("torch."), "machine": facts(self.device),
                       "peak_tflop_s": {}, "denoising": [], "likeness": {}, "attention_ms": {}, "vae": {}, "chunks": [],
                       "faults": []}

    def parts(self) -> Iterator[str]:
        faults = self.report["faults"]
        self._peaks = attempt("matrix peak", lambda: peaks(self.device), faults) or {}
        self.report["peak_tflop_s"] = {k: v / 1e12 for k, v in self._peaks.items()}
        yield "matrix peak: " + ", ".join(f"{k} {v:.0f} TFLOP/s" for k, v in self.report["peak_tflop_s"].items())
        module = self._build()
        for shape in self.shapes:
            found = attempt(f"attention {shape.name}", partial(runs.attention_ms, shape, self.dtype, self.device),
                            faults)
            self.report["attention_ms"][shape.name] = found or {}
        first = attempt("velocity", lambda: runs.velocity_of(module, self.device, self.shapes[0]), faults)
        for number, variant in enumerate(self._variants(self.shapes[0], first=True)):
            yield from self._variant(module, variant, first if number or variant != "eager" else None)
            if variant == "compile+graph" or variant == self._variants(self.shapes[0], first=True)[-1]:
                yield from self._whole_chunks(module, variant)

    def _build(self):
        if self._args.model is not None:
            return load_placed(self._args.model, self.config, self._options.precision, self.device)
        return random_denoiser(self.config, self.dtype, self.device)

    def _variants(self, shape: Shape, first: bool) -> list[str]:
        chosen = [v for v in VARIANTS if v in (self._args.variants or VARIANTS)]
        if self.device.type != "cuda":
            chosen = [v for v in chosen if v not in ("eager+graph", "compile+graph")]
        if shape.config.denoiser != "wan":
            chosen = [v for v in chosen if "fp8" not in v]
        if first or self._args.variants:
            return chosen
        return [v for v in chosen if v.endswith(("compile+graph", "compile"))]

    def _denoised(self, module, variant: str, shape: Shape) -> list:
        return list(runs.denoising(module, self.device, variant, shape, tuple(self._args.nfe), self._peaks))

    def _variant(self, module, variant: str, reference) -> Iterator[str]:
        faults = self.report["faults"]
        if self._late(variant):
            return
        if attempt(variant, partial(_prepared, module, variant), faults) is None:
            return
        if reference is not None:
            other = attempt(variant, lambda: runs.velocity_of(module, self.device, self.shapes[0]), faults)
            if other is not None:
                self.report["likeness"][f"{variant} against eager {self.report['weights']}"] = runs.likeness(
                    reference, other)
        for shape in self.shapes:
            if variant not in self._variants(shape, shape is self.shapes[0]) or self._late(f"{variant}, {shape.name}"):
                continue
            rows = attempt(f"{variant}, {shape.name}", partial(self._denoised, module, variant, shape), faults)
            self.report["denoising"] += rows or []
            for row in rows or ():
                yield f"{variant}, {shape.name}: NFE {row['nfe']} in {row['seconds']:.4f} s"

    def _whole_chunks(self, module, variant: str) -> Iterator[str]:
        """Through the pipeline with a VAE of random weights, the first shape of each image size."""
        if self._args.no_vae or self.config.frame_codec != "wan_vae" or self._late("VAE"):
            return
        faults = self.report["faults"]
        from ..model.wan.vae import WanVaeCodec

        size = "full" if self._args.model else self._args.size
        kinds = [(torch.float32, False)]
        if self.device.type == "cuda":  # compilation last: it may take longer than everything else
            kinds = [(torch.bfloat16, False), (torch.float32, False), (torch.bfloat16, True)]
        for dtype, compiled in kinds:
            vae = attempt("VAE", partial(random_vae, size, dtype, self.device), faults)
            if vae is None:
                return
            label = f"{str(dtype).removeprefix('torch.')}{' compiled' if compiled else ''}"
            if compiled:
                vae.decoder.compile()
            for shape in (s for s in self.shapes if s.mode is Mode.POLICY):
                if not self._late(f"VAE {label}, {shape.name}"):
                    yield from self._chunks(module, WanVaeCodec(vae), shape, label, variant)

    def _chunks(self, module, codec, shape: Shape, label: str, variant: str) -> Iterator[str]:
        faults, name = self.report["faults"], f"{shape.config.image_size[0]} px {label}"
        if name not in self.report["vae"]:
            stages = attempt(f"VAE {name}", lambda: runs.vae_stages(codec, shape, self.device), faults)
            if stages is None:
                return
            self.report["vae"][name] = stages
            yield f"VAE {name}: {stages['encode']:.3f} s in, {stages['decode']:.3f} s out"
        stages = self.report["vae"][name]
        blobs = attempt("blobs", lambda: runs.blob_seconds(shape.config, self.device), faults) or float("nan")
        for steps in self._args.nfe:
            taken = attempt(f"chunk, {shape.name}", partial(
                runs.whole_chunk, module, codec, self.device, replace(shape), steps), faults)
            if taken is not None:
                self.report["chunks"].append({
                    "name": f"{shape.config.image_size[0]} px, {variant}, VAE {label}, NFE {steps}", "nfe": steps,
                    "variant": variant, "seconds": taken, "with_blobs": taken + blobs,
                    "vae_share": (stages["encode"] + stages["decode"]) / taken})
                yield f"chunk {shape.name}, VAE {label}, NFE {steps}: {taken:.3f} s"

    def _late(self, what: str) -> bool:
        if self._clock() < self._ends_s:
            return False
        self.report["faults"].append(f"{what}: left out, the time of --budget-s was used up")
        return True


def _prepared(module, variant: str) -> bool:
    runs.prepare(module, variant)
    return True

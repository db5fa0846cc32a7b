"""The training loop: batches, optimiser, averaged weights, validation in millimetres, checkpoints, resume.

One process, or as many as `accelerate launch` starts: they share a global batch, every canvas of which depends on the
seed, the step and its place in the batch alone, so that their number does not change what is learned.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from enum import Enum
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs, broadcast_object_list

from ..engines.torch_eager import load_denoiser
from ..errors import ConfigError, DatasetError, ModelError
from ..model.canvas import Mode
from ..model.config import ModelConfig
from ..model.factory import build_denoiser, save_denoiser
from .augment import Augment
from .checkpoint import restore, store
from .data import Batch, CanvasSource, draw_layout
from .lora import LoraSettings, add_adapters, merged_weights
from .loss import LossConfig, Noise, canvas_loss
from .recompute import recompute_blocks
from .sharing import Sharing, gradients_kept, shard, whole

Loss = Callable[[torch.nn.Module, Batch, Noise, torch.device], dict[str, torch.Tensor]]
"""(model, batch, where noise is drawn from, device) -> losses by name, of which `total` is minimised."""


class Arithmetic(str, Enum):
    """BF16: matrix products in bfloat16, weights and optimiser in float32."""

    BF16 = "bf16"
    F32 = "f32"


@dataclass(frozen=True)
class TrainConfig:
    """samples: canvases until the learning rate has reached zero; minutes: the same as a time budget, whichever is
    reached first. batch_size: canvases of one step of the optimiser, over all processes; accumulate: parts in which
    each process makes its share. mode_mix: share of each mode. average_decay: of the exponential moving average that
    is shipped. only: a regular expression; parameters whose name it does not find keep their values.
    recompute: gradient checkpointing of the transformer blocks. sharing: of the model, between processes."""

    samples: int = 40_000
    minutes: float = math.inf
    batch_size: int = 16
    accumulate: int = 1
    learning_rate: float = 6e-4
    warmup_samples: int = 2_000
    weight_decay: float = 0.02
    average_decay: float = 0.998
    committed_share: float = 0.25
    seed: int = 0
    arithmetic: Arithmetic = Arithmetic.BF16
    recompute: bool = False
    sharing: Sharing = Sharing.REPLICATED
    only: str = ""
    lora: LoraSettings = LoraSettings()
    mode_mix: dict[str, float] = field(
        default_factory=lambda: {"policy": 0.6, "joint": 0.2, "world": 0.1, "label": 0.1}
    )
    augment: Augment = Augment()
    loss: LossConfig = LossConfig()

    def __post_init__(self) -> None:
        if self.samples < 1 or self.batch_size < 1 or not self.learning_rate > 0 or not self.minutes > 0:
            raise ConfigError(
                f"training needs positive samples ({self.samples}), batch_size ({self.batch_size}), "
                f"learning_rate ({self.learning_rate}) and minutes ({self.minutes})"
            )
        if self.accumulate < 1:
            raise ConfigError(f"accumulate is {self.accumulate}; legal: 1 and more")

    @property
    def modes(self) -> dict[Mode, float]:
        return {Mode.parse(k): v for k, v in self.mode_mix.items()}


@dataclass(frozen=True)
class Progress:
    """What `on_progress` is told: samples so far, share of the budget in [0, 1], smoothed losses."""

    samples: int
    share: float
    losses: dict[str, float]


class _Losses(torch.nn.Module):
    """The model within its loss: what is wrapped for several processes, as denoisers have more entries than forward."""

    def __init__(self, model: torch.nn.Module, loss: Loss, device: torch.device, arithmetic: Arithmetic) -> None:
        super().__init__()
        self.model, self._loss, self._device, self._arithmetic = model, loss, device, arithmetic

    def forward(self, batch: Batch, noise: Noise) -> dict[str, torch.Tensor]:
        with torch.autocast(self._device.type, torch.bfloat16, self._arithmetic is Arithmetic.BF16):
            return self._loss(self.model, batch, noise, self._device)


class Trainer:
    """One run into `out`: averaged weights (`model.safetensors`, or `transformer/` for denoiser wan), `config.json`,
    `log.jsonl`, and `resume/`. With adapters, what is written is merged: an ordinary model directory."""

    def __init__(
        self,
        source: CanvasSource,
        model_config: ModelConfig,
        config: TrainConfig,
        out: Path,
        clock: Callable[[], float],
        loss: Loss | None = None,
        start: Path | None = None,
        tracker: str = "",
    ) -> None:
        """loss: what is minimised, if not flow matching as `config.loss` says. start: model directory whose weights to
        train on; `new_names` are the parameters that it lacks, which keep their initial values. tracker: one of
        accelerate's, such as tensorboard, beside log.jsonl.

        Raises ModelError where a stored weight has no place in this model, ConfigError where the batch cannot be
        shared or adapters have nothing to adapt.
        """
        self.source, self.model_config, self.config = source, model_config, config
        self.out, self.clock, self._tracker = Path(out), clock, tracker
        if config.lora.rank and start is None:
            raise ConfigError("adapters adapt a trained model: give the model directory to start from")
        self.accelerator = Accelerator(
            mixed_precision="no", cpu=not torch.accelerator.is_available(),
            log_with=tracker or None, project_dir=str(out),
            kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)],
        )  # fmt: skip
        self._require_shares()
        torch.manual_seed(config.seed)
        self.model = build_denoiser(model_config)
        self.new_names = self._start_from(start) if start else []
        if config.lora.rank:
            add_adapters(self.model, config.lora)
        self._freeze()
        if config.recompute:
            recompute_blocks(self.model)
        loss = loss or (lambda model, batch, noise, device: canvas_loss(model, batch, config.loss, noise, device))
        self._losses = self._shared(_Losses(self.model.train(), loss, self.accelerator.device, config.arithmetic))
        self.optimiser = self._make_optimiser()
        self.average = {k: v.detach().clone() for k, v in self._trained()}
        self.samples, self.elapsed_s = 0, 0.0
        self.losses: dict[str, float] = {}
        self.out.mkdir(parents=True, exist_ok=True)

    def _require_shares(self) -> None:
        parts = self.accelerator.num_processes * self.config.accumulate
        if self.config.batch_size % parts:
            raise ConfigError(f"batch_size {self.config.batch_size} is not a multiple of {parts} parts "
                              f"({self.accelerator.num_processes} processes x accumulate {self.config.accumulate})")

    def _shared(self, losses: _Losses) -> torch.nn.Module:
        """Ready for its device and for the other processes."""
        losses.to(self.accelerator.device)
        if self.config.sharing is Sharing.SHARDED and self.accelerator.num_processes > 1:
            shard(losses, self.model)
            return losses
        if self.accelerator.num_processes == 1:
            return losses
        return self.accelerator.prepare_model(losses)

    def _freeze(self) -> None:
        """What `only` does not find."""
        for name, parameter in self.model.named_parameters():
            parameter.requires_grad_(parameter.requires_grad and bool(re.search(self.config.only, name)))
        if not self._trained():
            raise ConfigError(f"only: no trained parameter's name has {self.config.only!r}; they are like "
                              f"{next(iter(self.model.state_dict()))}")

    def _make_optimiser(self) -> torch.optim.Optimizer:
        trained = [p for p in self.model.parameters() if p.requires_grad]
        decay, rest = [p for p in trained if p.ndim >= 2], [p for p in trained if p.ndim < 2]
        groups = [{"params": decay, "weight_decay": self.config.weight_decay}, {"params": rest, "weight_decay": 0.0}]
        return torch.optim.AdamW([g for g in groups if g["params"]], lr=0.0, betas=(0.9, 0.95))

    def _trained(self) -> list[tuple[str, torch.Tensor]]:
        return [(k, v) for k, v in self.model.named_parameters() if v.requires_grad]

    def _start_from(self, directory: Path) -> list[str]:
        stored = load_denoiser(directory, ModelConfig.load(directory))
        try:
            loaded = self.model.load_state_dict(stored.state_dict(), strict=False)
        except RuntimeError as e:
            raise ModelError(f"{directory} has weights of other sizes than this model: {e}") from e
        if loaded.unexpected_keys:
            raise ModelError(f"{directory} has weights that this model lacks: {', '.join(loaded.unexpected_keys[:5])}; "
                             "train with the same sizes (see its config.json)")
        return list(loaded.missing_keys)

    @property
    def is_main(self) -> bool:
        """Whether this process writes and reports."""
        return self.accelerator.is_main_process

    def run(
        self,
        on_progress: Callable[[Progress], None],
        validate: Callable[[torch.nn.Module], dict[str, float]] | None = None,
        every_samples: int = 2_000,
    ) -> None:
        """Train until the budget is spent. `validate` gets a copy of the model with averaged weights, in the main
        process."""
        if self._tracker:
            self.accelerator.init_trackers("runs")
        started = self.clock() - self.elapsed_s
        next_report = (self.samples // every_samples + 1) * every_samples
        while self.share < 1.0:
            self._step()
            self.elapsed_s = self._agreed(self.clock() - started)
            if self.is_main:
                on_progress(Progress(self.samples, self.share, dict(self.losses)))
            if self.samples >= next_report or self.share >= 1.0:
                next_report += every_samples
                made = self.averaged()
                if self.is_main:
                    self._log(validate(made) if validate else {})
                self.save(made)
        if self._tracker:
            self.accelerator.end_training()

    def _agreed(self, seconds: float) -> float:
        """The main process's clock is everybody's."""
        if self.accelerator.num_processes == 1 or not math.isfinite(self.config.minutes):
            return seconds
        return broadcast_object_list([seconds])[0]

    @property
    def share(self) -> float:
        return min(1.0, max(self.samples / self.config.samples, self.elapsed_s / 60.0 / self.config.minutes))

    def _step(self) -> None:
        config = self.config
        for group in self.optimiser.param_groups:
            group["lr"] = (
                config.learning_rate * min(1.0, (self.samples + 1) / config.warmup_samples) * _cosine(self.share)
            )
        self.optimiser.zero_grad(set_to_none=True)
        losses: dict[str, float] = {}
        for k in range(config.accumulate):
            for name, value in self._backward(k).items():
                losses[name] = losses.get(name, 0.0) + value / config.accumulate
        if not math.isfinite(losses["total"]):
            raise DatasetError(
                f"the loss became {losses['total']} after {self.samples} samples; "
                "lower learning_rate or look at the data"
            )
        torch.nn.utils.clip_grad_norm_([p for _, p in self._trained()], 1.0)
        self.optimiser.step()
        self.samples += config.batch_size
        step = self.samples / config.batch_size
        decay = min(config.average_decay, (1 + step) / (10 + step))
        with torch.no_grad():
            for name, weight in self._trained():
                self.average[name].lerp_(weight, 1 - decay)
        for name, value in losses.items():
            self.losses[name] = 0.98 * self.losses.get(name, value) + 0.02 * value

    def _backward(self, part: int) -> dict[str, float]:
        """Gradients of one part of this process's share of the batch; its losses, averaged over the processes."""
        config, world = self.config, self.accelerator.num_processes
        size = config.batch_size // (world * config.accumulate)
        first = (self.accelerator.process_index * config.accumulate + part) * size
        rng = np.random.default_rng((config.seed, self.samples))
        noise_seed = int(rng.integers(2**62))
        layout = draw_layout(self.model_config, config.modes, config.committed_share, rng)
        batch = self.source.batch(rng, config.batch_size, layout, config.augment, slice(first, first + size))
        noise = [torch.Generator().manual_seed((noise_seed + first + i) % 2**62) for i in range(size)]
        last = part == config.accumulate - 1
        with nullcontext() if last else gradients_kept(self.accelerator, self._losses):
            losses = self._losses(batch, noise)
            self.accelerator.backward(losses["total"] / config.accumulate)
        names = sorted(losses)
        means = self.accelerator.reduce(torch.stack([losses[n].detach().float() for n in names]), "mean")
        return dict(zip(names, means.tolist()))

    def averaged(self) -> torch.nn.Module:
        """The model with averaged weights, adapters merged. To be called in all processes."""
        weights = {k: v.to("cpu") for k, v in whole(self.model.state_dict() | self.average).items()}
        if not self.config.lora.rank:
            made = build_denoiser(self.model_config)
            made.load_state_dict(weights)
            return made.eval()
        adapted, made = build_denoiser(self.model_config), build_denoiser(self.model_config)
        add_adapters(adapted, self.config.lora)
        adapted.load_state_dict(weights)
        made.load_state_dict(merged_weights(adapted))
        return made.eval()

    def _log(self, validation: dict[str, float]) -> None:
        row = {"samples": self.samples, "elapsed_s": round(self.elapsed_s, 1), **self.losses, **validation}
        with (self.out / "log.jsonl").open("a") as f:
            f.write(json.dumps(row) + "\n")
        if self._tracker:
            self.accelerator.log({k: v for k, v in row.items() if k != "samples"}, step=self.samples)

    def save(self, averaged: torch.nn.Module | None = None) -> None:
        """Write the averaged model and what `resume` needs. To be called in all processes."""
        averaged = averaged or self.averaged()
        model, average, optimiser = (whole(x) for x in (self.model.state_dict(), self.average,
                                                        self.optimiser.state_dict()))
        if self.is_main:
            self.model_config.save(self.out)
            save_denoiser(averaged, self.out)
            state = {"samples": self.samples, "elapsed_s": self.elapsed_s, "losses": self.losses,
                     "train": asdict(self.config)}  # fmt: skip
            store(self.out, model, average, optimiser, state)
        self.accelerator.wait_for_everyone()

    def resume(self) -> None:
        """Go on exactly where `save` left off. Raises DatasetError where there is nothing to resume."""
        state = restore(self.out, self.model, self.average, self.optimiser)
        self.samples, self.elapsed_s, self.losses = state["samples"], state["elapsed_s"], state["losses"]


def _cosine(share: float) -> float:
    return 0.5 * (1.0 + math.cos(math.pi * share))

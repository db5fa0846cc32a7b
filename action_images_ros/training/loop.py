"""The training loop: batches, optimiser, averaged weights, validation in millimetres, checkpoints, resume."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from ..engines.torch_eager import load_denoiser
from ..errors import ConfigError, DatasetError, ModelError
from ..model.canvas import Mode
from ..model.config import ModelConfig
from ..model.factory import build_denoiser, save_denoiser
from .data import Augment, Batch, CanvasSource, draw_layout
from .loss import LossConfig, canvas_loss

Loss = Callable[[torch.nn.Module, Batch, torch.Generator], dict[str, torch.Tensor]]
"""(model, batch, generator of the noise) -> losses by name, of which `total` is minimised."""


@dataclass(frozen=True)
class TrainConfig:
    """samples: canvases until the learning rate has reached zero; minutes: the same as a time budget, whichever is
    reached first. mode_mix: share of each mode. average_decay: of the exponential moving average that is shipped."""

    samples: int = 40_000
    minutes: float = math.inf
    batch_size: int = 16
    learning_rate: float = 6e-4
    warmup_samples: int = 2_000
    weight_decay: float = 0.02
    average_decay: float = 0.998
    committed_share: float = 0.25
    seed: int = 0
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

    @property
    def modes(self) -> dict[Mode, float]:
        return {Mode.parse(k): v for k, v in self.mode_mix.items()}


@dataclass(frozen=True)
class Progress:
    """What `on_progress` is told: samples so far, share of the budget in [0, 1], smoothed losses."""

    samples: int
    share: float
    losses: dict[str, float]


class Trainer:
    """One run into `out`: averaged weights (`model.safetensors`, or `transformer/` for denoiser wan), `config.json`,
    `log.jsonl`, and `resume/`."""

    def __init__(
        self,
        source: CanvasSource,
        model_config: ModelConfig,
        config: TrainConfig,
        out: Path,
        clock: Callable[[], float],
        loss: Loss | None = None,
    ) -> None:
        """loss: what is minimised, if not flow matching as `config.loss` says."""
        self.loss = loss or (lambda model, batch, generator: canvas_loss(model, batch, config.loss, generator))
        self.source, self.model_config, self.config, self.out, self.clock = (
            source,
            model_config,
            config,
            Path(out),
            clock,
        )
        torch.manual_seed(config.seed)
        self.model = build_denoiser(model_config)
        self.average = {k: v.detach().clone() for k, v in self.model.state_dict().items()}
        decay = [p for p in self.model.parameters() if p.ndim >= 2]
        rest = [p for p in self.model.parameters() if p.ndim < 2]
        self.optimiser = torch.optim.AdamW(
            [{"params": decay, "weight_decay": config.weight_decay}, {"params": rest, "weight_decay": 0.0}],
            lr=0.0,
            betas=(0.9, 0.95),
        )
        self.samples, self.elapsed_s = 0, 0.0
        self.losses: dict[str, float] = {}
        self.out.mkdir(parents=True, exist_ok=True)

    def start_from(self, directory: Path) -> list[str]:
        """Take the weights of a model directory, to train them on. Returns the names of parameters that it lacks: they
        keep their initial values.

        Raises ModelError where one of its weights has no place in this model.
        """
        stored = load_denoiser(directory, ModelConfig.load(directory))
        try:
            loaded = self.model.load_state_dict(stored.state_dict(), strict=False)
        except RuntimeError as e:
            raise ModelError(f"{directory} has weights of other sizes than this model: {e}") from e
        if loaded.unexpected_keys:
            raise ModelError(f"{directory} has weights that this model lacks: {', '.join(loaded.unexpected_keys[:5])}; "
                             "train with the same sizes (see its config.json)")
        self.average = {k: v.detach().clone() for k, v in self.model.state_dict().items()}
        return list(loaded.missing_keys)

    def run(
        self,
        on_progress: Callable[[Progress], None],
        validate: Callable[[torch.nn.Module], dict[str, float]] | None = None,
        every_samples: int = 2_000,
    ) -> None:
        """Train until the budget is spent. `validate` gets a copy of the model with averaged weights."""
        started = self.clock() - self.elapsed_s
        next_report = self.samples + every_samples
        while self.share < 1.0:
            self._step()
            self.elapsed_s = self.clock() - started
            on_progress(Progress(self.samples, self.share, dict(self.losses)))
            if self.samples >= next_report or self.share >= 1.0:
                next_report += every_samples
                self._log(validate(self.averaged()) if validate else {})
                self.save()

    @property
    def share(self) -> float:
        return min(1.0, max(self.samples / self.config.samples, self.elapsed_s / 60.0 / self.config.minutes))

    def _step(self) -> None:
        config = self.config
        rng = np.random.default_rng((config.seed, self.samples))
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        layout = draw_layout(self.model_config, config.modes, config.committed_share, rng)
        batch = self.source.batch(rng, config.batch_size, layout, config.augment)
        for group in self.optimiser.param_groups:
            group["lr"] = (
                config.learning_rate * min(1.0, (self.samples + 1) / config.warmup_samples) * _cosine(self.share)
            )
        with torch.autocast("cpu", torch.bfloat16):
            losses = self.loss(self.model, batch, generator)
        if not torch.isfinite(losses["total"]):
            raise DatasetError(
                f"the loss became {losses['total'].item()} after {self.samples} samples; "
                "lower learning_rate or look at the data"
            )
        self.optimiser.zero_grad(set_to_none=True)
        losses["total"].backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimiser.step()
        self.samples += config.batch_size
        decay = min(
            config.average_decay, (1 + self.samples / config.batch_size) / (10 + self.samples / config.batch_size)
        )
        with torch.no_grad():
            for name, value in self.model.state_dict().items():
                self.average[name].lerp_(value, 1 - decay)
        for name, value in losses.items():
            self.losses[name] = 0.98 * self.losses.get(name, value.item()) + 0.02 * value.item()

    def averaged(self) -> torch.nn.Module:
        model = build_denoiser(self.model_config)
        model.load_state_dict(self.average)
        return model.eval()

    def _log(self, validation: dict[str, float]) -> None:
        row = {"samples": self.samples, "elapsed_s": round(self.elapsed_s, 1), **self.losses, **validation}
        with (self.out / "log.jsonl").open("a") as f:
            f.write(json.dumps(row) + "\n")

    def save(self) -> None:
        """Write the averaged model and what `resume` needs."""
        self.model_config.save(self.out)
        save_denoiser(self.averaged(), self.out)
        resume = self.out / "resume"
        resume.mkdir(exist_ok=True)
        save_file({k: v.contiguous() for k, v in self.model.state_dict().items()}, resume / "model.safetensors")
        torch.save(self.optimiser.state_dict(), resume / "optimiser.pt")
        state = {
            "samples": self.samples,
            "elapsed_s": self.elapsed_s,
            "losses": self.losses,
            "train": asdict(self.config),
        }
        (resume / "state.json").write_text(json.dumps(state, indent=2, default=str))

    def resume(self) -> None:
        """Go on exactly where `save` left off. Raises DatasetError where there is nothing to resume."""
        resume = self.out / "resume"
        if not (resume / "state.json").is_file():
            raise DatasetError(f"{resume} has no state.json to resume from; train without --resume first")
        self.model.load_state_dict(load_file(resume / "model.safetensors"))
        self.average = {k: v.clone() for k, v in load_denoiser(self.out, self.model_config).state_dict().items()}
        self.optimiser.load_state_dict(torch.load(resume / "optimiser.pt", weights_only=True))
        state = json.loads((resume / "state.json").read_text())
        self.samples, self.elapsed_s, self.losses = state["samples"], state["elapsed_s"], state["losses"]


def _cosine(share: float) -> float:
    return 0.5 * (1.0 + math.cos(math.pi * share))

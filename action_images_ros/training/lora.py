"""Low-rank adapters (Hu et al. 2021) of any denoiser, by peft, and their fusion into ordinary weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ..errors import ConfigError, pip_install

_ADAPTED = (nn.Linear, nn.Conv2d, nn.Conv3d)
_MARK = ".base_layer"


@dataclass(frozen=True)
class LoraSettings:
    """rank 0: every weight is trained. alpha: the adapters' product is scaled by alpha / rank; 0 takes the rank."""

    rank: int = 0
    alpha: int = 0

    def __post_init__(self) -> None:
        if self.rank < 0 or self.alpha < 0:
            raise ConfigError(f"lora rank {self.rank} and alpha {self.alpha} must not be negative")


def add_adapters(model: nn.Module, settings: LoraSettings) -> None:
    """Freeze the model in place and put an adapter beside every linear layer and convolution of it. They start without
    effect. Raises ConfigError where peft is not installed."""
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ModuleNotFoundError:
        raise ConfigError(f"adapters need peft: {pip_install('train')}") from None
    targets = [name for name, module in model.named_modules() if isinstance(module, _ADAPTED)]
    alpha = settings.alpha or settings.rank
    inject_adapter_in_model(LoraConfig(r=settings.rank, lora_alpha=alpha, target_modules=targets), model)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("lora_" in name)


@torch.no_grad()
def merged_weights(model: nn.Module) -> dict[str, torch.Tensor]:
    """The state of the same model without adapters: their products are added to the weights beside them."""
    out = {k.replace(_MARK, ""): v for k, v in model.state_dict().items() if ".lora_" not in k}
    for name, module in _adapters(model):
        key = f"{name}.weight"
        out[key] = out[key] + module.get_delta_weight("default").to(out[key].dtype)
    return out


def _adapters(model: nn.Module) -> list[tuple[str, Any]]:
    return [(name, module) for name, module in model.named_modules() if hasattr(module, "lora_A")]

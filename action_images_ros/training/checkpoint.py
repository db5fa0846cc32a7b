"""What a run needs to go on exactly where it stood: whole tensors, so that another number of processes can go on."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from ..errors import DatasetError
from .sharing import placed_like

FOLDER = "resume"
_STATE = "state.json"


def store(out: Path, model: dict, average: dict, optimiser: dict, state: dict) -> None:
    """Whole tensors of the model, of the averages and of the optimiser's state_dict, and `state`, written last."""
    folder = Path(out) / FOLDER
    folder.mkdir(exist_ok=True)
    save_file({k: v.contiguous() for k, v in model.items()}, folder / "model.safetensors")
    save_file({k: v.contiguous() for k, v in average.items()}, folder / "average.safetensors")
    torch.save(optimiser, folder / "optimiser.pt")
    (folder / _STATE).write_text(json.dumps(state, indent=2, default=str))


def restore(out: Path, model: torch.nn.Module, average: dict[str, torch.Tensor],
            optimiser: torch.optim.Optimizer) -> dict:
    """Everything back in place; the state that was stored with it. Raises DatasetError where there is nothing."""
    folder = Path(out) / FOLDER
    if not (folder / _STATE).is_file():
        raise DatasetError(f"{folder} has no {_STATE} to resume from; train without --resume first")
    stored, own = load_file(folder / "model.safetensors"), model.state_dict()
    if set(stored) != set(own):
        raise DatasetError(f"{folder} is of a run with other weights, such as "
                           f"{sorted(set(stored) ^ set(own))[0]}; resume with the same model and adapters")
    with torch.no_grad():
        for target, source in ((own, stored), (average, load_file(folder / "average.safetensors"))):
            for name, value in source.items():
                target[name].copy_(placed_like(value, target[name]))
    saved = torch.load(folder / "optimiser.pt", weights_only=True)
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    for k, slots in saved["state"].items():
        saved["state"][k] = {name: placed_like(value, parameters[k]) if torch.is_tensor(value) else value
                             for name, value in slots.items()}
    optimiser.load_state_dict(saved)
    return json.loads((folder / _STATE).read_text())

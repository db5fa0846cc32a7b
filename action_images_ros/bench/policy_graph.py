"""The cell file with which a benchmark starts the whole graph."""

from __future__ import annotations

import time
from pathlib import Path

_IMAGE_SIZE = (320, 240)


def write_cell(out: Path, model: Path, seed: int, task: str = "reach_target") -> Path:
    """Write out/cell.yaml: as many cameras as the model has views, at poses that training never saw."""
    from ..cell import Calibration, Cell, View, WorkspaceBox
    from ..model.config import ModelConfig
    from ..sim.cell import SimCell
    from ..sim.episodes import episode_rng, sample_setting
    from ..sim.split import Split
    from ..sim.tasks import make_task

    views = ModelConfig.load(model).views
    _, cameras = sample_setting(make_task(task), episode_rng(seed, 0, Split.TEST), Split.TEST, SimCell().kinematics,
                                views, _IMAGE_SIZE)
    exact = Calibration(time.strftime("%Y-%m-%d"), "simulated: exact by construction", 0.0)
    out.mkdir(parents=True, exist_ok=True)
    named = tuple(View(name, f"/camera/{name}", f"sim-{name}", camera, exact) for name, camera in cameras.items())
    Cell("simulated", named, WorkspaceBox((0.2, -0.5, 0.0), (0.8, 0.5, 0.8))).save(out / "cell.yaml")
    return out / "cell.yaml"

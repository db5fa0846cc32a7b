"""The course of a training run."""

from __future__ import annotations

import numpy as np

from .axes import Axes
from .sheet import write

_COLOURS = ((40, 90, 200), (210, 90, 40), (40, 150, 70), (130, 60, 160))
_PANELS = (
    ("loss", (("action", "action"), ("video", "video"))),
    (
        "held-out chunks that end within 30 mm of the goal",
        (("val_first_hit", "from the first picture"), ("val_last_hit", "from any moment")),
    ),
    (
        "median error at the end of a held-out chunk (mm)",
        (("val_first_mm", "from the first picture"), ("val_last_mm", "from any moment")),
    ),
)
_SIZE = (900, 760)
_PANEL_PX = 190


def training_curve(rows: list[dict]) -> np.ndarray:
    """Rows of a run's log.jsonl -> (H, W, 3) uint8 RGB. Values that a row does not have are gaps."""
    image = np.full((_SIZE[1], _SIZE[0], 3), 255, np.uint8)
    samples = np.array([row["samples"] for row in rows], float)
    for k, (title, series) in enumerate(_PANELS):
        values = [np.array([row.get(key, np.nan) for row in rows], float) for key, _ in series]
        top = max((v[np.isfinite(v)].max(initial=0.0) for v in values), default=1.0)
        box = (80, 30 + k * (_PANEL_PX + 50), _SIZE[0] - 110, _PANEL_PX)
        axes = Axes(
            image, box, (0.0, float(samples.max())), (0.0, 1.08 * max(top, 1e-6)), title, show_x=k == len(_PANELS) - 1
        )
        for i, (value, (_, name)) in enumerate(zip(values, series)):
            axes.line(samples, value, _COLOURS[i], 2)
            at = (box[0] + box[2] - 190, box[1] + 20 + 18 * i)
            image[at[1] - 6 : at[1] - 3, at[0] - 30 : at[0] - 6] = _COLOURS[i]
            write(image, name, at)
    write(image, "canvases seen", (_SIZE[0] // 2 - 40, _SIZE[1] - 8))
    return image

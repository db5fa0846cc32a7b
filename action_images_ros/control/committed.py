"""What the next chunk has to continue, out of what the controller says it will execute in any case."""

from __future__ import annotations

import numpy as np

from ..types import ActionChunk
from .rotation import interpolate


def committed_ahead(known: ActionChunk, stamp_ns: int, dt_s: float, most_steps: int) -> ActionChunk | None:
    """Targets for the first action steps after an observation: one for each step that `known` reaches to.

    known: the controller's word; its poses are one action step apart in path time and known.dt_s apart in real time
    (dt_s / speed_factor), from its stamp on. stamp_ns: of the observation; dt_s: the model's step. None where `known`
    does not reach from the first step on, e.g. because it is too old.
    """
    if len(known) < 2 or known.stamp_ns is None or not known.dt_s or most_steps < 1:
        return None
    passed = 1e-9 * (stamp_ns - known.stamp_ns) / known.dt_s
    at = passed + np.arange(1, most_steps + 1)
    at = at[at <= len(known) - 1 + 1e-6]
    if not len(at) or at[0] < 0.0:
        return None
    k = np.minimum(at.astype(int), len(known) - 2)
    poses = interpolate(known.base_T_tcps[k], known.base_T_tcps[k + 1], np.minimum(at - k, 1.0))
    return ActionChunk.from_poses(poses, known.openness[k], stamp_ns, dt_s)

"""What of a chunk may be executed, given which of its steps are credible."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..types import ActionChunk
from .rotation import interpolate


def usable(chunk: ActionChunk, max_gap_steps: int) -> ActionChunk:
    """The beginning of `chunk` in which at most max_gap_steps steps in a row are not credible, ending at a credible
    one.

    The poses of steps that are not credible are not used: they are bridged, straight and geodesic, between the
    credible steps around them, with the covariance of the less certain of the two and the gripper of the one before.
    Empty where the first step is not credible.
    """
    good = np.flatnonzero(chunk.credible)
    if not len(good) or good[0] != 0:
        return _cut(chunk, 0)
    wide = np.flatnonzero(np.diff(good) > max_gap_steps + 1)
    good = good[: wide[0] + 1] if len(wide) else good
    chunk = _cut(chunk, int(good[-1]) + 1)
    steps = np.flatnonzero(~chunk.credible)
    if not len(steps):
        return chunk
    after = np.searchsorted(good, steps)
    a, b = good[after - 1], good[after]
    poses, cov, openness = chunk.base_T_tcps.copy(), chunk.covariance.copy(), chunk.openness.copy()
    poses[steps] = interpolate(poses[a], poses[b], (steps - a) / (b - a))
    less_certain = np.where(np.trace(cov[a], axis1=1, axis2=2) > np.trace(cov[b], axis1=1, axis2=2), a, b)
    cov[steps], openness[steps] = cov[less_certain], openness[a]
    return replace(chunk, base_T_tcps=poses, covariance=cov, openness=openness)


def _cut(chunk: ActionChunk, n: int) -> ActionChunk:
    if n == len(chunk):
        return chunk
    return ActionChunk(chunk.base_T_tcps[:n], chunk.openness[:n], chunk.covariance[:n], chunk.reproj_rms_px[:n],
                       chunk.credible[:n], chunk.why[:n], chunk.stamp_ns, chunk.dt_s)

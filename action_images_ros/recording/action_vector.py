"""The 7-DoF action as seven numbers: TCP position, rotation vector from `hand down`, gripper openness.

The rotation is relative to the hand pointing straight down, base_R_tcp = HAND_DOWN exp(w): an ordinary rotation vector
would jump there between +pi and -pi.
"""

from __future__ import annotations

import numpy as np

from ..geometry.se3 import make, so3_exp, so3_log

NAMES = ("x_m", "y_m", "z_m", "wx_rad", "wy_rad", "wz_rad", "openness")
HAND_DOWN = np.diag([1.0, -1.0, -1.0])


def vectors(base_T_tcps: np.ndarray, openness: np.ndarray) -> np.ndarray:
    """(N, 4, 4), (N,) -> (N, 7) float64."""
    w = np.stack([so3_log(HAND_DOWN.T @ T[:3, :3]) for T in base_T_tcps])
    return np.concatenate([base_T_tcps[:, :3, 3], w, np.asarray(openness, float)[:, None]], axis=1)


def poses(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Inverse of `vectors`."""
    v = np.asarray(vectors, float)
    return np.stack([make(HAND_DOWN @ so3_exp(x[3:6]), x[:3]) for x in v]), v[:, 6]


def contract() -> dict:
    """JSON-able: what the numbers mean, for whoever reads a data set of them."""
    return {"names": list(NAMES), "rotation": "base_R_tcp = HAND_DOWN exp(w)", "hand_down": HAND_DOWN.tolist(),
            "meaning": "state of the next frame"}  # fmt: skip

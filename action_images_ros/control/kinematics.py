"""Where the TCP is for given joints: the interface, and the FR3 from its Denavit-Hartenberg table."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from ..errors import ConfigError
from ..geometry.se3 import require_rigid
from .limits import FR3_LIMITS, JointLimits

FR3_HOME_Q = np.array([0.0, -np.pi / 4, 0.0, -3 * np.pi / 4, 0.0, np.pi / 2, np.pi / 4])
"""Franka's "ready" configuration: elbow up, hand pointing down, far from every limit and singularity."""

_A_M = (0.0, 0.0, 0.0, 0.0825, -0.0825, 0.0, 0.088)
_ALPHA_RAD = (0.0, -np.pi / 2, np.pi / 2, np.pi / 2, -np.pi / 2, np.pi / 2, np.pi / 2)
_D_M = (0.333, 0.0, 0.316, 0.0, 0.384, 0.0, 0.0)
_FLANGE_M = 0.107
_HAND_TCP_M = 0.1034


class Kinematics(Protocol):
    """Forward kinematics of a 7-joint arm. Poses are of `fr3_hand_tcp` in `fr3_link0`."""

    limits: JointLimits

    def fk(self, q: np.ndarray) -> np.ndarray:
        """q (..., 7) rad -> base_T_tcp (..., 4, 4)."""

    def jacobian(self, q: np.ndarray) -> np.ndarray:
        """q (..., 7) -> (..., 6, 7): linear (m) over angular (rad) motion of the TCP, base frame, per rad."""

    def fk_jacobian(self, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Both at once."""

    def joint_origins(self, q: np.ndarray) -> np.ndarray:
        """q (..., 7) -> where the seven joints are, (..., 7, 3) m in the base frame, base to tip."""


def franka_hand_flange_T_tcp() -> np.ndarray:
    """Flange (`fr3_link8`) to `fr3_hand_tcp` of the Franka Hand: -45 deg about z, 0.1034 m out."""
    c = np.sqrt(0.5)
    return np.array([[c, c, 0, 0], [-c, c, 0, 0], [0, 0, 1, _HAND_TCP_M], [0, 0, 0, 1]])


class Fr3Kinematics:
    """The FR3 by Franka's published Denavit-Hartenberg parameters (Craig's convention).

    flange_T_tcp: the tool, default the Franka Hand. Needs numpy only. `MujocoKinematics` serves arms
    given as MJCF.
    """

    def __init__(self, flange_T_tcp: np.ndarray | None = None, limits: JointLimits = FR3_LIMITS) -> None:
        tool = franka_hand_flange_T_tcp() if flange_T_tcp is None else require_rigid(flange_T_tcp, "flange_T_tcp")
        if len(limits.q_min) != 7:
            raise ConfigError(f"the FR3 has 7 joints; the limits are for {len(limits.q_min)}")
        flange = np.eye(4)
        flange[2, 3] = _FLANGE_M
        self.limits = limits
        self._last_T_tcp = flange @ tool
        self._fixed = np.zeros((7, 4, 4))
        ca, sa = np.cos(_ALPHA_RAD), np.sin(_ALPHA_RAD)
        self._fixed[:, 0, 0] = self._fixed[:, 3, 3] = 1.0
        self._fixed[:, 1, 1], self._fixed[:, 1, 2] = ca, -sa
        self._fixed[:, 2, 1], self._fixed[:, 2, 2] = sa, ca
        self._fixed[:, 0, 3] = _A_M
        self._fixed[:, :3, 3] += self._fixed[:, :3, 2] * np.array(_D_M)[:, None]

    def _frames(self, q: np.ndarray) -> list[np.ndarray]:
        """Pose of each joint's frame after its rotation, base frame, seven of (..., 4, 4)."""
        c, s = np.cos(q), np.sin(q)
        links = np.empty(q.shape + (4, 4))
        x, y = self._fixed[:, :, 0], self._fixed[:, :, 1]
        links[..., 0] = x * c[..., None] + y * s[..., None]
        links[..., 1] = y * c[..., None] - x * s[..., None]
        links[..., 2:] = self._fixed[:, :, 2:]
        frames = [links[..., 0, :, :]]
        for i in range(1, 7):
            frames.append(frames[-1] @ links[..., i, :, :])
        return frames

    def fk(self, q: np.ndarray) -> np.ndarray:
        """q (..., 7) rad -> base_T_tcp (..., 4, 4)."""
        return self._frames(np.asarray(q, float))[-1] @ self._last_T_tcp

    def fk_jacobian(self, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """base_T_tcp (..., 4, 4) and Jacobian (..., 6, 7) at q (..., 7)."""
        frames = np.stack(self._frames(np.asarray(q, float)), -1)
        tcp = frames[..., -1] @ self._last_T_tcp
        axis, arm = frames[..., :3, 2, :], tcp[..., :3, 3, None] - frames[..., :3, 3, :]
        jacobian = np.empty(axis.shape[:-2] + (6, 7))
        jacobian[..., 0, :] = axis[..., 1, :] * arm[..., 2, :] - axis[..., 2, :] * arm[..., 1, :]
        jacobian[..., 1, :] = axis[..., 2, :] * arm[..., 0, :] - axis[..., 0, :] * arm[..., 2, :]
        jacobian[..., 2, :] = axis[..., 0, :] * arm[..., 1, :] - axis[..., 1, :] * arm[..., 0, :]
        jacobian[..., 3:, :] = axis
        return tcp, jacobian

    def jacobian(self, q: np.ndarray) -> np.ndarray:
        """Geometric Jacobian (..., 6, 7) at q (..., 7), linear over angular, base frame."""
        return self.fk_jacobian(q)[1]

    def joint_origins(self, q: np.ndarray) -> np.ndarray:
        """q (..., 7) rad -> origins of the Denavit-Hartenberg frames (..., 7, 3) m: the fourth is the elbow, the
        fifth and sixth the wrist."""
        return np.stack([frame[..., :3, 3] for frame in self._frames(np.asarray(q, float))], -2)

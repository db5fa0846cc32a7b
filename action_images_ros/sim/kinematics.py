"""Inverse kinematics of the simulated arm: damped least squares with the elbow kept near one posture."""

from __future__ import annotations

import mujoco
import numpy as np

from ..errors import SimError
from ..geometry.se3 import so3_log
from .world import JOINTS, TCP_SITE

NOMINAL_Q = np.array([0.0, -0.2, 0.0, -2.3, 0.0, 2.1, 0.785])
_DAMPING = 3e-3
_POSTURE_GAIN = 0.15
_MAX_STEP_RAD = 0.4
_LIMIT_MARGIN_RAD = 0.03


class ArmKinematics:
    """Forward and inverse kinematics of the TCP on a private copy of the simulation state."""

    def __init__(self, model: mujoco.MjModel):
        self._model = model
        self._data = mujoco.MjData(model)
        self._site = model.site(TCP_SITE).id
        ids = [model.joint(name).id for name in JOINTS]
        self._qpos = model.jnt_qposadr[ids]
        self._dofs = model.jnt_dofadr[ids]
        self.lower = model.jnt_range[ids, 0] + _LIMIT_MARGIN_RAD
        self.upper = model.jnt_range[ids, 1] - _LIMIT_MARGIN_RAD
        self._jac = np.zeros((6, model.nv))
        self._geom_id = np.zeros(1, np.int32)

    def fk(self, q: np.ndarray) -> np.ndarray:
        """q (7,) rad -> base_T_tcp (4, 4)."""
        self._data.qpos[self._qpos] = q
        mujoco.mj_kinematics(self._model, self._data)
        T = np.eye(4)
        T[:3, :3] = self._data.site_xmat[self._site].reshape(3, 3)
        T[:3, 3] = self._data.site_xpos[self._site]
        return T

    def ik(self, base_T_tcp: np.ndarray, q_seed: np.ndarray, iterations: int = 60, position_tolerance_m: float = 5e-5,
           rotation_tolerance_rad: float = 5e-4) -> np.ndarray | None:
        """Joint angles (7,) that reach the pose, near `q_seed`; None where the arm cannot."""
        q = np.clip(np.asarray(q_seed, float), self.lower, self.upper)
        if q.shape != (7,):
            raise SimError(f"q_seed has shape {q.shape}; expected (7,)")
        for _ in range(iterations):
            T = self.fk(q)
            error = np.concatenate([base_T_tcp[:3, 3] - T[:3, 3], so3_log(base_T_tcp[:3, :3] @ T[:3, :3].T)])
            if np.abs(error[:3]).max() < position_tolerance_m and np.abs(error[3:]).max() < rotation_tolerance_rad:
                return q
            mujoco.mj_comPos(self._model, self._data)
            mujoco.mj_jacSite(self._model, self._data, self._jac[:3], self._jac[3:], self._site)
            J = self._jac[:, self._dofs]
            pinv = np.linalg.solve(J @ J.T + _DAMPING**2 * np.eye(6), J).T
            step = pinv @ error
            posture = _POSTURE_GAIN * (NOMINAL_Q - q)
            step += posture - pinv @ (J @ posture)
            largest = np.abs(step).max()
            q = np.clip(q + step * min(1.0, _MAX_STEP_RAD / largest), self.lower, self.upper)
        return None

    def unobstructed(self, q: np.ndarray, start: np.ndarray, end: np.ndarray) -> bool:
        """Whether the straight line between two points (3,) passes the arm at q, the table and the walls."""
        self.fk(q)
        distance = np.linalg.norm(end - start)
        hit = mujoco.mj_ray(self._model, self._data, start, (end - start) / distance, None, 1, -1, self._geom_id)
        return hit < 0 or hit > distance

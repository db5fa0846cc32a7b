"""Kinematics of any 7-joint arm that is given as a MuJoCo model (calibrated arms, other tools)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..errors import ConfigError
from ..geometry.se3 import make, require_rigid
from .limits import FR3_LIMITS, JointLimits


class MujocoKinematics:
    """`Kinematics` of an MJCF or URDF file; MuJoCo is imported only here.

    joints: seven joint names, base to tip. body: the body that carries the tool; body_T_tcp: the TCP
    in it. base: body of the base frame. Raises ConfigError naming what the model lacks.
    """

    def __init__(self, model_file: str | Path, joints: tuple[str, ...], body: str, body_T_tcp: np.ndarray,
                 base: str = "fr3_link0", limits: JointLimits = FR3_LIMITS) -> None:
        try:
            import mujoco
        except ImportError as error:
            raise ConfigError("MujocoKinematics needs the package mujoco: pip install mujoco") from error
        self._mj = mujoco
        if not Path(model_file).is_file():
            raise ConfigError(f"arm model {model_file} does not exist; name an MJCF or URDF file")
        self._model = mujoco.MjModel.from_xml_path(str(model_file))
        self._data = mujoco.MjData(self._model)
        self._joint_ids = [self._id(mujoco.mjtObj.mjOBJ_JOINT, name, "joint") for name in joints]
        if len(joints) != 7:
            raise ConfigError(f"{len(joints)} arm joints given; expected 7")
        self._qpos = self._model.jnt_qposadr[self._joint_ids]
        self._dofs = self._model.jnt_dofadr[self._joint_ids]
        self._body = self._id(mujoco.mjtObj.mjOBJ_BODY, body, "body")
        self._base = self._id(mujoco.mjtObj.mjOBJ_BODY, base, "body")
        self._body_T_tcp = require_rigid(body_T_tcp, "body_T_tcp")
        self.limits = limits

    def _id(self, kind, name: str, what: str) -> int:
        found = self._mj.mj_name2id(self._model, kind, name)
        if found < 0:
            names = [self._mj.mj_id2name(self._model, kind, i) or f"#{i}" for i in range(
                self._model.njnt if what == "joint" else self._model.nbody)]
            raise ConfigError(f"the arm model has no {what} {name!r}; it has: {', '.join(names)}")
        return found

    def fk(self, q: np.ndarray) -> np.ndarray:
        """q (..., 7) rad -> base_T_tcp (..., 4, 4)."""
        return self.fk_jacobian(q)[0]

    def jacobian(self, q: np.ndarray) -> np.ndarray:
        """Jacobian (..., 6, 7) at q (..., 7), linear over angular, base frame."""
        return self.fk_jacobian(q)[1]

    def fk_jacobian(self, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """base_T_tcp (..., 4, 4) and Jacobian (..., 6, 7) at q (..., 7)."""
        q = np.asarray(q, float)
        poses, jacobians = zip(*(self._one(row) for row in q.reshape(-1, 7)), strict=True)
        lead = q.shape[:-1]
        return np.reshape(poses, lead + (4, 4)), np.reshape(jacobians, lead + (6, 7))

    def joint_origins(self, q: np.ndarray) -> np.ndarray:
        """q (..., 7) rad -> the joints' anchors (..., 7, 3) m in the base frame."""
        q = np.asarray(q, float)
        anchors = np.empty(q.shape + (3,))
        for row, out in zip(q.reshape(-1, 7), anchors.reshape(-1, 7, 3), strict=True):
            self._one(row)
            R = self._data.xmat[self._base].reshape(3, 3).T
            out[:] = (self._data.xanchor[self._joint_ids] - self._data.xpos[self._base]) @ R.T
        return anchors

    def _one(self, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        self._data.qpos[self._qpos] = q
        self._mj.mj_kinematics(self._model, self._data)
        self._mj.mj_comPos(self._model, self._data)
        world_T_tcp = make(self._data.xmat[self._body].reshape(3, 3), self._data.xpos[self._body]) @ self._body_T_tcp
        full = np.zeros((6, self._model.nv))
        self._mj.mj_jac(self._model, self._data, full[:3], full[3:], world_T_tcp[:3, 3].copy(), self._body)
        R = self._data.xmat[self._base].reshape(3, 3).T
        tcp = make(R @ world_T_tcp[:3, :3], R @ (world_T_tcp[:3, 3] - self._data.xpos[self._base]))
        return tcp, np.concatenate([R @ full[:3, self._dofs], R @ full[3:, self._dofs]])

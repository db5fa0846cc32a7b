"""Poses and instructions as the plain vectors that lerobot's policies take and give."""

from __future__ import annotations

import numpy as np

from action_images_ros.sim.scene import HUES_DEG

COLOURS = tuple(HUES_DEG)
ACTION_SIZE = 10
STATE_SIZE = ACTION_SIZE + len(COLOURS)


def action_vectors(base_T_tcps: np.ndarray, openness: np.ndarray) -> np.ndarray:
    """(N, 4, 4) m, (N,) -> (N, 10) float32: position, first two columns of the rotation, gripper opening."""
    R = base_T_tcps[:, :3, :3]
    return np.concatenate([base_T_tcps[:, :3, 3], R[:, :, 0], R[:, :, 1], np.asarray(openness)[:, None]],
                          axis=1).astype(np.float32)


def poses_of(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Inverse of `action_vectors`: the two columns made orthonormal, the opening clipped to [0, 1]."""
    v = np.asarray(vectors, float)
    x = v[:, 3:6] / np.linalg.norm(v[:, 3:6], axis=1, keepdims=True)
    y = v[:, 6:9] - (v[:, 6:9] * x).sum(1, keepdims=True) * x
    y /= np.linalg.norm(y, axis=1, keepdims=True)
    T = np.tile(np.eye(4), (len(v), 1, 1))
    T[:, :3, :3] = np.stack([x, y, np.cross(x, y)], axis=-1)
    T[:, :3, 3] = v[:, :3]
    return T, np.clip(v[:, 9], 0.0, 1.0)


def state_vector(base_T_tcp: np.ndarray, openness: float, instruction: str) -> np.ndarray:
    """(16,) float32: the pose now as an action, then which colour is meant, one of six. The policies have no text
    encoder; a word that is none of the colours is an error."""
    named = [word in instruction.split() for word in COLOURS]
    if sum(named) != 1:
        raise ValueError(f"the instruction {instruction!r} must name one of {', '.join(COLOURS)}")
    pose = action_vectors(base_T_tcp[None], np.array([openness]))[0]
    return np.concatenate([pose, np.array(named, np.float32)])

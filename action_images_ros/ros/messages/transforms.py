"""geometry_msgs poses and transforms <-> 4x4 matrices."""

from __future__ import annotations

import numpy as np
from geometry_msgs.msg import Point, PoseStamped, Quaternion, Transform, Vector3

from ...errors import ActionImagesError, TransportError
from ...geometry.se3 import make, matrix_from_quat, quat_from_matrix
from .stamps import stamp_from_ns


def transform_message(T: np.ndarray) -> Transform:
    x, y, z, w = (float(v) for v in quat_from_matrix(T[:3, :3]))
    return Transform(translation=Vector3(**_xyz(T)), rotation=Quaternion(x=x, y=y, z=z, w=w))


def matrix_from_transform(msg: Transform) -> np.ndarray:
    return _matrix(msg.translation, msg.rotation)


def pose_message(T: np.ndarray, stamp_ns: int, frame_id: str) -> PoseStamped:
    msg = PoseStamped()
    msg.header.stamp, msg.header.frame_id = stamp_from_ns(stamp_ns), frame_id
    msg.pose.position = Point(**_xyz(T))
    msg.pose.orientation = transform_message(T).rotation
    return msg


def pose_from_message(msg: PoseStamped, frame_id: str) -> np.ndarray:
    """(4, 4). Raises TransportError for another frame, a quaternion without direction, values that are not finite."""
    if msg.header.frame_id != frame_id:
        raise TransportError(f"pose is in frame {msg.header.frame_id!r}; expected {frame_id!r}")
    return _matrix(msg.pose.position, msg.pose.orientation)


def _xyz(T: np.ndarray) -> dict[str, float]:
    return dict(zip("xyz", (float(v) for v in T[:3, 3])))


def _matrix(p: Point | Vector3, q: Quaternion) -> np.ndarray:
    t = np.array([p.x, p.y, p.z])
    if not np.all(np.isfinite(t)):
        raise TransportError(f"position {t.tolist()} is not finite")
    try:
        return make(matrix_from_quat(np.array([q.x, q.y, q.z, q.w])), t)
    except ActionImagesError as e:
        raise TransportError(str(e)) from e

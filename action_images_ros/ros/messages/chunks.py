"""ActionChunk <-> trajectory_msgs/MultiDOFJointTrajectory, without losing what is not credible.

Three "joints" a point:

- `tcp`: the pose in the base frame.
- `gripper`: total opening (m) in translation.x.
- `quality`: translation.x is 1 where the step is credible, else 0; translation.y the reprojection rms (px);
  its velocity carries standard deviations, linear (m) and angular (rad), base frame. Correlations are not sent.

A reader that knows only `tcp` and `gripper` still gets finite poses: a step whose pose could not be
recovered repeats the last one that could, marked as not credible; a chunk whose first pose could not
be recovered is empty. A trajectory without `quality` (another planner's) is taken as exact.
"""

from __future__ import annotations

import numpy as np
from geometry_msgs.msg import Quaternion, Transform, Twist, Vector3
from trajectory_msgs.msg import MultiDOFJointTrajectory, MultiDOFJointTrajectoryPoint

from ...errors import TransportError
from ...types import ActionChunk
from .stamps import duration_from_ns, stamp_from_ns, stamp_to_ns
from .transforms import matrix_from_transform, transform_message

TCP, GRIPPER, QUALITY = "tcp", "gripper", "quality"
MAX_WIDTH_M = 0.08
NOT_CREDIBLE = "marked not credible by its sender"
_DT_TOLERANCE_NS = 1000
_UNKNOWN_SD = 1e3


def chunk_message(chunk: ActionChunk, frame_id: str) -> MultiDOFJointTrajectory:
    """frame_id: the base frame. Raises TransportError for a chunk without stamp or dt, or with fewer than 2 steps."""
    if chunk.stamp_ns is None or chunk.dt_s is None or len(chunk) < 2:
        raise TransportError(
            f"a chunk on a topic needs stamp_ns ({chunk.stamp_ns}), dt_s ({chunk.dt_s}) and 2 or more steps; it has "
            f"{len(chunk)}"
        )
    msg = MultiDOFJointTrajectory(joint_names=[TCP, GRIPPER, QUALITY])
    msg.header.stamp, msg.header.frame_id = stamp_from_ns(chunk.stamp_ns), frame_id
    known = np.isfinite(chunk.base_T_tcps).all(axis=(1, 2))
    if not known[0]:
        return msg
    last = 0
    for k in range(len(chunk)):
        last = k if known[k] else last
        msg.points.append(_point(chunk, k, last))
    return msg


def _point(chunk: ActionChunk, k: int, pose_of: int) -> MultiDOFJointTrajectoryPoint:
    credible = bool(chunk.credible[k]) and k == pose_of
    sd = np.sqrt(np.maximum(np.diagonal(chunk.covariance[k]), 0.0))
    sd = np.where(np.isfinite(sd), np.minimum(sd, _UNKNOWN_SD), _UNKNOWN_SD)
    rms, openness = float(chunk.reproj_rms_px[k]), float(chunk.openness[k])
    openness = openness if np.isfinite(openness) else float(chunk.openness[0])
    point = MultiDOFJointTrajectoryPoint()
    point.transforms = [
        transform_message(chunk.base_T_tcps[pose_of]),
        _along_x(MAX_WIDTH_M * openness),
        _along_x(float(credible), rms if np.isfinite(rms) else _UNKNOWN_SD),
    ]
    point.velocities = [Twist(), Twist(), Twist(linear=_vector(sd[:3]), angular=_vector(sd[3:]))]
    assert chunk.dt_s is not None, "stamped"
    point.time_from_start = duration_from_ns(round(1e9 * k * chunk.dt_s))
    return point


def chunk_from_message(msg: MultiDOFJointTrajectory, frame_id: str) -> ActionChunk:
    """Raises TransportError for missing joints, another frame, no stamp, steps not equally spaced or not finite."""
    if msg.header.frame_id != frame_id:
        raise TransportError(f"targets are in frame {msg.header.frame_id!r}; expected {frame_id!r}")
    stamp_ns = stamp_to_ns(msg.header.stamp)
    if stamp_ns == 0:
        raise TransportError("targets have no stamp; it must be the time of the observation")
    missing = {TCP, GRIPPER} - set(msg.joint_names)
    if missing:
        raise TransportError(f"targets lack the joint {', '.join(sorted(missing))}; they have {list(msg.joint_names)}")
    n = len(msg.joint_names)
    if any(len(p.transforms) != n or len(p.velocities) not in (0, n) for p in msg.points):
        raise TransportError(
            f"every point of targets needs {n} transforms, one a joint, and as many velocities or none"
        )
    if len(msg.points) == 1:
        raise TransportError("targets have 1 point; 2 or more are needed to know their spacing")
    column = {name: i for i, name in enumerate(msg.joint_names)}
    poses = np.array([matrix_from_transform(p.transforms[column[TCP]]) for p in msg.points]).reshape(-1, 4, 4)
    widths = np.array([p.transforms[column[GRIPPER]].translation.x for p in msg.points])
    if not np.all((widths >= -1e-6) & (widths <= MAX_WIDTH_M + 1e-6)):
        raise TransportError(f"gripper openings are {widths.tolist()} m; legal: 0 to {MAX_WIDTH_M}")
    covariance, rms, credible = _quality(msg, column.get(QUALITY))
    why = tuple("" if ok else NOT_CREDIBLE for ok in credible)
    return ActionChunk(
        poses, np.clip(widths / MAX_WIDTH_M, 0.0, 1.0), covariance, rms, credible, why, stamp_ns, _spacing_s(msg)
    )


def _quality(msg: MultiDOFJointTrajectory, column: int | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    n = len(msg.points)
    if column is None:
        return np.zeros((n, 6, 6)), np.zeros(n), np.ones(n, bool)
    values = [p.transforms[column].translation for p in msg.points]
    sd = np.array(
        [
            [v.linear.x, v.linear.y, v.linear.z, v.angular.x, v.angular.y, v.angular.z]
            for v in (p.velocities[column] if p.velocities else Twist() for p in msg.points)
        ]
    ).reshape(n, 6)
    if not np.all(np.isfinite(sd)) or not all(np.isfinite(v.y) for v in values):
        raise TransportError("targets have a quality that is not finite")
    return (
        np.einsum("ni,ij->nij", sd**2, np.eye(6)),
        np.array([v.y for v in values]),
        np.array([v.x > 0.5 for v in values], bool),
    )


def _spacing_s(msg: MultiDOFJointTrajectory) -> float:
    if not msg.points:
        return 0.0
    times = np.array([stamp_to_ns(p.time_from_start) for p in msg.points])
    dt_ns = times[-1] / (len(times) - 1)
    if times[0] != 0 or dt_ns <= 0 or np.abs(times - dt_ns * np.arange(len(times))).max() > _DT_TOLERANCE_NS:
        raise TransportError(f"targets are at {(times * 1e-9).tolist()} s from start; expected 0, dt, 2 dt, ...")
    return float(dt_ns * 1e-9)


def _along_x(x: float, y: float = 0.0) -> Transform:
    return Transform(translation=Vector3(x=x, y=y, z=0.0), rotation=Quaternion(x=0.0, y=0.0, z=0.0, w=1.0))


def _vector(v: np.ndarray) -> Vector3:
    return Vector3(x=float(v[0]), y=float(v[1]), z=float(v[2]))

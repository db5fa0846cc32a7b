"""A decoded chunk as markers for RViz and Foxglove."""

from __future__ import annotations

import numpy as np
from geometry_msgs.msg import Point, Quaternion, Vector3
from std_msgs.msg import ColorRGBA
from visualization_msgs.msg import Marker, MarkerArray

from ...geometry.se3 import quat_from_matrix
from ...pictures.shapes import ellipsoid, gripper_lines, time_colours
from ...types import ActionChunk
from .stamps import duration_from_ns, stamp_from_ns

_WIDTH_M = 0.006
_LIFE_NS = 3_000_000_000
_OPEN, _CLOSED, _DOUBT = (0.96, 0.96, 0.98), (1.0, 0.78, 0.16), (0.5, 0.5, 0.55)


def path_markers(chunk: ActionChunk, frame_id: str) -> MarkerArray:
    """Path of the credible steps, amber (now) to magenta (end); at every step its two-sigma ellipsoid: white where the
    gripper is open, yellow where closed, grey where not credible; the gripper at the last credible step.

    Markers of a longer chunk before this one are deleted by their lifetime.
    """
    sure = np.flatnonzero(chunk.credible)
    path = _marker(chunk, frame_id, "path", 0, Marker.LINE_STRIP, (1.0, 1.0, 1.0), 1.0)
    path.scale.x = _WIDTH_M
    u = sure / max(len(chunk) - 1, 1)
    path.points = [_point(p) for p in chunk.base_T_tcps[sure, :3, 3]]
    path.colors = [_colour(c / 255.0, 1.0) for c in time_colours(u)]
    if len(sure) < 2:
        path.action = Marker.DELETE
    hand = _marker(chunk, frame_id, "gripper", 0, Marker.LINE_LIST, _OPEN, 1.0)
    hand.scale.x = _WIDTH_M
    if len(sure):
        k = int(sure[-1])
        lines = gripper_lines(chunk.base_T_tcps[k], float(chunk.openness[k]))
        hand.points = [_point(p) for p in lines.reshape(-1, 3)]
    else:
        hand.action = Marker.DELETE
    return MarkerArray(markers=[path, hand, *(_step(chunk, frame_id, k) for k in range(len(chunk)))])


def _step(chunk: ActionChunk, frame_id: str, k: int) -> Marker:
    colour = _DOUBT if not chunk.credible[k] else _OPEN if chunk.openness[k] > 0.5 else _CLOSED
    marker = _marker(chunk, frame_id, "steps", k, Marker.SPHERE, colour, 0.6)
    radii, axes = ellipsoid(chunk.covariance[k][:3, :3])
    x, y, z, w = (float(v) for v in quat_from_matrix(axes))
    marker.pose.position = _point(chunk.base_T_tcps[k][:3, 3])
    marker.pose.orientation = Quaternion(x=x, y=y, z=z, w=w)
    size = np.maximum(2 * radii, 1.5 * _WIDTH_M)
    marker.scale = Vector3(x=float(size[0]), y=float(size[1]), z=float(size[2]))
    return marker


def _marker(
    chunk: ActionChunk, frame_id: str, namespace: str, number: int, kind: int, colour: tuple, alpha: float
) -> Marker:
    marker = Marker(ns=namespace, id=number, type=kind, action=Marker.ADD, lifetime=duration_from_ns(_LIFE_NS))
    marker.header.frame_id, marker.header.stamp = frame_id, stamp_from_ns(chunk.stamp_ns or 0)
    marker.color = _colour(colour, alpha)
    marker.pose.orientation.w = 1.0
    return marker


def _point(p: np.ndarray) -> Point:
    return Point(x=float(p[0]), y=float(p[1]), z=float(p[2]))


def _colour(rgb: tuple | np.ndarray, alpha: float) -> ColorRGBA:
    return ColorRGBA(r=float(rgb[0]), g=float(rgb[1]), b=float(rgb[2]), a=alpha)

"""sensor_msgs/CameraInfo: made from a calibrated camera, and checked against one."""

from __future__ import annotations

import numpy as np
from sensor_msgs.msg import CameraInfo

from ...errors import TransportError
from ...geometry import PinholeCamera
from .stamps import stamp_from_ns

_FOCAL_TOLERANCE = 0.02
_CENTRE_TOLERANCE = 0.02

_LENS_MODELS = ("plumb_bob", "rational_polynomial")


def camera_info_message(camera: PinholeCamera, stamp_ns: int, frame_id: str) -> CameraInfo:
    width, height = camera.image_size
    msg = CameraInfo(width=width, height=height)
    msg.header.stamp, msg.header.frame_id = stamp_from_ns(stamp_ns), frame_id
    d = np.zeros(5) if camera.distortion is None else camera.distortion
    rational = len(d) == 8 and np.any(d[5:])
    msg.distortion_model = "rational_polynomial" if rational else "plumb_bob"
    msg.d = [float(x) for x in (d if rational else d[:5])]
    msg.k = camera.K.ravel()
    msg.r = np.eye(3).ravel()
    msg.p = np.concatenate([camera.K, np.zeros((3, 1))], 1).ravel()
    return msg


def check_camera_info(msg: CameraInfo, view: str, calibrated: PinholeCamera) -> None:
    """Raise TransportError unless the live camera is the one that the cell file calibrates.

    The size must be equal; focal lengths and principal point may differ by 2 % (of the focal length and
    of the image size), since a calibration refines what the driver reports. A driver that reports no K (all zero)
    passes.
    """
    width, height = calibrated.image_size
    if (msg.width, msg.height) != (width, height):
        raise TransportError(
            f"view {view}: camera_info says {msg.width}x{msg.height}, the cell file calibrates {width}x{height}; "
            f"set the camera to {width}x{height} or calibrate it at {msg.width}x{msg.height}"
        )
    K = np.asarray(msg.k, float).reshape(3, 3)
    if not np.any(K):
        return
    focal = np.abs(np.diag(K)[:2] / np.diag(calibrated.K)[:2] - 1.0).max()
    centre = (np.abs(K[:2, 2] - calibrated.K[:2, 2]) / (width, height)).max()
    if not (focal <= _FOCAL_TOLERANCE and centre <= _CENTRE_TOLERANCE):
        raise TransportError(
            f"view {view}: camera_info has fx {K[0, 0]:.1f} fy {K[1, 1]:.1f} cx {K[0, 2]:.1f} cy {K[1, 2]:.1f}, the "
            f"cell file fx {calibrated.K[0, 0]:.1f} fy {calibrated.K[1, 1]:.1f} cx {calibrated.K[0, 2]:.1f} cy "
            f"{calibrated.K[1, 2]:.1f}: not the same camera or stream; correct the topic or calibrate again"
        )


def lens_from_message(msg: CameraInfo, view: str) -> tuple[np.ndarray, tuple[int, int], np.ndarray]:
    """K (3, 3), image size and distortion (8,) that a driver reports. Raises TransportError where it reports none, or a
    lens model that is not OpenCV's."""
    K, d = np.asarray(msg.k, float).reshape(3, 3), np.asarray(msg.d, float)
    if not np.any(K):
        raise TransportError(f"view {view}: camera_info has no K; write K and image_size of this view in the cell file")
    if np.any(d) and (msg.distortion_model not in _LENS_MODELS or len(d) > 8):
        raise TransportError(
            f"view {view}: camera_info has distortion model {msg.distortion_model!r} with {len(d)} coefficients; "
            f"legal: {', '.join(_LENS_MODELS)}; have the driver publish a rectified image"
        )
    return K, (int(msg.width), int(msg.height)), np.concatenate([d, np.zeros(8)])[:8]

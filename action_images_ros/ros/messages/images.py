"""sensor_msgs/Image <-> arrays, and action images <-> their tiled Image.

rgb8, bgr8, mono8 and 16UC1 are read and written without cv_bridge and without a copy where memory allows;
any other encoding goes through cv_bridge where a ROS installation has it.
"""

from __future__ import annotations

import numpy as np
from sensor_msgs.msg import Image

from ...errors import TransportError
from ...streams.pictures import DIRECT_ENCODINGS, raw_picture
from .stamps import stamp_from_ns


def image_message(array: np.ndarray, encoding: str, stamp_ns: int, frame_id: str) -> Image:
    """array (H, W, 3) uint8 for rgb8 and bgr8, (H, W) uint8 for mono8, (H, W) uint16 for 16UC1."""
    dtype, channels = _direct(encoding)
    expected = (2 if channels == 1 else 3, dtype)
    if (array.ndim, array.dtype) != expected or (channels > 1 and array.shape[2] != channels):
        raise TransportError(
            f"an {encoding} image is {np.dtype(dtype)} with {channels} channel(s); got {array.dtype} {array.shape}"
        )
    msg = Image(
        encoding=encoding,
        height=array.shape[0],
        width=array.shape[1],
        is_bigendian=0,
        step=array.shape[1] * channels * array.dtype.itemsize,
    )
    msg.header.stamp, msg.header.frame_id = stamp_from_ns(stamp_ns), frame_id
    # Assigning an array makes rclpy check every byte; this is a thousand times faster.
    msg.data.frombytes(np.ascontiguousarray(array).data.cast("B"))
    return msg


def image_from_message(msg: Image, encoding: str = "rgb8") -> np.ndarray:
    """The picture as `encoding`: rgb8 and bgr8 (H, W, 3) uint8, mono8 (H, W) uint8, 16UC1 (H, W) uint16.

    Read-only view of the message where nothing needs converting. Raises TransportError for a message
    whose sizes contradict each other or whose encoding cannot be converted.
    """
    _direct(encoding)
    if msg.encoding not in DIRECT_ENCODINGS:
        return _by_cv_bridge(msg, encoding)
    array = raw_picture(msg)
    if msg.encoding == encoding:
        return array
    if {msg.encoding, encoding} == {"rgb8", "bgr8"}:
        return array[..., ::-1]
    if msg.encoding == "mono8" and encoding in ("rgb8", "bgr8"):
        return np.repeat(array[..., None], 3, axis=2)
    raise TransportError(
        f"image has encoding {msg.encoding}; {encoding} is needed: set the camera driver's colour format to {encoding}"
    )


def _by_cv_bridge(msg: Image, encoding: str) -> np.ndarray:
    try:
        from cv_bridge import CvBridge
    except (ImportError, AttributeError) as e:
        raise TransportError(
            f"image encoding {msg.encoding!r} needs cv_bridge, which is not installed here; without it: "
            f"{', '.join(DIRECT_ENCODINGS)}. Set the camera driver to rgb8 or install ros-$ROS_DISTRO-cv-bridge"
        ) from e
    try:
        return np.asarray(CvBridge().imgmsg_to_cv2(msg, encoding))
    except Exception as e:  # noqa: BLE001 - cv_bridge raises its own kind and OpenCV's
        raise TransportError(f"cv_bridge cannot convert {msg.encoding!r} to {encoding}: {e}") from e


def _direct(encoding: str) -> tuple[type, int]:
    if encoding not in DIRECT_ENCODINGS:
        raise TransportError(f"encoding {encoding!r} is not handled here; legal: {', '.join(DIRECT_ENCODINGS)}")
    return DIRECT_ENCODINGS[encoding]


def tile_actions(images: np.ndarray) -> np.ndarray:
    """(T, V, h, w, 3) -> one image (T h, V w, 3): row = action step, column = view."""
    T, V, h, w, c = images.shape
    return np.ascontiguousarray(images.transpose(0, 2, 1, 3, 4)).reshape(T * h, V * w, c)


def untile_actions(tiles: np.ndarray, chunk_size: int, views: int, action_size: tuple[int, int]) -> np.ndarray:
    """Inverse of `tile_actions`. Raises TransportError where the image is not chunk_size x views tiles of (w, h)."""
    w, h = action_size
    if tiles.shape != (chunk_size * h, views * w, 3):
        raise TransportError(
            f"action image is {tiles.shape[1]}x{tiles.shape[0]}; this model's is {views * w}x{chunk_size * h} "
            f"({chunk_size} action steps x {views} views of {w}x{h}): give denoiser and decoder the same model"
        )
    return np.ascontiguousarray(tiles.reshape(chunk_size, h, views, w, 3).transpose(0, 2, 1, 3, 4))

"""The topics of one camera, as realsense-ros names them."""

from __future__ import annotations

from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, Image

from ..camera_settings import Depth
from ..cameras import CameraFrame
from ..cell import View
from ..geometry import PinholeCamera
from . import qos
from .messages import camera_info_message, image_message


class CameraPublisher:
    """Publishes colour, aligned depth where the view's settings ask for it, and a camera_info with each.

    May be called from any thread; one thread a camera.
    """

    def __init__(self, node: Node, view: View) -> None:
        self._frame_id = view.frame_id
        self._color = node.create_publisher(Image, view.image_topic, qos.IMAGE_OUT)
        self._info = node.create_publisher(CameraInfo, view.info_topic, qos.STATE)
        self._depth = self._depth_info = None
        if view.driver.depth is Depth.ALIGNED:
            prefix = f"{view.topic}/aligned_depth_to_color"
            self._depth = node.create_publisher(Image, f"{prefix}/image_raw", qos.IMAGE_OUT)
            self._depth_info = node.create_publisher(CameraInfo, f"{prefix}/camera_info", qos.STATE)

    def publish(self, frame: CameraFrame, camera: PinholeCamera) -> None:
        info = camera_info_message(camera, frame.stamp_ns, self._frame_id)
        if frame.color is not None:
            self._color.publish(image_message(frame.color, "rgb8", frame.stamp_ns, self._frame_id))
            self._info.publish(info)
        if frame.depth is not None and self._depth is not None and self._depth_info is not None:
            self._depth.publish(image_message(frame.depth, "16UC1", frame.stamp_ns, self._frame_id))
            self._depth_info.publish(info)

"""What a demonstration leaves behind: moments of camera pictures with the prediction of that moment."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
from rclpy.node import Node
from sensor_msgs.msg import Image
from trajectory_msgs.msg import MultiDOFJointTrajectory

from ..cell import Cell
from ..errors import ActionImagesError
from ..model.config import ModelConfig
from ..overlay import captioned, draw_chunk, stacked, strip
from ..types import ActionChunk
from . import qos
from .messages import chunk_from_message, image_from_message, stamp_to_ns, untile_actions
from .synchroniser import Synchroniser

_PICTURE_HEIGHT_PX = 240
_STRIP_COLUMNS = 4


@dataclass(frozen=True)
class Moment:
    """images: V pictures (H, W, 3) uint8; the newest action images (T, V, h, w, 3) and targets then, or None; time_s
    since the first moment."""

    time_s: float
    images: tuple[np.ndarray, ...]
    action_images: np.ndarray | None
    chunk: ActionChunk | None


class Witness:
    """Subscribes to cameras, action images and targets and keeps moments at most rate_hz a second.

    Messages that cannot be read are counted in `unreadable`: a witness judges nobody.
    """

    def __init__(self, node: Node, cell: Cell, config: ModelConfig, rate_hz: float = 5.0) -> None:
        self._cell, self._config, self._period_ns = cell, config, round(1e9 / rate_hz)
        self._node = node
        self._sync = Synchroniser(cell.view_names, cell.sync.max_skew_s, 10.0)
        self._action_images: np.ndarray | None = None
        self._chunk: ActionChunk | None = None
        self.moments: list[Moment] = []
        self.chunks = self.unreadable = 0
        self._began_ns = self._last_ns = self._since_ns = 0
        node.create_subscription(Image, "action_images", self._on_action_images, qos.TARGETS)
        node.create_subscription(MultiDOFJointTrajectory, "targets", self._on_targets, qos.TARGETS)
        for view in cell.views:
            node.create_subscription(Image, view.image_topic, partial(self._on_image, view.name), qos.IMAGE_IN)

    def restart(self) -> None:
        """Forget everything: a new episode, of which nothing observed before this moment is part."""
        self._since_ns = self._node.get_clock().now().nanoseconds
        self.moments, self._action_images, self._chunk, self.chunks = [], None, None, 0
        self._began_ns = self._last_ns = 0

    def _on_image(self, view: str, msg: Image) -> None:
        found = self._sync.add(view, stamp_to_ns(msg.header.stamp), msg, self._node.get_clock().now().nanoseconds)
        if (
            found is None
            or min(found.stamps_ns) < self._since_ns
            or found.stamps_ns[0] - self._last_ns < self._period_ns
        ):
            return
        self._last_ns = found.stamps_ns[0]
        self._began_ns = self._began_ns or self._last_ns
        try:
            images = tuple(image_from_message(m).copy() for m in found.payloads)
        except ActionImagesError:
            self.unreadable += 1
            return
        time_s = 1e-9 * (self._last_ns - self._began_ns)
        self.moments.append(Moment(time_s, images, self._action_images, self._chunk))

    def _on_action_images(self, msg: Image) -> None:
        c = self._config
        if stamp_to_ns(msg.header.stamp) < self._since_ns:
            return
        try:
            self._action_images = untile_actions(image_from_message(msg), c.chunk_size, c.views, c.action_size).copy()
        except ActionImagesError:
            self.unreadable += 1

    def _on_targets(self, msg: MultiDOFJointTrajectory) -> None:
        if stamp_to_ns(msg.header.stamp) < self._since_ns:
            return
        try:
            self._chunk = chunk_from_message(msg, self._cell.arm.base_frame)
            self.chunks += 1
        except ActionImagesError:
            self.unreadable += 1

    def picture(self, moment: Moment, caption: str) -> np.ndarray:
        """One frame of the film: each view with the predicted action over it, next to its generated action images."""
        rows = []
        for v, view in enumerate(self._cell.views):
            image = moment.images[v]
            if moment.chunk is not None:
                image = draw_chunk(image, moment.chunk, view.camera, self._config.encoding)
            parts = [_scaled(image)]
            if moment.action_images is not None:
                parts.append(strip(moment.action_images[:, v], _PICTURE_HEIGHT_PX, _STRIP_COLUMNS))
            rows.append(
                captioned(np.hstack(parts), f"{view.name}: prediction over the live picture | generated action images")
            )
        return captioned(stacked(rows), caption)


def _scaled(image: np.ndarray) -> np.ndarray:
    import cv2

    width = round(image.shape[1] * _PICTURE_HEIGHT_PX / image.shape[0])
    return cv2.resize(image, (width, _PICTURE_HEIGHT_PX), interpolation=cv2.INTER_AREA)

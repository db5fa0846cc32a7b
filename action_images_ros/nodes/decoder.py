"""Action images in, calibrated 7-DoF targets out, and a live picture of each view with the prediction drawn on it."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from functools import partial

import numpy as np
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import String
from trajectory_msgs.msg import MultiDOFJointTrajectory
from visualization_msgs.msg import MarkerArray

from ..cell import View
from ..codec import decode
from ..errors import ActionImagesError, ConfigError, ModelError, TransportError
from ..model.config import ModelConfig
from ..model.frames import model_camera
from ..overlay import draw_chunk
from ..ros import qos
from ..ros.cells import policy_cell
from ..ros.main import run_node
from ..ros.managed import ManagedNode, made
from ..ros.messages import (
    check_camera_info,
    chunk_message,
    image_from_message,
    image_message,
    path_markers,
    stamp_to_ns,
    untile_actions,
)
from ..ros.monitor import Level, RateMonitor, Report, Window, milliseconds, not_active
from ..ros.parameters import parameter
from ..types import ActionChunk


@dataclass(frozen=True)
class DecoderParameters:
    autostart: bool = parameter(True, "configure and activate at once")
    cell: str = parameter("", "cell file: the calibrated cameras")
    model: str = parameter("", "model directory; only its config.json is read")
    overlay_rate_hz: float = parameter(
        5.0, "most overlay pictures a second and view; 0 draws none", minimum=0.0, maximum=30.0
    )


class DecoderNode(ManagedNode):
    def __init__(self) -> None:
        super().__init__("decoder", DecoderParameters)
        self.diagnostics.add(self._report)

    def setup(self) -> None:
        p = self.parameters
        for name in ("cell", "model"):
            if not getattr(p, name):
                raise ConfigError(f"decoder needs the parameter `{name}`")
        self._cell = policy_cell(p.cell)
        self._config = ModelConfig.load(p.model)
        if len(self._cell.views) != self._config.views:
            raise ModelError(
                f"the model sees {self._config.views} views, {p.cell} lists {len(self._cell.views)} "
                f"({', '.join(self._cell.view_names)}); choose the views of the cell file to match"
            )
        self._cameras = tuple(
            model_camera(c, self._config.image_size).resized(self._config.action_size) for c in self._cell.cameras
        )
        self._rate, self._took, self._age = RateMonitor(100), Window(100), Window(100)
        self._refused, self._doubtful, self._last_why = 0, 0, ""
        self._chunk: ActionChunk | None = None
        self._drawn_s = dict.fromkeys(self._cell.view_names, 0.0)
        self._targets = self.create_publisher(MultiDOFJointTrajectory, "targets", qos.TARGETS)
        self._overlays = {
            v.name: self.create_publisher(Image, f"overlay/{v.name}", qos.IMAGE_OUT) for v in self._cell.views
        }
        self._markers = self.create_publisher(MarkerArray, "predicted_path", qos.TARGETS)
        self._source = self.create_publisher(String, "control_source", qos.LATCHED)
        self._inputs: list = []

    def start(self) -> None:
        self._source.publish(String(data="policy"))
        self._inputs.append(self.create_subscription(Image, "action_images", self._on_action_images, qos.TARGETS))
        for view in self._cell.views:
            self._inputs.append(
                self.create_subscription(CameraInfo, view.info_topic, partial(self._on_info, view), qos.STATE_IN)
            )
            if self.parameters.overlay_rate_hz > 0:
                self._inputs.append(
                    self.create_subscription(Image, view.image_topic, partial(self._on_image, view), qos.IMAGE_IN)
                )
        self.get_logger().info(
            f"{self._config.chunk_size} steps of {', '.join(self._cell.view_names)}, model {self.parameters.model}"
        )

    def halt(self) -> None:
        for subscription in getattr(self, "_inputs", []):
            self.destroy_subscription(subscription)
        self._inputs = []

    def _on_info(self, view: View, msg: CameraInfo) -> None:
        try:
            check_camera_info(msg, view.name, view.camera)
        except TransportError as error:
            self.fail(error)

    def _on_action_images(self, msg: Image) -> None:
        began_s = time.monotonic()
        try:
            chunk = self._decode(msg)
            self._targets.publish(chunk_message(chunk, self._cell.arm.base_frame))
        except ActionImagesError as error:
            self._refused += 1
            self._last_why = str(error)
            self.get_logger().error(f"action images refused: {error}", throttle_duration_sec=2.0)
            return
        self._chunk = chunk
        if self._markers.get_subscription_count():
            self._markers.publish(path_markers(chunk, self._cell.arm.base_frame))
        self._took.add(time.monotonic() - began_s)
        self._rate.tick(began_s)
        self._age.add(1e-9 * (self.now_ns() - made(chunk.stamp_ns)))

    def _decode(self, msg: Image) -> ActionChunk:
        c = self._config
        stamp_ns = stamp_to_ns(msg.header.stamp)
        if stamp_ns == 0:
            raise TransportError("action images have no stamp; it must be the time of the observation")
        images = untile_actions(image_from_message(msg), c.chunk_size, c.views, c.action_size)
        chunk = decode(images, self._cameras, c.encoding, c.decode).stamped(stamp_ns, c.dt_s)
        if not np.all(chunk.credible):
            self._doubtful += 1
            k = int(np.argmin(chunk.credible))
            self._last_why = f"step {k}: {chunk.why[k]}"
        return chunk

    def _on_image(self, view: View, msg: Image) -> None:
        """Draws only where somebody looks."""
        now_s, publisher = time.monotonic(), self._overlays[view.name]
        if (
            self._chunk is None
            or now_s - self._drawn_s[view.name] < 1.0 / self.parameters.overlay_rate_hz
            or not publisher.get_subscription_count()
        ):
            return
        self._drawn_s[view.name] = now_s
        try:
            picture = draw_chunk(image_from_message(msg), self._chunk, view.camera, self._config.encoding)
        except ActionImagesError as error:
            self.fail(error)
            return
        publisher.publish(image_message(picture, "rgb8", stamp_to_ns(msg.header.stamp), msg.header.frame_id))

    def _report(self) -> Report:
        if not getattr(self, "_inputs", None):
            return not_active("decode")
        chunk = self._chunk
        values: dict[str, object] = {
            "chunks": self._rate.periods().count + (chunk is not None),
            "refused": self._refused,
            "not_wholly_credible": self._doubtful,
            **milliseconds("decode", self._took.spread()),
            **milliseconds("observation_age", self._age.spread()),
        }
        if chunk is not None:
            values |= {
                "reproj_rms_px": float(np.median(chunk.reproj_rms_px)),
                "credible_steps": int(chunk.credible.sum()),
            }
        if self._last_why:
            values["last_doubt"] = self._last_why
        doubt = chunk is not None and not np.all(chunk.credible)
        return Report(
            "decode",
            Level.WARN if doubt else Level.OK,
            self._last_why if doubt else "ok" if chunk is not None else "no action images yet",
            values,
            remedy="one doubtful chunk now and then is refused and harmless; many: give denoiser and decoder the same "
            "model, look at what the cameras see, calibrate anew",
        )


def main() -> int:
    return run_node(DecoderNode)


if __name__ == "__main__":
    sys.exit(main())

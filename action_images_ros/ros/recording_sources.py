"""The cell that `bench recording` records: cameras and an arm as publishers, and a list of everything they sent.

Cameras and arm are a process each: `python -m action_images_ros.ros.recording_sources cameras CELL TRUTH`. Ends on
SIGTERM and then writes TRUTH: for every topic [stamp in ns, CRC-32 of the content].
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
import time
import zlib
from pathlib import Path

import numpy as np
import rclpy
from rclpy.node import Node
from rclpy.serialization import serialize_message
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import CameraInfo, Image, JointState
from std_msgs.msg import String

from ..cell import Cell, View
from ..types import RobotState
from . import qos
from .loop import DeadlineLoop
from .main import die_with_parent
from .messages import camera_info_message, image_message, joint_state_message

_PICTURES = 12
_NOISE_SD = 2.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["cameras", "arm"])
    parser.add_argument("cell", type=Path)
    parser.add_argument("truth", type=Path)
    parser.add_argument("--rate", type=float, default=30.0)
    parser.add_argument("--joint-rate", type=float, default=200.0)
    args = parser.parse_args()
    ended = threading.Event()
    die_with_parent()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    sources = Cameras(Cell.load(args.cell)) if args.what == "cameras" else Arm(Cell.load(args.cell))
    rate_hz = args.rate if args.what == "cameras" else args.joint_rate
    loop = DeadlineLoop(args.what, 1.0 / rate_hz, sources.send, lambda error: ended.set())
    loop.start()
    ended.wait()
    loop.stop()
    args.truth.write_text(json.dumps({"sent": sources.sent, "skipped": loop.skipped}))
    rclpy.try_shutdown()
    return 0


class Cameras:
    def __init__(self, cell: Cell) -> None:
        self._node, self._cell = Node("cameras"), cell
        self._pictures = {v.name: pictures(cell, v.name) for v in cell.views}
        create = self._node.create_publisher
        self._images = {v.name: create(Image, v.image_topic, qos.IMAGE_OUT) for v in cell.views}
        self._infos = {v.name: create(CameraInfo, v.info_topic, qos.STATE) for v in cell.views}
        self.sent: dict[str, list[tuple[int, int]]] = {}
        self._count = 0

    def send(self, now_s: float) -> None:
        self._count += 1
        for view in self._cell.views:
            stamp_ns = time.time_ns()
            kept = self._pictures[view.name]
            picture = kept[self._count % len(kept)]
            picture[0, :3].reshape(-1)[:8] = np.frombuffer(np.int64(stamp_ns).tobytes(), np.uint8)
            self.sent.setdefault(view.image_topic, []).append((stamp_ns, zlib.crc32(picture.data)))
            self._images[view.name].publish(image_message(picture, "rgb8", stamp_ns, view.frame_id))
            self._infos[view.name].publish(camera_info_message(view.camera, stamp_ns, view.frame_id))


class Arm:
    def __init__(self, cell: Cell) -> None:
        self._node, self._cell = Node("arm"), cell
        self._states = self._node.create_publisher(JointState, "/joint_states", qos.STATE)
        self._instruction = self._node.create_publisher(String, "instruction", qos.LATCHED)
        self._instruction.publish(String(data="reach the red ball"))
        self.sent: dict[str, list[tuple[int, int]]] = {"/joint_states": []}

    def send(self, now_s: float) -> None:
        stamp_ns = time.time_ns()
        q = 0.3 * np.sin(now_s + np.arange(7))
        state = RobotState(q, np.cos(now_s + np.arange(7)), 0.04, stamp_ns, self._cell.arm.joints)
        self.sent["/joint_states"].append((stamp_ns, zlib.crc32(q)))
        self._states.publish(joint_state_message(state, self._cell.arm.fingers))


def serialised_pictures(cell: Cell, view: View) -> list[bytearray]:
    """`pictures` as messages whose stamp (8 bytes from byte 4 on) is still 0."""
    made = [image_message(p, "rgb8", 0, view.frame_id) for p in pictures(cell, view.name)]
    return [bytearray(serialize_message(m)) for m in made]


def serialised_state(cell: Cell, q: np.ndarray, stamp_ns: int) -> bytes:
    """The arm at rest at q, as a message."""
    state = RobotState(q, np.zeros(7), 0.04, stamp_ns, cell.arm.joints)
    return bytes(serialize_message(joint_state_message(state, cell.arm.fingers)))


def pictures(cell: Cell, view: str) -> list[np.ndarray]:
    """A moving arm there and back, at 30 Hz and with the noise of a sensor, so that compression has what it has in
    life; repeats without a jump."""
    from ..sim.cell import SimCell, SimCellConfig
    from ..sim.episodes import episode_rng
    from ..sim.split import Split
    from ..sim.tasks import make_task

    camera = next(v.camera for v in cell.views if v.name == view)
    sim = SimCell(SimCellConfig((view,), camera.image_size))
    sim.place_cameras({view: camera})
    rng = episode_rng(0, 0, Split.TRAIN)
    sim.reset(make_task("reach_target").sample(rng, Split.TRAIN, sim.kinematics))
    seen, q = [], sim.q
    for k in range(_PICTURES):
        sim.teleport(q + 0.01 * k, sim.gripper_width_m)
        seen.append(sim.render(view).astype(np.float32))
    noisy = [np.clip(s + rng.normal(0, _NOISE_SD, s.shape), 0, 255).astype(np.uint8) for s in seen + seen[-2:0:-1]]
    return [np.ascontiguousarray(p) for p in noisy]


if __name__ == "__main__":
    sys.exit(main())

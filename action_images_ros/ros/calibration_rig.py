"""The rig of a live calibration: from the cell file, the boards' names, and what the cameras report of themselves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from sensor_msgs.msg import CameraInfo

from ..calibration import Board, BoardMount, CameraMount, Rig, RigBoard, RigCamera
from ..cell import Cell
from ..errors import ConfigError
from .messages import check_camera_info, lens_from_message


@dataclass(frozen=True)
class WatchedCamera:
    """A camera that takes part. topic: prefix of its image and camera_info."""

    name: str
    topic: str
    serial: str
    mount: CameraMount

    @property
    def image_topic(self) -> str:
        return f"{self.topic}/color/image_raw"

    @property
    def info_topic(self) -> str:
        return f"{self.topic}/color/camera_info"


def watched_cameras(cell: Cell, wrist: str) -> dict[str, WatchedCamera]:
    """The cell's fixed cameras, and those on the arm: wrist is `NAME=TOPIC@SERIAL`, several with commas between."""
    found = {v.name: WatchedCamera(v.name, v.topic, v.serial, CameraMount.EYE_TO_HAND) for v in cell.views}
    for text in filter(None, (part.strip() for part in wrist.split(","))):
        name, equals, rest = text.partition("=")
        topic, at, serial = rest.partition("@")
        if not (name.isidentifier() and equals and topic.startswith("/") and at and serial):
            raise ConfigError(f"wrist camera is {text!r}; write NAME=TOPIC@SERIAL, e.g. wrist=/camera/wrist@123456")
        if name in found:
            raise ConfigError(f"wrist camera {name!r} has the name of another view; give it its own")
        found[name] = WatchedCamera(name, topic, serial, CameraMount.EYE_IN_HAND)
    return found


def boards(gripper: str, table: str) -> dict[str, RigBoard]:
    """Boards by mount; "" where there is none. Raises CalibrationError for a name that is none."""
    named = {BoardMount.GRIPPER: gripper, BoardMount.TABLE: table}
    return {mount.value: RigBoard(mount, Board.parse(text)) for mount, text in named.items() if text.strip()}


def live_rig(
    cell: Cell,
    cameras: Mapping[str, WatchedCamera],
    infos: Mapping[str, CameraInfo],
    boards: Mapping[str, RigBoard],
    arm: str,
) -> Rig:
    """Lenses from the cell file where it has them, checked against camera_info; from camera_info otherwise.

    Raises TransportError for a camera that is not the one of the cell file, or reports no lens.
    """
    known = {v.name: v.camera for v in cell.views if v.camera is not None}
    rig = {}
    for name, camera in cameras.items():
        if name in known:
            check_camera_info(infos[name], name, known[name])
            K, size, d = known[name].K, known[name].image_size, known[name].distortion
        else:
            K, size, d = lens_from_message(infos[name], name)
        rig[name] = RigCamera(camera.mount, camera.serial, K, size, np.zeros(8) if d is None else d)
    return Rig(rig, boards, arm)

"""The cell file: cameras with their calibration, arm, workspace and limits of one robot cell.

The one place from which every node, launch file and data set learns where the cameras are. Format:
`config/cell.yaml`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

import numpy as np
import yaml

from .camera_settings import CameraSettings, SyncRole, plain_settings, read_settings
from .cell_calibration import (
    Calibration,
    CalibrationLimits,
    plain,
    read_calibration,
    read_limits,
    require_calibrated,
)
from .errors import ActionImagesError, ConfigError
from .geometry import PinholeCamera
from .geometry.se3 import make, matrix_from_quat, quat_from_matrix
from .yaml_tree import YamlNode, load_yaml, parse_yaml

_CENTRE_SLACK = 0.5
_QUAT_TOLERANCE = 1e-3


class Calibrated(Enum):
    """REQUIRED: every view has K, base_T_camera and calibration. OPTIONAL: a cell that is about to be calibrated; the
    calibrator takes a missing K from camera_info."""

    REQUIRED = "required"
    OPTIONAL = "optional"


@dataclass(frozen=True, eq=False)
class View:
    """One camera. topic: prefix of `color/image_raw` and `color/camera_info`; serial: the device's; driver: how the
    device is driven.

    camera, calibration: None only in a cell loaded with Calibrated.OPTIONAL whose file lacks K or calibration;
    uncalibrated_size is then the image_size that the file gives, if it does."""

    name: str
    topic: str
    serial: str
    camera: PinholeCamera
    calibration: Calibration
    driver: CameraSettings = CameraSettings()
    uncalibrated_size: tuple[int, int] | None = None

    @property
    def image_size(self) -> tuple[int, int] | None:
        return self.uncalibrated_size if self.camera is None else self.camera.image_size

    @property
    def image_topic(self) -> str:
        return f"{self.topic}/color/image_raw"

    @property
    def info_topic(self) -> str:
        return f"{self.topic}/color/camera_info"

    @property
    def frame_id(self) -> str:
        """realsense-ros names the optical frame after the camera: the last part of the topic."""
        return f"{self.topic.rsplit('/', 1)[-1]}_color_optical_frame"


@dataclass(frozen=True)
class Arm:
    """Names as franka_ros2 gives them."""

    base_frame: str = "fr3_link0"
    tcp_frame: str = "fr3_hand_tcp"
    joints: tuple[str, ...] = tuple(f"fr3_joint{i}" for i in range(1, 8))
    fingers: tuple[str, ...] = ("fr3_finger_joint1", "fr3_finger_joint2")


@dataclass(frozen=True)
class WorkspaceBox:
    """Where the tool may be, base frame, metres. keep_out_boxes_m: (min corner, max corner) each; table_z_m None: no
    table."""

    box_min_m: tuple[float, float, float]
    box_max_m: tuple[float, float, float]
    keep_out_boxes_m: tuple[tuple[tuple[float, float, float], tuple[float, float, float]], ...] = ()
    table_z_m: float | None = None


@dataclass(frozen=True)
class Limits:
    """Fractions in (0, 1] of the arm's datasheet velocity, acceleration and jerk."""

    velocity_scale: float = 0.3
    acceleration_scale: float = 0.4
    jerk_scale: float = 0.2


@dataclass(frozen=True)
class Sync:
    """max_skew_s: between the exposures of one matched set; max_age_s: exposure to use; max_same_picture_s: how long a
    camera may repeat one picture to the last bit, which real ones never do, before it counts as stuck; 0: for ever."""

    max_skew_s: float = 0.05
    max_age_s: float = 0.5
    max_same_picture_s: float = 1.0


@dataclass(frozen=True, eq=False)
class Cell:
    """A robot cell as its file describes it. `views` in the order of the canvas. calibration_limits None: those of
    CalibrationLimits, as far as the calibration says anything about them."""

    name: str
    views: tuple[View, ...]
    workspace: WorkspaceBox
    arm: Arm = field(default_factory=Arm)
    limits: Limits = field(default_factory=Limits)
    sync: Sync = field(default_factory=Sync)
    calibration_limits: CalibrationLimits | None = None

    @property
    def view_names(self) -> tuple[str, ...]:
        return tuple(v.name for v in self.views)

    @property
    def cameras(self) -> tuple[PinholeCamera, ...]:
        return tuple(v.camera for v in self.views)

    def require_calibrated(self, today: str | None = None) -> None:
        """Raise ConfigError, naming every reason, unless the calibration is there, of these cameras, and within the
        limits. today: ISO 8601 date, needed where the limits have an age."""
        views = [(v.name, v.serial, v.calibration) for v in self.views]
        limits = self.calibration_limits
        require_calibrated(views, limits or CalibrationLimits(), limits is not None, today)

    @classmethod
    def load(cls, path: str | Path, calibrated: Calibrated = Calibrated.REQUIRED) -> Cell:
        """Raises ConfigError naming file, line, key, what is legal and the remedy."""
        return _cell(load_yaml(path), calibrated)

    @classmethod
    def parse(cls, text: str, file: str = "cell.yaml") -> Cell:
        return _cell(parse_yaml(text, file))

    def to_yaml(self) -> str:
        """A file that `load` reads back to the same cell."""
        return yaml.safe_dump(_plain(self), sort_keys=False, default_flow_style=None, width=118)

    def save(self, path: str | Path) -> None:
        Path(path).write_text(self.to_yaml(), encoding="utf-8")


def _cell(root: YamlNode, calibrated: Calibrated = Calibrated.REQUIRED) -> Cell:
    m = root.mapping(("name", "views", "workspace"), ("arm", "limits", "sync", "calibration_limits"))
    views = m["views"].entries()
    if len(views) < 2:
        raise m["views"].fail(f"{len(views)} view(s); action images need at least 2 calibrated cameras")
    read = tuple(_view(name, node, calibrated) for name, node in views.items())
    for what in ("topic", "serial", "frame_id"):
        seen: dict[str, str] = {}
        for view in read:
            other = seen.setdefault(getattr(view, what), view.name)
            if other != view.name:
                why = " (the last part of the topic names the camera)" if what == "frame_id" else ""
                raise views[view.name].fail(
                    f"{what} {getattr(view, what)!r} is also that of view {other}; each camera has its own{why}"
                )
    masters = [v.name for v in read if v.driver.sync is SyncRole.MASTER]
    if len(masters) > 1:
        raise m["views"].fail(f"driver.sync is master in {' and '.join(masters)}; one camera gives the pulse")
    return Cell(
        m["name"].text(),
        read,
        _workspace(m["workspace"]),
        _arm(m.get("arm")),
        _limits(m.get("limits")),
        _sync(m.get("sync")),
        read_limits(m["calibration_limits"]) if "calibration_limits" in m else None,
    )


def _view(name: str, node: YamlNode, calibrated: Calibrated) -> View:
    if not name.isidentifier():
        raise node.fail(f"view name {name!r} must be letters, digits and underscores: it is part of topic names")
    known = ("K", "image_size", "base_T_camera", "calibration")
    if calibrated is Calibrated.REQUIRED and "calibration" not in node.entries():
        raise node.fail(
            "has no calibration; calibrate this camera (action-images up calibrate_cameras), or state date, method and "
            "reproj_rms_px of where its pose comes from"
        )
    required = known if calibrated is Calibrated.REQUIRED else ()
    m = node.mapping(("topic", "serial", *required), ("distortion", "driver", *known))
    topic = m["topic"].text()
    if not topic.startswith("/") or topic.endswith("/") or any(c.isspace() for c in topic):
        raise m["topic"].fail(f"{topic!r} must be an absolute topic prefix such as /camera/{name}")
    camera = _camera(node, m) if "K" in m and "image_size" in m else None
    calibration = read_calibration(m["calibration"]) if "calibration" in m else None
    size = _image_size(m["image_size"]) if camera is None and "image_size" in m else None
    serial, driver = m["serial"].text(), read_settings(m.get("driver"))
    # None only as View says: whoever loads with Calibrated.OPTIONAL asks before use, everybody else gets both
    return View(name, topic, serial, camera, calibration, driver, size)  # type: ignore[arg-type]


def _image_size(node: YamlNode) -> tuple[int, int]:
    width, height = node.numbers(2)
    if width != int(width) or height != int(height) or min(width, height) < 1:
        raise node.fail(f"[{width}, {height}] must be two positive whole numbers: width, height")
    return int(width), int(height)


def _camera(node: YamlNode, m: dict[str, YamlNode]) -> PinholeCamera:
    width, height = _image_size(m["image_size"])
    K = np.array(m["K"].numbers(9)).reshape(3, 3)
    if K[0, 0] <= 0 or K[1, 1] <= 0 or K[1, 0] != 0 or tuple(K[2]) != (0.0, 0.0, 1.0):
        raise m["K"].fail(
            f"{K.tolist()} is no camera matrix; expected fx, 0, cx, 0, fy, cy, 0, 0, 1 with positive fx, fy"
        )
    if not (
        -_CENTRE_SLACK * width <= K[0, 2] <= (1 + _CENTRE_SLACK) * width
        and -_CENTRE_SLACK * height <= K[1, 2] <= (1 + _CENTRE_SLACK) * height
    ):
        raise m["K"].fail(
            f"the principal point ({K[0, 2]:g}, {K[1, 2]:g}) is far outside the {width:g}x{height:g} image; "
            "K and image_size are of different resolutions"
        )
    pose = _pose(m["base_T_camera"]) if "base_T_camera" in m else np.eye(4)
    coefficients = m["distortion"].items() if "distortion" in m else []
    try:
        return PinholeCamera(
            K, (width, height), pose, np.array([c.number() for c in coefficients]) if coefficients else None
        )
    except ConfigError:
        raise
    except ActionImagesError as e:
        raise node.fail(str(e)) from e


def _pose(node: YamlNode) -> np.ndarray:
    m = node.mapping(("translation_m", "quaternion_xyzw"))
    xyzw = np.array(m["quaternion_xyzw"].numbers(4))
    length = math.hypot(*xyzw)
    if abs(length - 1.0) > _QUAT_TOLERANCE:
        raise m["quaternion_xyzw"].fail(
            f"has length {length:.4g}; a rotation is a unit quaternion in the order x, y, z, w"
        )
    return make(matrix_from_quat(xyzw), np.array(m["translation_m"].numbers(3)))


def _workspace(node: YamlNode) -> WorkspaceBox:
    m = node.mapping(("box_min_m", "box_max_m"), ("keep_out_boxes_m", "table_z_m"))
    low, high = m["box_min_m"].triple(), m["box_max_m"].triple()
    _require_below(m["box_max_m"], low, high)
    boxes = []
    for box in m["keep_out_boxes_m"].items() if "keep_out_boxes_m" in m else []:
        corners = box.items()
        if len(corners) != 2:
            raise box.fail("expected [[min corner], [max corner]]")
        a, b = corners[0].triple(), corners[1].triple()
        _require_below(box, a, b)
        boxes.append((a, b))
    table = m.get("table_z_m")
    return WorkspaceBox(low, high, tuple(boxes), None if table is None or table.value is None else table.number())


def _require_below(node: YamlNode, low: tuple[float, ...], high: tuple[float, ...]) -> None:
    if any(a >= b for a, b in zip(low, high)):
        raise node.fail(f"the minimum corner {list(low)} must be below the maximum corner {list(high)} on every axis")


def _arm(node: YamlNode | None) -> Arm:
    if node is None:
        return Arm()
    m = node.mapping((), ("base_frame", "tcp_frame", "joints", "fingers"))
    default = Arm()
    joints = tuple(j.text() for j in m["joints"].items()) if "joints" in m else default.joints
    fingers = tuple(j.text() for j in m["fingers"].items()) if "fingers" in m else default.fingers
    if len(joints) != 7 or len(set(joints)) != 7:
        raise m["joints"].fail(f"{list(joints)} must be the 7 different joint names, base to flange")
    if len(fingers) != 2 or fingers[0] == fingers[1]:
        raise m["fingers"].fail(f"{list(fingers)} must be the 2 different finger joint names")
    base, tcp = (m[k].text() if k in m else getattr(default, k) for k in ("base_frame", "tcp_frame"))
    return Arm(base, tcp, joints, fingers)


def _limits(node: YamlNode | None) -> Limits:
    if node is None:
        return Limits()
    names = ("velocity_scale", "acceleration_scale", "jerk_scale")
    return Limits(**{k: v.number(1e-3, 1.0) for k, v in node.mapping((), names).items()})


def _sync(node: YamlNode | None) -> Sync:
    if node is None:
        return Sync()
    m = node.mapping((), ("max_skew_s", "max_age_s", "max_same_picture_s"))
    return Sync(**{k: v.number(0.0 if k == "max_same_picture_s" else 1e-4, 60.0) for k, v in m.items()})


def _plain(cell: Cell) -> dict:
    w = cell.workspace
    limits = {} if cell.calibration_limits is None else {"calibration_limits": plain(cell.calibration_limits)}
    return {
        "name": cell.name,
        "views": {v.name: _plain_view(v) for v in cell.views},
        "arm": {
            "base_frame": cell.arm.base_frame,
            "tcp_frame": cell.arm.tcp_frame,
            "joints": list(cell.arm.joints),
            "fingers": list(cell.arm.fingers),
        },
        "workspace": {
            "box_min_m": list(w.box_min_m),
            "box_max_m": list(w.box_max_m),
            "keep_out_boxes_m": [[list(a), list(b)] for a, b in w.keep_out_boxes_m],
            "table_z_m": w.table_z_m,
        },
        "limits": {k: getattr(cell.limits, k) for k in ("velocity_scale", "acceleration_scale", "jerk_scale")},
        "sync": {k: getattr(cell.sync, k) for k in ("max_skew_s", "max_age_s", "max_same_picture_s")},
        **limits,
    }


def _plain_view(view: View) -> dict:
    camera, driver = view.camera, plain_settings(view.driver)
    return {
        "topic": view.topic,
        "serial": view.serial,
        "K": [float(x) for x in camera.K.ravel()],
        "image_size": list(camera.image_size),
        "distortion": [] if camera.distortion is None else [float(x) for x in camera.distortion],
        "base_T_camera": {
            "translation_m": [float(x) for x in camera.base_T_camera[:3, 3]],
            "quaternion_xyzw": [float(x) for x in quat_from_matrix(camera.base_T_camera[:3, :3])],
        },
        "calibration": plain(view.calibration),
        **({"driver": driver} if driver else {}),
    }

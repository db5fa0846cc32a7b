"""A bag as a rerun recording.

Timeline `time`: exposure times of pictures, stamps of joint states, times of observation of predictions; log time for
the rest. World frame: the robot base.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ..cell import Cell, View
from ..control import Fr3Kinematics
from ..errors import ActionImagesError, DatasetError
from ..geometry.se3 import make, matrix_from_quat
from ..pictures.shapes import time_colours
from ..recording.bag import Bag, Message
from ..recording.cdr import header_stamp_ns, read_joint_state, read_text
from ..recording.provenance import CELL_NAME
from ..recording.recorded import picture_of

_TEXTS = ("instruction", "recorder/marks", "sim_cell/verdict", "controller_state", "chunk_verdicts", "control_source")
_JOINTS = "/joint_states"
_QUALITY = 88
_STATE_PERIOD_NS = 40_000_000
_CYAN, _GREY = (80, 190, 255), (150, 156, 166)


def show_bag(bag: Bag, cell: Cell | None, save: Path | None, width_px: int, rate_hz: float) -> dict[str, int]:
    """Everything of a bag that this knows; to `save`, or to a viewer that is started. Returns how many of what.

    cell: None takes the one in the bag. Raises DatasetError where there is none, or nothing to show.
    """
    import rerun as rr

    stream = rr.RecordingStream("action_images", recording_id=bag.path.resolve().name)
    shown = _Episode(stream, bag, cell or _cell_of(bag), width_px, rate_hz)
    if save is not None:
        save.parent.mkdir(parents=True, exist_ok=True)
        stream.save(save, default_blueprint=shown.blueprint())
    else:
        stream.spawn(default_blueprint=shown.blueprint())
    counts = shown.show()
    stream.flush()
    if not counts:
        raise DatasetError(f"{bag.path} holds nothing to show; it has {', '.join(bag.topics) or 'no topics'}")
    return dict(counts)


def _cell_of(bag: Bag) -> Cell:
    if CELL_NAME not in bag.attachments:
        raise DatasetError(f"{bag.path} carries no cell file; give the one of that cell with --cell")
    return Cell.parse(bag.attachments[CELL_NAME].decode("utf-8", "replace"), f"{bag.path}:{CELL_NAME}")


class _Episode:
    def __init__(self, stream, bag: Bag, cell: Cell, width_px: int, rate_hz: float) -> None:
        self._s, self._bag, self._cell, self._width = stream, bag, cell, width_px
        self._period_ns = round(0.9e9 / rate_hz)
        self._kinematics = Fr3Kinematics()
        self._path: list[np.ndarray] = []
        self._last_ns: dict[str, int] = {}
        self._verdict = ""
        self.counts: Counter[str] = Counter()
        self._actions: dict[str, Callable[[Message], None]] = {}
        for view in cell.views:
            for suffix in ("", "/compressed"):
                if view.image_topic + suffix in bag.topics:
                    self._actions[view.image_topic + suffix] = partial(self._picture, view)
        self._actions[_JOINTS] = self._joints
        for topic in bag.topics:
            name = topic.strip("/")
            if name.endswith(_TEXTS):
                self._actions[topic] = partial(self._text, name)
            elif name.endswith("targets"):
                self._actions[topic] = self._targets
            elif name.endswith(("action_images", "predicted_video")):
                self._actions[topic] = partial(self._tiles, name.rsplit("/", 1)[-1])

    def blueprint(self):
        import rerun.blueprint as rrb

        cameras = [rrb.Spatial2DView(origin=f"world/{v.name}/picture", name=v.name) for v in self._cell.views]
        tiles = [rrb.Spatial2DView(origin=n, name=n.replace("_", " ")) for n in ("action_images", "predicted_video")
                 if any(t.endswith(n) for t in self._bag.topics)]  # fmt: skip
        below = [
            rrb.TimeSeriesView(origin="joints"),
            rrb.TimeSeriesView(origin="gripper"),
            rrb.TextLogView(origin="said"),
        ]
        return rrb.Blueprint(
            rrb.Vertical(
                rrb.Horizontal(
                    rrb.Spatial3DView(origin="world", name="cell", **_viewpoint(rrb)), rrb.Vertical(*cameras), *tiles,
                    column_shares=[2, 1.2, *(0.4 for _ in tiles)],
                ),
                rrb.Horizontal(*below), row_shares=[3, 1],
            ),
            collapse_panels=True,
        )  # fmt: skip

    def show(self) -> Counter:
        import rerun as rr

        self._s.log("world", rr.ViewCoordinates.RIGHT_HAND_Z_UP, static=True)
        w = self._cell.workspace
        boxes = [(w.box_min_m, w.box_max_m), *w.keep_out_boxes_m]
        self._s.log("world/workspace", rr.Boxes3D(
            mins=[b[0] for b in boxes], sizes=[np.subtract(b[1], b[0]) for b in boxes],
            colors=[(70, 200, 140), *((235, 70, 70) for _ in w.keep_out_boxes_m)],
            fill_mode=rr.components.FillMode.MajorWireframe), static=True)  # fmt: skip
        if hasattr(rr, "SeriesLines"):
            self._s.log("joints", rr.SeriesLines(names=list(self._cell.arm.joints)), static=True)
            self._s.log("gripper", rr.SeriesLines(names=["opening, mm"]), static=True)
        for view in self._cell.views:
            self._camera(view)
        for message in self._bag.messages(set(self._actions)):
            try:
                self._actions[message.topic](message)
            except ActionImagesError as error:
                self.counts["unreadable"] += 1
                self._at(message.log_time_ns)
                self._s.log("said/unreadable", rr.TextLog(f"{message.topic}: {error}", level="WARN"))
        if len(self._path) > 1:
            self._s.log(
                "world/executed", rr.LineStrips3D([np.array(self._path)], colors=[_CYAN], radii=0.002), static=True
            )
        return self.counts

    def _camera(self, view: View) -> None:
        import rerun as rr

        if view.camera is None:
            return
        T, (width, height) = view.camera.base_T_camera, view.camera.image_size
        self._s.log(f"world/{view.name}", rr.Transform3D(translation=T[:3, 3], mat3x3=T[:3, :3]), static=True)
        scale = min(1.0, self._width / width)
        small = view.camera.resized((round(scale * width), round(scale * height)))
        self._s.log(f"world/{view.name}/picture", rr.Pinhole(
            image_from_camera=small.K, resolution=small.image_size, image_plane_distance=0.15), static=True
        )  # fmt: skip

    def _picture(self, view: View, message: Message) -> None:
        stamp_ns = header_stamp_ns(message.data)
        if stamp_ns - self._last_ns.get(view.name, 0) < self._period_ns:
            return
        self._last_ns[view.name] = stamp_ns
        self._log_picture(f"world/{view.name}/picture", picture_of(message, self._bag.topics[message.topic]), stamp_ns)
        self.counts["pictures"] += 1

    def _tiles(self, name: str, message: Message) -> None:
        image = picture_of(message, self._bag.topics[message.topic])
        self._log_picture(name, np.repeat(np.repeat(image, 2, 0), 2, 1), header_stamp_ns(message.data))
        self.counts[name.replace("_", " ")] += 1

    def _log_picture(self, entity: str, image: np.ndarray, stamp_ns: int) -> None:
        import rerun as rr

        if image.shape[1] > self._width:
            size = (self._width, round(image.shape[0] * self._width / image.shape[1]))
            image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        _, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
        self._at(stamp_ns)
        self._s.log(entity, rr.EncodedImage(contents=data.tobytes(), media_type="image/jpeg"))

    def _joints(self, message: Message) -> None:
        import rerun as rr

        record = read_joint_state(message.data)
        stamp_ns, at = record.header.stamp.ns, {n: i for i, n in enumerate(record.name)}
        arm = self._cell.arm
        if stamp_ns - self._last_ns.get(_JOINTS, 0) < _STATE_PERIOD_NS or any(j not in at for j in arm.joints):
            return
        self._last_ns[_JOINTS] = stamp_ns
        q = np.array([record.position[at[j]] for j in arm.joints])
        T = self._kinematics.fk(q)
        self._path.append(T[:3, 3])
        self._at(stamp_ns)
        self._s.log("world/tcp", rr.Transform3D(translation=T[:3, 3], mat3x3=T[:3, :3]))
        bones = np.concatenate([np.zeros((1, 3)), self._kinematics.joint_origins(q[None])[0], T[None, :3, 3]])
        self._s.log("world/arm", rr.LineStrips3D([bones], colors=[_GREY], radii=0.018))
        self._s.log("joints", rr.Scalars(q))
        if all(f in at for f in arm.fingers):
            self._s.log("gripper", rr.Scalars([1e3 * sum(record.position[at[f]] for f in arm.fingers)]))
        self.counts["arm states"] += 1

    def _targets(self, message: Message) -> None:
        import rerun as rr

        points, stamp_ns = _target_points(message)
        colours = time_colours(np.linspace(0, 1, len(points)))
        self._at(stamp_ns)
        segments = np.stack([points[:-1], points[1:]], axis=1)
        self._s.log("world/predicted", rr.LineStrips3D(segments, colors=colours[1:], radii=0.004))
        for view in self._cell.views:
            if view.camera is not None:
                scale = min(1.0, self._width / view.camera.image_size[0])
                width, height = (round(scale * n) for n in view.camera.image_size)
                uv = view.camera.resized((width, height)).project(points)
                seen = [s for s in np.stack([uv[:-1], uv[1:]], axis=1) if np.all(np.isfinite(s))]
                self._s.log(
                    f"world/{view.name}/picture/predicted", rr.LineStrips2D(seen, colors=colours[1:][: len(seen)])
                )
        self.counts["predictions"] += 1

    def _text(self, name: str, message: Message) -> None:
        import rerun as rr

        text = read_text(message.data)
        if name.endswith("sim_cell/verdict"):
            text = _verdict(text)
            if text == self._verdict:
                return
            self._verdict = text
        self._at(message.log_time_ns)
        self._s.log(f"said/{name}", rr.TextLog(text, level="INFO"))
        self.counts["texts"] += 1

    def _at(self, time_ns: int) -> None:
        self._s.set_time("time", timestamp=np.datetime64(time_ns, "ns"))


def _viewpoint(rrb) -> dict[str, Any]:
    """From the front, where this version of rerun can be told."""
    if not hasattr(rrb, "EyeControls3D"):
        return {}
    return {"eye_controls": rrb.EyeControls3D(position=(1.35, -0.95, 0.95), look_target=(0.35, 0.0, 0.35))}


def _verdict(text: str) -> str:
    """The cell's verdict, which comes again and again, without what changes in between."""
    try:
        v = json.loads(text)
        return f"episode {v['episode']}: {v['outcome']}" + (f", {v['reason']}" if v.get("reason") else "")
    except (ValueError, KeyError, TypeError):
        return text


def _target_points(message: Message) -> tuple[np.ndarray, int]:
    """TCP positions (T, 3) m and the time of the observation, ns, of a serialised MultiDOFJointTrajectory."""
    from rosbags.serde import SerdeError
    from rosbags.typesys import Stores, get_typestore

    store = get_typestore(Stores.ROS2_HUMBLE)
    try:
        msg: Any = store.deserialize_cdr(bytes(message.data), "trajectory_msgs/msg/MultiDOFJointTrajectory")
        column = list(msg.joint_names).index("tcp")
        at = [p.transforms[column] for p in msg.points]
        poses = [make(matrix_from_quat(np.array([t.rotation.x, t.rotation.y, t.rotation.z, t.rotation.w])), np.array(
            [t.translation.x, t.translation.y, t.translation.z])) for t in at]  # fmt: skip
    except (SerdeError, ValueError, IndexError, ActionImagesError) as e:
        raise DatasetError(f"targets cannot be read: {e or type(e).__name__}") from e
    if len(poses) < 2:
        raise DatasetError(f"targets have {len(poses)} points; 2 or more make a path")
    return np.array(poses)[:, :3, 3], msg.header.stamp.sec * 10**9 + msg.header.stamp.nanosec

"""Bags of a made-up cell whose whole content is known, serialised by an independent library."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from rosbags.typesys import Stores, get_typestore

from action_images_ros.cell import Calibration, Cell, View, WorkspaceBox
from action_images_ros.geometry import PinholeCamera
from action_images_ros.recording.bag_writer import BagWriter, TopicSpec
from action_images_ros.recording.mcap_records import Attachment
from action_images_ros.recording.recorder import MARKS_TOPIC

T0 = 1_700_000_000_000_000_000
SIZE = (160, 120)
RATE_HZ = 10.0
JOINTS_HZ = 50.0
HOME = np.array([0.0, -0.6, 0.0, -2.2, 0.0, 1.6, 0.8])


@lru_cache
def store():
    return get_typestore(Stores.ROS2_HUMBLE)


def message(kind: str, **fields) -> bytes:
    return bytes(store().serialize_cdr(store().types[kind](**fields), kind))


def header(stamp_ns: int, frame: str = ""):
    t = store().types
    stamp = t["builtin_interfaces/msg/Time"](sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9)
    return t["std_msgs/msg/Header"](stamp=stamp, frame_id=frame)


def cell(size=SIZE) -> Cell:
    views = []
    for k, name in enumerate(("left", "right")):
        T = np.array([[0, 0, -1, 1.4], [1 - 2 * k, 0, 0, 0.0], [0, 2 * k - 1, 0, 0.4], [0, 0, 0, 1.0]])
        if k:
            T[:3, 1] = -T[:3, 1]
            T[:3, 0] = -T[:3, 0]
            T[:3, 3] += (0.0, 0.3, 0.1)
        T[:3, 1] = np.cross(T[:3, 2], T[:3, 0])
        K = np.array([[150.0, 0, size[0] / 2 - 0.5], [0, 150.0, size[1] / 2 - 0.5], [0, 0, 1]])
        calibration = Calibration("2026-05-26", "made up", 0.1)
        views.append(View(name, f"/camera/{name}", f"serial-{name}", PinholeCamera(K, size, T), calibration))
    return Cell("made up", tuple(views), WorkspaceBox((0.2, -0.5, 0.0), (0.8, 0.5, 0.8)))


def joints_at(stamp_ns: int) -> np.ndarray:
    t = (stamp_ns - T0) * 1e-9
    return HOME + 0.2 * np.sin(0.9 * t + np.arange(7))


def width_at(stamp_ns: int) -> float:
    return 0.04 + 0.03 * np.sin((stamp_ns - T0) * 1e-9)


def picture(view: int, k: int, size=SIZE) -> np.ndarray:
    """A smooth picture with a square that moves and a number."""
    y, x = np.mgrid[: size[1], : size[0]]
    out = np.stack([x * 255 // size[0], y * 255 // size[1], np.full_like(x, 60 + 40 * view)], -1).astype(np.uint8)
    out[20:50, (3 * k) % 100 : (3 * k) % 100 + 30] = (230, 40, 40)
    cv2.putText(out, str(k), (60, 100), cv2.FONT_HERSHEY_SIMPLEX, 1.0, (255, 255, 255), 2)
    return out


@dataclass
class Recipe:
    """What is in a bag. gap: pictures between these times (s) are missing; late: s after the stamp at which things
    arrive."""

    seconds: float = 4.0
    instructions: tuple = ((0.0, "reach the red ball"),)
    marks: tuple = ("success",)
    source: str = "expert"
    attach_cell: bool = True
    jpeg: bool = False
    gap: tuple = (0.0, 0.0)
    late_s: float = 0.02
    skip: tuple = ()
    size: tuple = SIZE
    noise_ns: int = 0
    finish: bool = True
    extra: list = field(default_factory=list)


def content(recipe: Recipe) -> list[tuple[str, str, int, bytes]]:
    """(topic, type, log time, data) in the order of arrival."""
    rng, out, spec = np.random.default_rng(0), [], cell(recipe.size)
    late = round(1e9 * recipe.late_s)
    for k in range(int(recipe.seconds * JOINTS_HZ)):
        t = T0 + round(k * 1e9 / JOINTS_HZ)
        half = width_at(t) / 2
        names = [*spec.arm.joints, *spec.arm.fingers]
        position = np.concatenate([joints_at(t), [half, half]])
        data = message("sensor_msgs/msg/JointState", header=header(t), name=names, position=position,
                       velocity=np.zeros(9), effort=np.zeros(0))  # fmt: skip
        out.append(("/joint_states", "sensor_msgs/msg/JointState", t + 1_000_000, data))
    for k in range(int(recipe.seconds * RATE_HZ)):
        if recipe.gap[0] <= k / RATE_HZ < recipe.gap[1]:
            continue
        for v, view in enumerate(spec.views):
            t = T0 + round(k * 1e9 / RATE_HZ) + 3_000_000 * v + int(rng.integers(-recipe.noise_ns, recipe.noise_ns + 1))
            rgb = picture(v, k, recipe.size)
            if recipe.jpeg:
                data = cv2.imencode(".jpg", rgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])[1].reshape(-1)
                kind, topic = "sensor_msgs/msg/CompressedImage", f"{view.image_topic}/compressed"
                raw = message(kind, header=header(t, view.frame_id), format="rgb8; jpeg compressed bgr8", data=data)
            else:
                kind, topic = "sensor_msgs/msg/Image", view.image_topic
                raw = message(kind, header=header(t, view.frame_id), height=rgb.shape[0], width=rgb.shape[1],
                              encoding="rgb8", is_bigendian=0, step=3 * rgb.shape[1], data=rgb.reshape(-1))  # fmt: skip
            out.append((topic, kind, t + late, raw))
    texts = [("/instruction", T0 + round(1e9 * t), text) for t, text in recipe.instructions]
    texts.append(("/control_source", T0, recipe.source))
    texts += [(MARKS_TOPIC, T0 + round(1e9 * recipe.seconds) - 1, f'{{"mark": "{m}"}}') for m in recipe.marks]
    out += [(topic, "std_msgs/msg/String", t, message("std_msgs/msg/String", data=text)) for topic, t, text in texts]
    out = [m for m in out if m[0] not in recipe.skip] + recipe.extra
    return sorted(out, key=lambda m: m[2])


def write(directory: Path, recipe: Recipe = Recipe()) -> Path:
    attached = [Attachment("cell.yaml", "application/yaml", cell(recipe.size).to_yaml().encode())]
    bag = BagWriter(directory, attached if recipe.attach_cell else [])
    for sequence, (topic, kind, t, data) in enumerate(content(recipe)):
        bag.add_topic(TopicSpec(topic, kind))
        bag.write(topic, sequence, t, t, data)
    if recipe.finish:
        bag.finish()
    else:
        bag.flush()
    return directory

"""Poses of a calibration out of a recording: one for every rest of the arm."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from ..calibration import BoardDetector, Rig, Sample
from ..calibration.stillness import StillWatcher
from ..cell import Arm
from ..errors import CalibrationError
from ..recording.bag import Bag
from ..recording.cdr import read_camera_info, read_compressed_image, read_image, read_joint_state
from ..streams import JointStateReader, rgb_picture

_JOINTS = "/joint_states"


def bag_lenses(path: Path, topics: Mapping[str, str]) -> dict[str, tuple[np.ndarray, tuple[int, int], np.ndarray]]:
    """K (3, 3), image size and distortion (8,) by view, where the bag has its camera_info. topics: prefix by view."""
    wanted, found = {f"{topic}/color/camera_info": view for view, topic in topics.items()}, {}
    with Bag(path) as bag:
        for message in bag.messages([t for t in wanted if t in bag.topics]):
            view = wanted[message.topic]
            if view not in found:
                info = read_camera_info(message.data)
                d = np.concatenate([info.d, np.zeros(8)])[:8]
                found[view] = np.array(info.k).reshape(3, 3), (info.width, info.height), d
            if len(found) == len(wanted):
                break
    return found


def bag_samples(
    path: Path, rig: Rig, topics: Mapping[str, str], arm: Arm, settle_s: float = 0.6, still_rad: float = 0.003
) -> Iterator[tuple[Sample, dict[str, np.ndarray]]]:
    """Each rest of the arm that every camera saw, with its pictures by view, boards detected.

    topics: prefix of `color/image_raw` (or `color/image_raw/compressed`) by view. Raises CalibrationError where the bag
    lacks a topic.
    """
    with Bag(path) as bag:
        images = {_image_topic(bag, view, topics[view]): view for view in rig.cameras}
        if _JOINTS not in bag.topics:
            raise CalibrationError(f"{path} has no {_JOINTS}; record it together with the cameras")
        detector, still = BoardDetector(rig.plain_boards), StillWatcher(settle_s, still_rad)
        reader, newest, taken, count = JointStateReader(arm.joints, arm.fingers), {}, None, 0
        for message in bag.messages([_JOINTS, *images]):
            if message.topic in images:
                record = _record(message.topic, message.data)
                newest[images[message.topic]] = record.header.stamp.ns, message.topic, record
                continue
            state = reader.read(read_joint_state(message.data))
            if state is None:
                continue
            still.add(state.q, state.stamp_ns)
            shown = len(newest) == len(images) and all(still.shows_rest(t) for t, _, _ in newest.values())
            if shown and still.rest_ns != taken:
                taken, count = still.rest_ns, count + 1
                pictures = {view: _picture(*found[1:]) for view, found in newest.items()}
                _require_size(rig, pictures)
                seen = {view: d for view, picture in pictures.items() if (d := detector.detect(picture))}
                assert still.reading is not None, "at rest"
                yield Sample(f"{count - 1:02d}", still.reading, seen, stamp_ns=state.stamp_ns), pictures
                newest = {}


def _image_topic(bag: Bag, view: str, prefix: str) -> str:
    for topic in (f"{prefix}/color/image_raw", f"{prefix}/color/image_raw/compressed"):
        if topic in bag.topics:
            return topic
    raise CalibrationError(
        f"{bag.path} has no picture of view {view} ({prefix}/color/image_raw); it has: {', '.join(sorted(bag.topics))}"
    )


def _record(topic: str, data):
    return (read_compressed_image if topic.endswith("/compressed") else read_image)(data)


def _picture(topic: str, record) -> np.ndarray:
    """uint8 (H, W, 3) RGB of its own."""
    if not topic.endswith("/compressed"):
        return np.array(rgb_picture(record))
    import cv2

    image = cv2.imdecode(np.frombuffer(record.data, np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise CalibrationError(f"{topic}: a picture cannot be decoded")
    return np.ascontiguousarray(image[..., ::-1])


def _require_size(rig: Rig, pictures: Mapping[str, np.ndarray]) -> None:
    for view, picture in pictures.items():
        size = (picture.shape[1], picture.shape[0])
        if size != rig.cameras[view].image_size:
            raise CalibrationError(
                f"view {view}: pictures are {size}, the lens is known for {rig.cameras[view].image_size}"
            )

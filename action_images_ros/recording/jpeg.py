"""Images as JPEG while they are recorded: sensor_msgs/Image -> sensor_msgs/CompressedImage on `<topic>/compressed`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import cv2
import numpy as np

from ..errors import ConfigError, DatasetError, TransportError
from ..streams import rgb_picture
from .bag_writer import BagWriter, TopicSpec
from .cdr import CompressedImageRecord, compressed_image_bytes, read_image
from .sample import Sample

SUFFIX = "/compressed"
TYPE = "sensor_msgs/msg/CompressedImage"


@dataclass(frozen=True)
class JpegRules:
    """quality: 1 to 100, as libjpeg counts."""

    quality: int = 95

    def __post_init__(self) -> None:
        if not 1 <= self.quality <= 100:
            raise ConfigError(f"JPEG quality is {self.quality}; legal: 1 to 100")


def compressed(raw: bytes, rules: JpegRules) -> bytes:
    """A serialised Image as a serialised CompressedImage. Raises DatasetError, TransportError for what is no colour
    or grey image."""
    image = read_image(raw)
    picture = rgb_picture(image)
    good, data = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, rules.quality])
    if not good:
        raise DatasetError(f"image of {image.width}x{image.height} cannot be made a JPEG")
    return compressed_image_bytes(image, f"{image.encoding}; jpeg compressed bgr8", data.tobytes())


def uncompressed(record: CompressedImageRecord) -> np.ndarray:
    """(H, W, 3) uint8 RGB of JPEG or PNG. Raises DatasetError for anything else."""
    bgr = cv2.imdecode(np.frombuffer(record.data, np.uint8), cv2.IMREAD_COLOR) if len(record.data) else None
    if bgr is None:
        raise DatasetError(f"a compressed image of {len(record.data)} bytes, format {record.format!r}, is no picture")
    return np.ascontiguousarray(bgr[..., ::-1])


def jpeg_transform(
    topics: Mapping[str, TopicSpec], rules: JpegRules
) -> Callable[[BagWriter, Sample], Sample]:
    """For WriterThread. topics: by raw topic, the compressed one. What cannot be compressed is stored as it is."""

    def transform(bag: BagWriter, sample: Sample) -> Sample:
        if sample.topic not in topics:
            return sample
        try:
            data = compressed(sample.data, rules)
        except (DatasetError, TransportError):
            return sample
        bag.add_topic(topics[sample.topic])
        return sample._replace(topic=topics[sample.topic].name, data=data)

    return transform

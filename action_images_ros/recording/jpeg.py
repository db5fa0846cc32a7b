"""Images as JPEG while they are recorded: sensor_msgs/Image -> sensor_msgs/CompressedImage on `<topic>/compressed`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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
    suffix = SUFFIX

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
    if record.format in ("h264", "h265"):
        raise DatasetError(f"a picture of a {record.format} stream cannot be read alone; make a data set of the bag by "
                           "`action-images dataset`")  # fmt: skip
    bgr = cv2.imdecode(np.frombuffer(record.data, np.uint8), cv2.IMREAD_COLOR) if len(record.data) else None
    if bgr is None:
        raise DatasetError(f"a compressed image of {len(record.data)} bytes, format {record.format!r}, is no picture")
    return np.ascontiguousarray(bgr[..., ::-1])


class JpegTransform:
    """For WriterThread. topics: name of the raw topic -> it and the compressed one. What cannot be compressed is stored
    as it is."""

    def __init__(self, topics: Mapping[str, tuple[TopicSpec, TopicSpec]], rules: JpegRules) -> None:
        self._topics, self._rules = topics, rules

    def __call__(self, bag: BagWriter, sample: Sample) -> Iterator[Sample]:
        if sample.topic not in self._topics:
            yield sample
            return
        raw, stored = self._topics[sample.topic]
        try:
            data = compressed(sample.data, self._rules)
        except (DatasetError, TransportError):
            bag.add_topic(raw)
            yield sample
            return
        bag.add_topic(stored)
        yield sample._replace(topic=stored.name, data=data)

    def finish(self) -> Iterator[Sample]:
        return iter(())

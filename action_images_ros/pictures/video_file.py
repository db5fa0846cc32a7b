"""Video files: H.264 out, anything that OpenCV reads in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from ..errors import ConfigError, DatasetError, pip_install


def write_mp4(path: Path, frames: Sequence[np.ndarray], rate_hz: float) -> None:
    """H.264 video of equal uint8 (H, W, 3) RGB frames; odd sizes are scaled to even ones.

    Raises DatasetError without frames, ConfigError without the encoder.
    """
    if not len(frames):
        raise DatasetError(f"{path}: a video needs at least one frame")
    try:
        import imageio_ffmpeg
    except ImportError as e:
        raise ConfigError(f"{path}: writing video needs imageio-ffmpeg; {pip_install('sim')}") from e
    height, width = frames[0].shape[:2]
    writer = imageio_ffmpeg.write_frames(str(path), (width, height), fps=rate_hz, macro_block_size=2, quality=7,
                                         ffmpeg_log_level="error")
    writer.send(None)
    for frame in frames:
        writer.send(np.ascontiguousarray(frame))
    writer.close()


def read_at(path: Path, times_s: Sequence[float]) -> list[np.ndarray]:
    """The frames nearest to ascending times_s since the start of a video: uint8 (H, W, 3) RGB each.

    Raises DatasetError where the file is no video, tells no frame rate, or is too short.
    """
    capture = cv2.VideoCapture(str(path))
    try:
        rate_hz = capture.get(cv2.CAP_PROP_FPS) if capture.isOpened() else 0.0
        if not rate_hz > 0:
            raise DatasetError(f"{path} is not a readable video with a frame rate; give an MP4, for example")
        out: list[np.ndarray] = []
        at = 0
        for time_s in times_s:
            wanted = round(time_s * rate_hz)
            frame = out[-1] if out and wanted == at - 1 else None
            while at <= wanted:
                good, bgr = capture.read()
                if not good:
                    raise DatasetError(f"{path} ends at {at / rate_hz:.2f} s but a frame at {time_s:.2f} s is needed; "
                                       "start earlier or give a longer video")
                frame, at = bgr[..., ::-1], at + 1
            if frame is None:
                raise DatasetError(f"times {list(times_s)} must ascend and not be negative")
            out.append(np.ascontiguousarray(frame))
        return out
    finally:
        capture.release()

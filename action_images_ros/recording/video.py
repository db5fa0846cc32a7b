"""Video of an episode, written frame by frame by an ffmpeg of its own, and read back."""

from __future__ import annotations

import contextlib
import fcntl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from ..errors import ConfigError, DatasetError, one_of, pip_install

CODECS = ("h264", "lossless")
_KEY_FRAMES = 10
_PIPE_BYTES = 2**20


class VideoWriter:
    """Frames (H, W, 3) uint8 RGB into an MP4 of `rate_hz`. Use it as a context manager.

    codec: h264 (crf 18, yuv420p; even sizes) or lossless (h264 in RGB, bit for bit). Raises DatasetError where ffmpeg
    fails.
    """

    def __init__(self, path: Path, size: tuple[int, int], rate_hz: float, codec: str, threads: int = 1) -> None:
        one_of("video", codec, CODECS)
        if codec == "h264" and (size[0] % 2 or size[1] % 2):
            raise DatasetError(f"{size[0]}x{size[1]} pictures cannot be h264 video; use --video lossless")
        self.path, self.frames = path, 0
        self._size = size
        kind = (
            ["-c:v", "libx264", "-preset", "ultrafast", "-crf", "18", "-pix_fmt", "yuv420p"]
            if codec == "h264"
            else ["-c:v", "libx264rgb", "-preset", "ultrafast", "-qp", "0"]
        )
        command = [
            ffmpeg(), "-loglevel", "error", "-y", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{size[0]}x{size[1]}",
            "-r", f"{rate_hz:g}", "-i", "-", "-an", *kind, "-g", str(_KEY_FRAMES), "-bf", "0", "-threads", str(threads),
            "-movflags", "+faststart", str(path),
        ]  # fmt: skip
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                                         stderr=subprocess.PIPE)  # fmt: skip
        assert self._process.stdin is not None, "it is a pipe"
        _enlarge(self._process.stdin.fileno())

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(self, kind: type | None, *exc_info: object) -> None:
        if kind is not None:
            self._process.kill()
            self._process.communicate()
            return
        _, said = self._process.communicate()
        if self._process.returncode:
            raise DatasetError(f"{self.path}: ffmpeg failed: {said.decode(errors='replace').strip()[-300:]}")

    def write(self, picture: np.ndarray, times: int = 1) -> None:
        data = np.ascontiguousarray(picture).data.cast("B")
        assert self._process.stdin is not None and self._process.stderr is not None, "both are pipes"
        try:
            for _ in range(times):
                self._process.stdin.write(data)
                self.frames += 1
        except BrokenPipeError:
            said = self._process.stderr.read().decode(errors="replace").strip()
            raise DatasetError(f"{self.path}: ffmpeg ended early: {said[-300:]}") from None


def _enlarge(pipe: int) -> None:
    """A picture fits into the pipe, so that encoders of several views work at the same time (Linux)."""
    with contextlib.suppress(AttributeError, OSError):
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)


def ffmpeg() -> str:
    try:
        import imageio_ffmpeg
    except ImportError as e:
        raise ConfigError(f"video needs imageio-ffmpeg: {pip_install('recording')}") from e
    return imageio_ffmpeg.get_ffmpeg_exe()


def read_part(path: Path, size: tuple[int, int], first_s: float, count: int) -> Iterator[np.ndarray]:
    """`count` frames (H, W, 3) uint8 RGB from a time on, of any video that ffmpeg reads (AV1 too). Raises DatasetError
    where there are fewer."""
    command = [ffmpeg(), "-loglevel", "error", "-ss", f"{max(first_s, 0.0):.6f}", "-i", str(path), "-frames:v",
               str(count), "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]  # fmt: skip
    length = 3 * size[0] * size[1]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None, "it is a pipe"
        try:
            for k in range(count):
                data = process.stdout.read(length)
                if len(data) < length:
                    raise DatasetError(f"{path}: {k} of {count} frames of {size[0]}x{size[1]} from {first_s:.2f} s on")
                yield np.frombuffer(data, np.uint8).reshape(size[1], size[0], 3)
        finally:
            process.kill()


def read_frames(path: Path) -> Iterator[np.ndarray]:
    """Every frame of a video, (H, W, 3) uint8 RGB. Raises DatasetError where it cannot be opened."""
    capture = cv2.VideoCapture(str(path))
    try:
        if not capture.isOpened():
            raise DatasetError(f"{path} is not a readable video")
        while True:
            good, bgr = capture.read()
            if not good:
                return
            yield np.ascontiguousarray(bgr[..., ::-1])
    finally:
        capture.release()

"""A camera of librealsense's own software device, and recordings of it: what a real one looks like to pyrealsense2."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pyrealsense2 as rs

COEFFICIENTS = [-0.055, 0.066, -0.0008, 0.0006, -0.021]  # of a D455's colour camera in kind: used from image to ray
EPOCH_MS = 1_000_000.0
READOUT_US = 9_000


class SoftwareCamera:
    """Colour and depth at size (width, height), with the time of a hardware clock that began EPOCH_MS ago."""

    def __init__(self, serial: str = "111", size: tuple[int, int] = (64, 48), rate_hz: int = 30) -> None:
        self.size, self.rate_hz = size, rate_hz
        self.device = rs.software_device()
        self.device.register_info(rs.camera_info.serial_number, serial)
        self.device.register_info(rs.camera_info.name, "Software D455")
        self.device.register_info(rs.camera_info.firmware_version, "5.16.0")
        self.color_sensor, self.depth_sensor = self.device.add_sensor("RGB Camera"), self.device.add_sensor("Stereo")
        self.color = self.color_sensor.add_video_stream(self._stream(rs.stream.color, rs.format.rgb8, 1, 3))
        self.depth = self.depth_sensor.add_video_stream(self._stream(rs.stream.depth, rs.format.z16, 2, 2))
        self.depth_sensor.add_read_only_option(rs.option.depth_units, 0.001)
        same = rs.extrinsics()
        same.rotation, same.translation = [1, 0, 0, 0, 1, 0, 0, 0, 1], [0, 0, 0]
        self.depth.register_extrinsics_to(self.color, same)

    def _stream(self, kind, pixels, uid: int, bytes_a_pixel: int):
        out, (width, height) = rs.video_stream(), self.size
        out.type, out.index, out.uid, out.fmt, out.bpp = kind, 0, uid, pixels, bytes_a_pixel
        out.width, out.height, out.fps = width, height, self.rate_hz
        i = out.intrinsics
        i.width, i.height, i.fx, i.fy = width, height, 0.9 * width, 0.9 * width
        i.ppx, i.ppy = width / 2 + 0.5, height / 2 - 1.5
        i.model = rs.distortion.inverse_brown_conrady if kind == rs.stream.color else rs.distortion.none
        i.coeffs = COEFFICIENTS if kind == rs.stream.color else [0.0] * 5
        out.intrinsics = i
        return out

    def show(self, number: int, pixels: np.ndarray | None = None, depth_mm: int | None = None) -> None:
        """Frame `number` of both streams, a period after the one before. pixels: default all of the value `number`."""
        width, height = self.size
        at_ms = EPOCH_MS + 1e3 * number / self.rate_hz
        if pixels is None:
            pixels = np.full((height, width, 3), number % 256, np.uint8)
        key = rs.frame_metadata_value
        self.color_sensor.set_metadata(key.frame_timestamp, round(1e3 * at_ms))
        self.color_sensor.set_metadata(key.sensor_timestamp, round(1e3 * at_ms) - READOUT_US)
        self.color_sensor.on_video_frame(self._frame(pixels, self.color, number, at_ms))
        if depth_mm is not None:
            depth = self._frame(np.full((height, width), depth_mm, np.uint16), self.depth, number, at_ms)
            depth.depth_units = 0.001
            self.depth_sensor.on_video_frame(depth)

    @staticmethod
    def _frame(pixels: np.ndarray, profile, number: int, at_ms: float):
        frame = rs.software_video_frame()
        frame.pixels, frame.bpp = pixels, pixels.nbytes // (pixels.shape[0] * pixels.shape[1])
        frame.stride, frame.frame_number = pixels.nbytes // pixels.shape[0], number
        frame.timestamp, frame.domain = at_ms, rs.timestamp_domain.hardware_clock
        frame.profile = profile.as_video_stream_profile()
        return frame


def record(path: Path, serial: str, frames: int, size: tuple[int, int] = (64, 48), noise: bool = False) -> Path:
    """A .db3 recording of `frames` frames at 30 Hz. noise: random pictures instead of flat ones."""
    camera = SoftwareCamera(serial, size)
    recorder = rs.recorder(str(path), camera.device)
    sensors, queue = recorder.query_sensors(), rs.frame_queue(100)
    for sensor, profile in zip(sensors, (camera.color, camera.depth)):
        sensor.open(profile)
        sensor.start(queue)
    rng, due_s = np.random.default_rng(0), time.monotonic()
    for number in range(1, frames + 1):
        pixels = rng.integers(0, 256, (size[1], size[0], 3), np.uint8) if noise else None
        camera.show(number, pixels, 500 + number)
        due_s += 1.0 / camera.rate_hz
        time.sleep(max(0.0, due_s - time.monotonic()))
    for sensor in sensors:
        sensor.stop()
        sensor.close()
    return path

"""RealSense devices through pyrealsense2, which is imported when it is first needed."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np

from ..camera_settings import CameraSettings, Depth, SyncRole
from ..errors import CameraError
from .frames import CameraDescription, ClockDomain, RawFrame
from .lens import fit_distortion

_INSTALL = "pip install 'action_images_ros[cameras]' (in a checkout: ./run setup cameras)"
_RGB_EXPOSURE_UNIT_US = 100.0  # a UVC colour sensor counts in 100 us, the stereo module in us
_LONGEST_MIDDLE_NS = 100_000_000
_LENS_GRID = 25
_SYNC_MODE = {SyncRole.NONE: 0, SyncRole.MASTER: 1, SyncRole.SLAVE: 2}


@dataclass(frozen=True)
class Connected:
    """A device that the computer sees. usb: its speed, "3.2" or "2.1"."""

    serial: str
    name: str
    usb: str
    firmware: str


@functools.cache
def load_library() -> ModuleType:
    """pyrealsense2. Raises CameraError saying how to install it."""
    try:
        import pyrealsense2 as rs
    except ImportError as error:
        if "libusb" in str(error):
            raise CameraError(f"pyrealsense2 does not load: {error}; apt-get install libusb-1.0-0") from error
        raise CameraError(f"RealSense cameras need pyrealsense2 ({error}): {_INSTALL}") from error
    # wheels of some platforms hold the library one package deeper
    return rs if hasattr(rs, "pipeline") else rs.pyrealsense2


@functools.cache
def _context():
    return load_library().context()


def connected() -> tuple[Connected, ...]:
    """The devices that are plugged in, without opening them. Raises CameraError without pyrealsense2."""
    info = load_library().camera_info
    try:
        devices = list(_context().query_devices())
        return tuple(
            Connected(*(_info(d, k) for k in (info.serial_number, info.name, info.usb_type_descriptor,
                                              info.firmware_version)))
            for d in devices
        )  # fmt: skip
    except RuntimeError as error:
        raise CameraError(f"the USB devices cannot be listed: {error}") from error


def require_connected(serials: dict[str, str]) -> None:
    """serials: view -> serial. Raises CameraError naming every camera that is missing, and those that are there."""
    present = connected()
    missing = [f"{s} (view {v})" for v, s in serials.items() if s not in {d.serial for d in present}]
    if missing:
        there = ", ".join(f"{d.serial} ({d.name}, USB {d.usb})" for d in present) or "none"
        raise CameraError(
            f"camera {', '.join(missing)} is not connected; connected: {there}. Check plug and cable, the serial in "
            "the cell file, and permissions (udev rules of librealsense; docs/cameras.md)"
        )


class RealSenseCamera:
    """One device, streaming. image_size (width, height) of the colour stream; recording: a .db3 file that takes the
    place of the device, played once at its own speed.

    Raises CameraError where the device is absent, in use, or has no such stream or setting.
    """

    def __init__(
        self,
        view: str,
        serial: str,
        image_size: tuple[int, int],
        settings: CameraSettings,
        recording: Path | None = None,
    ) -> None:
        rs = load_library()
        self._rs, self._settings, self._serial = rs, settings, serial
        config = rs.config()
        if recording is None:
            require_connected({view: serial})
            config.enable_device(serial)
        elif not recording.is_file():
            raise CameraError(f"there is no recording {recording} of camera {serial} (view {view})")
        else:
            config.enable_device_from_file(str(recording), repeat_playback=False)
        config.enable_stream(rs.stream.color, *image_size, rs.format.rgb8, settings.rate_hz)
        self._align = None
        if settings.depth is Depth.ALIGNED:
            # any size: it is brought into the pixels of the colour image
            config.enable_stream(rs.stream.depth, rs.format.z16, settings.rate_hz)
            self._align = rs.align(rs.stream.color)
        self._pipeline = rs.pipeline(_context())
        self._start(config, image_size)

    def _start(self, config, image_size: tuple[int, int]) -> None:
        """Settings first, then frames: a slave must not start freely."""
        rs, rate_hz = self._rs, self._settings.rate_hz
        try:
            device = config.resolve(rs.pipeline_wrapper(self._pipeline)).get_device()
        except RuntimeError as error:
            wanted = f"{image_size[0]}x{image_size[1]} rgb8 at {rate_hz} Hz"
            if self._settings.depth is not Depth.NONE:
                wanted += " with depth"
            raise CameraError(
                f"camera {self._serial} gives no {wanted} ({error}); it gives {self._offers()}. "
                "Choose image_size and driver.rate_hz among them, and check that it hangs on USB 3"
            ) from error
        found = _info(device, rs.camera_info.serial_number)
        if found != self._serial:
            raise CameraError(f"the recording is of camera {found}, the cell file has {self._serial}")
        if not device.is_playback():
            apply_settings(device.query_sensors(), self._settings, self._serial)
        try:
            profile = self._pipeline.start(config)
        except RuntimeError as error:
            raise CameraError(
                f"camera {self._serial} does not start: {error}. Is another program using it (realsense-viewer, "
                "realsense-ros)?"
            ) from error
        self._device = device
        self.description = describe(device, profile.get_stream(rs.stream.color).as_video_stream_profile())

    def read(self, timeout_s: float) -> RawFrame | None:
        try:
            came, frames = self._pipeline.try_wait_for_frames(max(1, round(1e3 * timeout_s)))
            return raw_frame(frames, self._align) if came else None
        except RuntimeError as error:
            raise CameraError(f"camera {self._serial}: {error}") from error

    def reset(self) -> None:
        try:
            if not self._device.is_playback():
                self._device.hardware_reset()
        except RuntimeError as error:
            raise CameraError(f"camera {self._serial} cannot be reset: {error}") from error

    def close(self) -> None:
        try:
            self._pipeline.stop()
        except RuntimeError as error:
            raise CameraError(f"camera {self._serial} does not stop: {error}") from error

    def _offers(self) -> str:
        """Colour streams of the device, as text."""
        rs = self._rs
        for device in _context().query_devices():
            if _info(device, rs.camera_info.serial_number) == self._serial:
                profiles = [p.as_video_stream_profile() for s in device.query_sensors()
                            for p in s.get_stream_profiles() if p.stream_type() == rs.stream.color]
                modes = sorted({(p.width(), p.height(), p.fps()) for p in profiles if p.format() == rs.format.rgb8})
                return ", ".join(f"{w}x{h}@{f}" for w, h, f in modes) or "no colour"
        return "what was recorded"


def raw_frame(frames, align=None) -> RawFrame | None:
    """Of a pyrealsense2 frameset; None where it has no colour. align: a `pyrealsense2.align` to colour, for depth that
    was exposed within half a period of it. The arrays are copies: librealsense has few frames to lend, and stops
    when they are kept."""
    color = frames.get_color_frame()
    if not color:
        return None
    depth, depth_number = None, 0
    raw_depth = frames.get_depth_frame() if align is not None else None
    if raw_depth and abs(raw_depth.get_timestamp() - color.get_timestamp()) <= 500.0 / color.profile.fps():
        depth_number = raw_depth.get_frame_number()
        depth = _millimetres(align.process(frames).get_depth_frame())
    return RawFrame(
        color.get_frame_number(),
        round(1e6 * color.get_timestamp()),
        _domain(color),
        np.array(color.get_data()),
        _middle_ns(color),
        depth,
        depth_number,
    )


def _domain(frame) -> ClockDomain:
    domains = load_library().timestamp_domain
    names = {domains.global_time: ClockDomain.GLOBAL, domains.hardware_clock: ClockDomain.HARDWARE}
    return names.get(frame.get_frame_timestamp_domain(), ClockDomain.SYSTEM)


def _middle_ns(frame) -> int:
    """From the frame's time stamp (start of readout) back to the middle of its exposure, as far as it tells."""
    key = load_library().frame_metadata_value
    if not all(frame.supports_frame_metadata(k) for k in (key.frame_timestamp, key.sensor_timestamp)):
        return 0
    back_ns = 1000 * (frame.get_frame_metadata(key.frame_timestamp) - frame.get_frame_metadata(key.sensor_timestamp))
    return back_ns if 0 <= back_ns <= _LONGEST_MIDDLE_NS else 0


def _millimetres(depth) -> np.ndarray:
    raw, per_unit = np.array(depth.get_data()), 1e3 * depth.get_units()
    if abs(per_unit - 1.0) < 1e-6:
        return raw
    return np.clip(np.rint(raw * per_unit), 0, np.iinfo(np.uint16).max).astype(np.uint16)


def apply_settings(sensors, settings: CameraSettings, serial: str) -> None:
    """Set what is configured and put the rest under the camera's own control. Raises CameraError for a setting that the
    device lacks or refuses."""
    rs = load_library()
    o, colour = rs.option, _colour_sensor(sensors)
    for sensor in sensors:
        if sensor.supports(o.global_time_enabled):
            _set(sensor, o.global_time_enabled, 1, serial)
    role = _SYNC_MODE[settings.sync]
    trigger = [s for s in sensors if s.supports(o.inter_cam_sync_mode)]
    if role and not trigger:
        raise CameraError(f"camera {serial} has no trigger line; driver.sync must be none")
    for sensor in trigger:
        _set(sensor, o.inter_cam_sync_mode, role, serial)
    fixed = settings.exposure_us is not None
    _set_where_there(colour, o.enable_auto_exposure, not fixed, fixed, serial)
    if settings.exposure_us is not None:
        unit_us = 1.0 if colour.supports(o.depth_units) else _RGB_EXPOSURE_UNIT_US
        _set(colour, o.exposure, round(settings.exposure_us / unit_us), serial)
    if settings.gain is not None:
        _set(colour, o.gain, settings.gain, serial)
    _set_where_there(colour, o.auto_exposure_priority, 0, False, serial)  # it would lower the rate in dim light
    fixed = settings.white_balance_k is not None
    _set_where_there(colour, o.enable_auto_white_balance, not fixed, fixed, serial)
    if settings.white_balance_k is not None:
        _set(colour, o.white_balance, settings.white_balance_k, serial)


def _colour_sensor(sensors):
    """The one that gives colour: an RGB module, or the stereo module of a camera without one."""
    color = load_library().stream.color
    for sensor in sensors:
        if any(p.stream_type() == color for p in sensor.get_stream_profiles()):
            return sensor
    raise CameraError("the device has no colour stream")


def _set_where_there(sensor, option, value: float, needed: bool, serial: str) -> None:
    if needed or sensor.supports(option):
        _set(sensor, option, float(value), serial)


def _set(sensor, option, value: float, serial: str) -> None:
    name = option.name
    if not sensor.supports(option) or sensor.is_option_read_only(option):
        raise CameraError(f"camera {serial} has no adjustable {name}; take it out of the cell file's driver section")
    legal = sensor.get_option_range(option)
    if not legal.min <= value <= legal.max:
        raise CameraError(
            f"camera {serial}: {name} cannot be {value:g}; legal: {legal.min:g} to {legal.max:g} in the device's units"
        )
    try:
        sensor.set_option(option, float(value))
    except RuntimeError as error:
        raise CameraError(f"camera {serial} refuses {name} {value:g}: {error}") from error


def describe(device, profile) -> CameraDescription:
    """Of a device and its colour stream's profile."""
    rs = load_library()
    intrinsics = profile.get_intrinsics()
    K = np.array([[intrinsics.fx, 0, intrinsics.ppx], [0, intrinsics.fy, intrinsics.ppy], [0, 0, 1.0]])
    u = np.linspace(0, intrinsics.width - 1, _LENS_GRID)
    v = np.linspace(0, intrinsics.height - 1, _LENS_GRID)
    uv = np.stack(np.meshgrid(u, v), -1).reshape(-1, 2)
    rays = np.array([rs.rs2_deproject_pixel_to_point(intrinsics, [*p], 1.0)[:2] for p in uv])
    distortion, error_px = fit_distortion(uv, rays, K)
    info = rs.camera_info
    return CameraDescription(
        _info(device, info.name),
        _info(device, info.serial_number),
        _info(device, info.firmware_version),
        _info(device, info.usb_type_descriptor),
        (intrinsics.width, intrinsics.height),
        K,
        distortion,
        error_px,
    )


def _info(device, key) -> str:
    return device.get_info(key) if device.supports(key) else "unknown"

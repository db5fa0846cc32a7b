"""Through pyrealsense2 itself: the pipeline from a recording, frames and settings on a software device."""

import itertools
import threading
import time

import numpy as np
import pyrealsense2 as rs
import pytest
from software_camera import COEFFICIENTS, EPOCH_MS, READOUT_US, SoftwareCamera

from action_images_ros.camera_settings import CameraSettings, Depth, SyncRole
from action_images_ros.cameras import Backoff, CameraFeed, ClockDomain, FeedState
from action_images_ros.cameras.realsense import (
    RealSenseCamera,
    apply_settings,
    connected,
    describe,
    raw_frame,
    require_connected,
)
from action_images_ros.errors import CameraError
from action_images_ros.geometry import PinholeCamera

SIZE = (64, 48)
MS = 1_000_000


def opened(recording, settings=CameraSettings(), serial="111", size=SIZE) -> RealSenseCamera:
    return RealSenseCamera("left", serial, size, settings, recording)


def test_the_pipeline_gives_every_recorded_frame_with_its_own_time(recording):
    camera, frames = opened(recording), []
    while (frame := camera.read(0.5)) is not None:
        assert frame.color.shape == (48, 64, 3) and np.all(frame.color == frame.number)
        frames.append((frame.number, frame.device_ns, frame.domain, frame.middle_ns, frame.depth))
    camera.close()
    numbers = [f[0] for f in frames]
    assert len(numbers) >= 20 and numbers == sorted(set(numbers))
    for number, device_ns, domain, middle_ns, depth in frames:
        assert device_ns == pytest.approx(1e6 * (EPOCH_MS + 1e3 * number / 30), abs=2)
        assert (domain, middle_ns, depth) == (ClockDomain.HARDWARE, 1000 * READOUT_US, None)


def test_depth_comes_in_the_pixels_of_colour(recording):
    camera = opened(recording, CameraSettings(depth=Depth.ALIGNED))
    frames = iter(lambda: camera.read(1.0), None)
    seen = [f for f in itertools.islice(frames, 60) if f.depth is not None]
    assert len(seen) >= 3
    for frame in seen:
        assert frame.depth.shape == (48, 64) and frame.depth.dtype == np.uint16
        values = set(np.unique(frame.depth)) - {0}
        assert values == {500 + frame.depth_number} and abs(frame.depth_number - frame.number) <= 1
        assert (frame.depth > 0).mean() > 0.6
    camera.close()


def test_the_description_is_what_opencv_needs_to_see_the_same_rays(recording):
    camera = opened(recording)
    d = camera.description
    camera.close()
    assert (d.serial, d.name, d.firmware, d.image_size) == ("111", "Software D455", "5.16.0", SIZE)
    assert d.K[0, 0] == pytest.approx(57.6) and d.K[0, 2] == pytest.approx(32.5) and d.K[1, 2] == pytest.approx(22.5)
    pinhole = PinholeCamera(d.K, SIZE, np.eye(4), d.distortion)
    software = SoftwareCamera()
    stream = software.color.as_video_stream_profile().get_intrinsics()
    for uv in ([0, 0], [63, 0], [10, 40], [63, 47], [32, 23]):
        ray = np.array(rs.rs2_deproject_pixel_to_point(stream, uv, 1.0))
        assert np.linalg.norm(pinhole.project(ray[None])[0] - uv) < 0.05
        assert np.linalg.norm(ray[:2] - (np.array(uv) - d.K[:2, 2]) / 57.6) * 57.6 > 0.3 or uv == [32, 23]


def test_an_undistorted_lens_has_no_coefficients():
    camera = SoftwareCamera()
    profile = camera.depth.as_video_stream_profile()
    assert describe(camera.device, profile).distortion is None and any(COEFFICIENTS)


def test_without_the_device_it_says_so_at_once():
    began_s = time.monotonic()
    with pytest.raises(CameraError, match=r"camera 999 \(view left\) is not connected; connected: .*udev"):
        RealSenseCamera("left", "999", SIZE, CameraSettings())
    with pytest.raises(CameraError, match=r"998 \(view a\), 999 \(view b\)"):
        require_connected({"a": "998", "b": "999"})
    assert time.monotonic() - began_s < 10.0
    assert "999" not in {d.serial for d in connected()}


def test_a_wrong_recording_or_stream_is_refused(recording, tmp_path):
    with pytest.raises(CameraError, match="recording is of camera 111, the cell file has 222"):
        opened(recording, serial="222")
    with pytest.raises(CameraError, match="no recording .*nothing.db3"):
        opened(tmp_path / "nothing.db3")
    with pytest.raises(CameraError, match="gives no 640x480 rgb8 at 30 Hz"):
        opened(recording, size=(640, 480))


class TestSoftwareDevice:
    """Frames that did not pass through a file."""

    def test_frames_and_their_times(self):
        camera, syncer = SoftwareCamera(), rs.syncer(20)
        camera.device.create_matcher(rs.matchers.default)
        for sensor, profile in ((camera.color_sensor, camera.color), (camera.depth_sensor, camera.depth)):
            sensor.open(profile)
            sensor.start(syncer)
        align, got = rs.align(rs.stream.color), []
        for number in range(1, 8):
            camera.show(number, depth_mm=700)
            frame = raw_frame(syncer.wait_for_frames(2000), align)
            if frame is not None:
                got.append(frame)
        assert len(got) >= 4
        assert all(np.all(f.color == f.number) and f.middle_ns == 1000 * READOUT_US for f in got)
        deep = [f for f in got if f.depth is not None]
        assert deep and all(set(np.unique(f.depth)) <= {0, 700} for f in deep)

    def settings_of(self, settings, options):
        """The values of the software sensor's options after `settings` were applied."""
        camera = SoftwareCamera()
        for option, (low, high, now) in options.items():
            camera.color_sensor.add_option(option, rs.option_range(low, high, now, 1.0), True)
        apply_settings(camera.device.query_sensors(), settings, "111")
        return {option: camera.color_sensor.get_option(option) for option in options}

    OPTIONS = {
        rs.option.enable_auto_exposure: (0, 1, 1),
        rs.option.exposure: (1, 10_000, 156),
        rs.option.gain: (0, 128, 64),
        rs.option.auto_exposure_priority: (0, 1, 1),
        rs.option.enable_auto_white_balance: (0, 1, 1),
        rs.option.white_balance: (2800, 6500, 4600),
        rs.option.global_time_enabled: (0, 1, 0),
        rs.option.inter_cam_sync_mode: (0, 260, 0),
    }

    @pytest.fixture(autouse=True)
    def needs_option_range(self):
        if not hasattr(rs, "option_range"):
            pytest.skip("this pyrealsense2 cannot give a software sensor options")

    def test_exposure_gain_and_white_balance_are_fixed(self):
        fixed = CameraSettings(exposure_us=8000, gain=40, white_balance_k=4200, sync=SyncRole.SLAVE)
        assert self.settings_of(fixed, self.OPTIONS) == {
            rs.option.enable_auto_exposure: 0,
            rs.option.exposure: 80,  # in units of 100 us
            rs.option.gain: 40,
            rs.option.auto_exposure_priority: 0,
            rs.option.enable_auto_white_balance: 0,
            rs.option.white_balance: 4200,
            rs.option.global_time_enabled: 1,
            rs.option.inter_cam_sync_mode: 2,
        }

    def test_what_is_not_configured_is_automatic_and_never_lowers_the_rate(self):
        off = {option: (low, high, low) for option, (low, high, _) in self.OPTIONS.items()}
        now = self.settings_of(CameraSettings(), off | {rs.option.auto_exposure_priority: (0, 1, 1)})
        assert now[rs.option.enable_auto_exposure] == now[rs.option.enable_auto_white_balance] == 1
        assert now[rs.option.auto_exposure_priority] == now[rs.option.inter_cam_sync_mode] == 0

    def test_what_the_device_lacks_or_refuses_is_named(self):
        with pytest.raises(CameraError, match="111: white_balance cannot be 9000; legal: 2800 to 6500"):
            self.settings_of(CameraSettings(white_balance_k=9000), self.OPTIONS)
        with pytest.raises(CameraError, match="has no adjustable enable_auto_exposure"):
            self.settings_of(CameraSettings(exposure_us=8000), {})
        with pytest.raises(CameraError, match="no trigger line"):
            self.settings_of(CameraSettings(sync=SyncRole.MASTER), {})


def test_the_feed_reopens_a_lost_camera_and_never_repeats_a_frame(recording):
    """The end of the recording is the unplugging; the next opening plays it again, with the device's clock set back."""
    stop, frames, states = threading.Event(), [], []
    feed = CameraFeed(
        lambda: opened(recording), frames.append, time.time_ns, max_age_s=1.0, silent_s=0.3, backoff=Backoff(0.1, 0.1)
    )
    thread = threading.Thread(target=feed.run, args=(stop,), daemon=True)
    thread.start()
    end_s = time.monotonic() + 30.0
    while feed.report().connections < 3:
        states.append(feed.report().state)
        assert time.monotonic() < end_s, "waited 30 s for the third connection"
        time.sleep(0.02)
    stop.set()
    thread.join(10.0)
    report = feed.report()
    stamps = [f.stamp_ns for f in frames]
    assert not thread.is_alive() and len(stamps) > 10
    assert all(b > a for a, b in zip(stamps, stamps[1:]))
    assert all(abs(f.stamp_ns - time.time_ns()) < 60e9 for f in frames)
    assert FeedState.LOST in states and report.clock.domain is ClockDomain.HARDWARE


def test_depth_that_comes_after_its_colour_has_its_stamp(recording):
    """The pipeline often gives colour first, and once more with its depth."""
    stop, frames = threading.Event(), []
    feed = CameraFeed(
        lambda: opened(recording, CameraSettings(depth=Depth.ALIGNED)), frames.append, time.time_ns, 1.0, silent_s=0.3
    )
    thread = threading.Thread(target=feed.run, args=(stop,), daemon=True)
    thread.start()
    end_s = time.monotonic() + 30.0
    while feed.report().state is not FeedState.LOST:
        assert time.monotonic() < end_s, "waited 30 s for the end of the recording"
        time.sleep(0.02)
    stop.set()
    thread.join(10.0)
    shown = {f.stamp_ns: int(f.color[0, 0, 0]) for f in frames if f.color is not None}
    deep = [f for f in frames if f.depth is not None]
    assert len(shown) == len([f for f in frames if f.color is not None]) and len(deep) >= 5
    for frame in deep:
        assert frame.depth.max() == 500 + shown[frame.stamp_ns]
    assert len({f.stamp_ns for f in deep}) == len(deep)

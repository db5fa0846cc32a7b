"""Matched sets: examples, and what it says when none can form. Its properties are in test/property."""

import numpy as np
import pytest

from action_images_ros.errors import ConfigError, TransportError
from action_images_ros.ros.messages import image_message
from action_images_ros.ros.sim_rendering import SensorNoise
from action_images_ros.ros.synchroniser import Synchroniser
from action_images_ros.streams import fingerprint

MS = 1_000_000


def sync(**changes) -> Synchroniser:
    return Synchroniser(("a", "b"), **{"max_skew_s": 0.02, "max_age_s": 0.5, **changes})


def test_the_newest_complete_set_wins():
    s = sync()
    for k in range(3):
        assert s.add("a", (100 + 33 * k) * MS, f"a{k}", (105 + 33 * k) * MS) is None
    found = s.add("b", 170 * MS, "b2", 190 * MS)
    assert found.payloads == ("a2", "b2")
    assert found.skew_s == pytest.approx(0.004) and found.age_s == pytest.approx(0.024)
    assert s.statistics["a"].unmatched == 2


def test_frames_too_far_apart_make_no_set():
    s = sync()
    s.add("a", 100 * MS, "a", 100 * MS)
    assert s.add("b", 121 * MS, "b", 121 * MS) is None
    assert s.add("a", 139 * MS, "a", 139 * MS).stamps_ns == (139 * MS, 121 * MS)


def test_a_frame_is_used_once_and_an_old_one_not_at_all():
    s = sync()
    s.add("a", 100 * MS, "a", 100 * MS)
    assert s.add("b", 100 * MS, "b", 100 * MS) is not None
    assert s.add("b", 100 * MS, "b", 101 * MS) is None and s.statistics["b"].repeated == 1
    assert s.add("a", 99 * MS, "a", 102 * MS) is None and s.statistics["a"].late == 1
    assert s.add("a", 100 * MS, "a", 700 * MS) is None


def test_the_complaint_names_the_view_and_the_cause():
    s = sync()
    assert s.complaint(0) == "view a: no image yet"
    for k in range(10):
        s.add("a", 30 * k * MS, None, 30 * k * MS)
        s.add("b", 30 * k * MS, None, 30 * k * MS)
    assert s.complaint(280 * MS) == ""
    assert "view a: no image for 2.7 s" in s.complaint(3000 * MS)


def test_a_clock_offset_and_unsynchronised_cameras_are_named():
    late, early, apart = sync(), sync(), sync()
    for k in range(20):
        now = (1000 + 30 * k) * MS
        for view in ("a", "b"):
            late.add(view, now - 900 * MS, None, now)
            early.add(view, now + 300 * MS, None, now)
        apart.add("a", now, None, now)
        apart.add("b", now - 200 * MS - 15 * MS * (k == 0), None, now)
    now = 1570 * MS
    assert "0.90 s old" in late.complaint(now) and late.sets == 0
    assert "in the future" in early.complaint(now) and early.sets == 0
    stuck = sync()
    for k in range(5):
        stuck.add("a", 7 * MS, None, (10 + k) * MS)
        stuck.add("b", (10 + k) * MS, None, (10 + k) * MS)
    assert "stuck" in stuck.complaint(15 * MS)


def test_a_camera_that_gets_stuck_later_is_named_and_not_used():
    """By its stamp, and by its picture: nothing it gives goes into a set until it shows something new."""
    by_stamp, by_picture = sync(), sync(max_same_picture_s=0.2)
    for k in range(40):
        now, stamp = (100 + 33 * k) * MS, (100 + 33 * min(k, 20)) * MS
        by_stamp.add("a", stamp, None, now)
        by_stamp.add("b", now, None, now)
        by_picture.add("a", now, None, now, min(k, 20))
        by_picture.add("b", now, None, now, 1000 + k)
    assert by_stamp.complaint(now) == "view a: stuck: the last 20 images have the same stamp" and by_stamp.sets == 21
    assert "view a: stuck: the same picture to the last bit for 0.6 s" in by_picture.complaint(now)
    assert by_picture.sets == 21 + 6 and by_picture.statistics["a"].frozen == 19 - 6
    by_picture.add("a", now + 33 * MS, None, now + 33 * MS, 77)
    assert by_picture.add("b", now + 33 * MS, None, now + 33 * MS, 78) is not None
    assert by_picture.complaint(now + 40 * MS) == ""


def test_a_still_scene_is_no_stuck_camera_where_nobody_looks_at_pictures():
    s = sync()
    for k in range(60):
        s.add("a", 33 * k * MS, None, 33 * k * MS, 1)
        s.add("b", 33 * k * MS, None, 33 * k * MS, 1)
    assert s.sets == 60 and s.complaint(60 * 33 * MS) == ""


def test_cameras_that_drift_apart_are_told_by_how_much():
    s = sync()
    for k in range(90):
        now = (1000 + 100 * k) * MS
        s.add("a", now, None, now)
        s.add("b", now - min(k, 45) * MS, None, now)
    assert s.sets == 21
    assert "the newest of a is 0.045 s after that of b" in s.complaint(now)
    assert s.statistics["a"].lag_s == pytest.approx(0.010)


def test_fingerprints_tell_pictures_apart():
    rng, seen = np.random.default_rng(0), set()
    for shape in ((240, 320, 3), (480, 640, 3), (37, 53, 3), (1, 1, 3)):
        picture = rng.integers(0, 256, shape, np.uint8)
        message = image_message(picture, "rgb8", 1, "a")
        assert fingerprint(message) == fingerprint(image_message(picture.copy(), "rgb8", 2, "b"))
        noise = SensorNoise(0.5)
        made = {fingerprint(image_message(noise.add(np.full((240, 320, 3), 90, np.uint8)), "rgb8", 1, "a"))}
        seen |= made | {fingerprint(message)}
    assert len(seen) >= 5


def test_noise_is_small_and_every_picture_has_its_own():
    noise, grey = SensorNoise(1.0), np.full((240, 320, 3), 100, np.uint8)
    a, b = noise.add(grey).astype(float), noise.add(grey).astype(float)
    assert abs(a.mean() - 100) < 0.05 and a.std() == pytest.approx(1.04, abs=0.05) and (a != b).mean() > 0.3
    assert abs(np.corrcoef(a.ravel() - 100, b.ravel() - 100)[0, 1]) < 0.02
    assert SensorNoise(0.0).add(grey) is grey


def test_it_refuses_nonsense():
    with pytest.raises(ConfigError):
        sync(max_skew_s=0.0)
    with pytest.raises(TransportError, match="legal: a, b"):
        sync().add("c", 0, None, 0)

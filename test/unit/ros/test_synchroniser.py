"""Matched sets: examples, and what it says when none can form. Its properties are in test/property."""

import pytest

from action_images_ros.errors import ConfigError, TransportError
from action_images_ros.ros.synchroniser import Synchroniser

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


def test_it_refuses_nonsense():
    with pytest.raises(ConfigError):
        sync(max_skew_s=0.0)
    with pytest.raises(TransportError, match="legal: a, b"):
        sync().add("c", 0, None, 0)

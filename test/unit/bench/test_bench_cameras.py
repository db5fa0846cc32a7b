"""bench cameras: what it counts."""

import pytest

from action_images_ros.bench.cameras import WARM_UP_NS, summary
from action_images_ros.ros.camera_load import Case, Heard, Sent

S, MS = 1_000_000_000, 1_000_000
CASE = Case(cameras=2, size=(64, 48), rate_hz=10.0, listeners=2, seconds=3.0)
STAMPS = [5 * S + k * 100 * MS for k in range(40)]


def heard(missing=(), age_ms=4) -> Heard:
    images = {v: [(t, age_ms * MS) for t in STAMPS if (v, t) not in missing] for v in ("a", "b")}
    complete = [t for t in STAMPS if not any((v, t) in missing for v in images)]
    return Heard(images, complete, 0.25)


def test_losses_are_counted_for_every_listener_and_the_beginning_is_not():
    sent = Sent({"a": STAMPS, "b": STAMPS}, 0, 0.1)
    early = {("a", STAMPS[0]), ("b", STAMPS[3])}
    assert all(t < STAMPS[0] + WARM_UP_NS for _, t in early)
    row = summary(CASE, sent, [heard(early), heard({("a", STAMPS[20]), ("b", STAMPS[20]), ("a", STAMPS[39])}, 10)])
    assert (row["sent"], row["lost"]) == (2 * 2 * 30, 3)
    assert row["sets_made"] == pytest.approx((30 + 28) / 60)
    assert row["age_p50_ms"] == pytest.approx(4.0) and row["age_max_ms"] == pytest.approx(10.0)
    assert (row["publisher_cpu"], row["listener_cpu"]) == (0.1, 0.25)

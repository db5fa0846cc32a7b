"""Quality of service of every kind of topic, in one place."""

from __future__ import annotations

from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy


def _profile(
    depth: int, reliability: ReliabilityPolicy, durability: DurabilityPolicy = DurabilityPolicy.VOLATILE
) -> QoSProfile:
    return QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=depth, reliability=reliability, durability=durability)


IMAGE_OUT = _profile(4, ReliabilityPolicy.RELIABLE)
"""Publishers of images: reliable, so that any subscriber matches."""

IMAGE_IN = _profile(10, ReliabilityPolicy.BEST_EFFORT)
"""Subscribers to images: match a reliable and a best-effort driver. Ten: a third of a second at 30 Hz without the
processor loses none."""

NEWEST_IN = _profile(1, ReliabilityPolicy.BEST_EFFORT)
"""Subscribers that show: only the newest counts, and nobody waits for them."""

STATE = _profile(10, ReliabilityPolicy.RELIABLE)
STATE_IN = _profile(10, ReliabilityPolicy.BEST_EFFORT)
TARGETS = _profile(2, ReliabilityPolicy.RELIABLE)
COMMAND = _profile(1, ReliabilityPolicy.RELIABLE)
"""Commands: only the newest counts."""

LATCHED = _profile(1, ReliabilityPolicy.RELIABLE, DurabilityPolicy.TRANSIENT_LOCAL)
"""What a late subscriber must still get: instruction, verdict."""

EVENTS = _profile(20, ReliabilityPolicy.RELIABLE, DurabilityPolicy.TRANSIENT_LOCAL)
"""Changes of state: rare, none may be missed, a late subscriber gets the last ones."""

DIAGNOSTICS = _profile(10, ReliabilityPolicy.RELIABLE)
TRUTH = _profile(500, ReliabilityPolicy.RELIABLE)
"""Rows of a record: none may be lost."""

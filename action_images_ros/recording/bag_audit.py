"""The streams of a finished recording: the recorder's audit, made afterwards, for any bag."""

from __future__ import annotations

from dataclasses import asdict

from .audit import TopicAudit
from .bag import Bag
from .cdr import header_stamp_ns

_STAMPED = (
    "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage", "sensor_msgs/msg/CameraInfo",
    "sensor_msgs/msg/JointState", "geometry_msgs/msg/PoseStamped", "diagnostic_msgs/msg/DiagnosticArray",
    "trajectory_msgs/msg/MultiDOFJointTrajectory", "trajectory_msgs/msg/JointTrajectory",
)  # fmt: skip


def audit_bag(bag: Bag) -> dict[str, object]:
    """JSON-able: duration_s, torn, topics -> TopicReport fields with type. Messages lost on the way are known only of
    bags that note the publisher's numbers, as ours do."""
    audits = {name: TopicAudit(name, kind in _STAMPED) for name, kind in bag.topics.items()}
    ours = "/recorder/provenance" in bag.topics
    numbers: dict[str, list[int]] = {name: [] for name in bag.topics}
    first: int | None = None
    last = 0
    for m in bag.messages():
        stamp_ns = header_stamp_ns(m.data) if bag.topics[m.topic] in _STAMPED else 0
        audits[m.topic].add(m.log_time_ns, stamp_ns, len(m.data), None, None)
        numbers[m.topic].append(m.sequence)
        first, last = m.log_time_ns if first is None else first, m.log_time_ns
    if ours:
        for name, audit in audits.items():
            audit.lost = _missing(numbers[name])
    return {
        "bag": str(bag.path),
        "torn": bag.torn,
        "duration_s": 0.0 if first is None else 1e-9 * (last - first),
        "topics": {name: {"type": bag.topics[name], **asdict(a.report())} for name, a in sorted(audits.items())},
    }


def _missing(numbers: list[int]) -> int:
    """Of the numbers of one publisher; 0 where they are those of several."""
    ascending = all(a < b for a, b in zip(numbers, numbers[1:]))
    return numbers[-1] - numbers[0] + 1 - len(numbers) if numbers and ascending else 0


def audit_table(result: dict) -> str:
    lines = [
        f"{result['bag']}: {result['duration_s']:.1f} s" + (", its end is torn (--repair)" if result["torn"] else ""),
        f"{'topic':44s} {'messages':>8s} {'Hz':>7s} {'jitter':>8s} {'age':>7s} {'gaps':>5s} {'longest':>8s} lost",
    ]
    for name, t in result["topics"].items():
        lines.append(
            f"{name:44s} {t['messages']:8d} {t['rate_hz']:7.1f} {t['jitter_ms']:5.1f} ms {1e3 * t['age_s']:4.0f} ms "
            f"{t['gaps']:5d} {t['largest_gap_s']:6.2f} s {t['lost'] + t['overflow']:5d}"
        )
    return "\n".join(lines)

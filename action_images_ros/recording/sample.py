"""One serialised message on its way into a recording."""

from __future__ import annotations

from typing import NamedTuple


class Sample(NamedTuple):
    """sequence: the publisher's own number, where it is known; log_time_ns: received; publish_time_ns: sent."""

    topic: str
    sequence: int
    log_time_ns: int
    publish_time_ns: int
    data: bytes

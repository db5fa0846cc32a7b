"""The last seconds before a recording begins, and what is still valid from long before."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from ..errors import ConfigError
from .sample import Sample


class PreRoll:
    """Keeps the samples of the last span_ns, at most max_bytes, and the newest one of every latched topic for ever."""

    def __init__(self, span_ns: int, max_bytes: int) -> None:
        if span_ns < 0 or max_bytes < 0:
            raise ConfigError(f"pre-roll of {span_ns} ns and {max_bytes} bytes; both must be 0 or more")
        self._span_ns, self._max_bytes = span_ns, max_bytes
        self._samples: deque[Sample] = deque()
        self._latched: dict[str, Sample] = {}
        self.bytes = 0

    def add(self, sample: Sample, latched: bool) -> None:
        if latched:
            self._latched[sample.topic] = sample
            return
        self._samples.append(sample)
        self.bytes += len(sample.data)
        self._limit(sample.log_time_ns)

    def _limit(self, now_ns: int) -> None:
        while self._samples and (
            self.bytes > self._max_bytes or now_ns - self._samples[0].log_time_ns > self._span_ns
        ):
            self.bytes -= len(self._samples.popleft().data)

    def take(self, now_ns: int) -> Iterator[Sample]:
        """Everything to begin a recording with, oldest first.

        Latched samples come first, logged when it begins, and are kept for the next recording.
        """
        self._limit(now_ns)
        begin_ns = self._samples[0].log_time_ns if self._samples else now_ns
        for sample in self._latched.values():
            yield sample._replace(log_time_ns=begin_ns)
        while self._samples:
            sample = self._samples.popleft()
            self.bytes -= len(sample.data)
            yield sample

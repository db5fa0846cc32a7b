"""Writing in a thread of its own: whoever receives messages never waits for the disk."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable, Iterator
from typing import Protocol

from .bag_writer import BagWriter, Written
from .sample import Sample

_FLUSH_S = 0.2
_DURABLE_S = 0.5


class Transform(Protocol):
    """What is stored in place of samples, in the writer's thread; it may add topics to the bag it is given, and keep
    samples back until later ones have come, or until `finish`."""

    def __call__(self, bag: BagWriter, sample: Sample) -> Iterator[Sample]: ...
    def finish(self) -> Iterator[Sample]: ...


class WriterThread:
    """Owns `bag` from here on. max_bytes: of samples that wait to be written."""

    def __init__(
        self, bag: BagWriter, max_bytes: int, transform: Transform | None = None
    ) -> None:
        self._bag, self._max_bytes, self._transform = bag, max_bytes, transform
        self._queue: queue.SimpleQueue[Sample | Callable[[BagWriter], None] | None] = queue.SimpleQueue()
        self._waiting, self._lock = 0, threading.Lock()
        self._discard = False
        self.error: OSError | Exception | None = None
        self.written: Written | None = None
        self.most_waiting = 0
        self._thread = threading.Thread(target=self._run, name="bag writer", daemon=True)
        self._closing = threading.Event()
        self._durable = threading.Thread(target=self._keep_durable, name="bag durability", daemon=True)
        self._thread.start()
        self._durable.start()

    @property
    def waiting_bytes(self) -> int:
        return self._waiting

    @property
    def size(self) -> int:
        return self._bag.size

    def put(self, sample: Sample) -> bool:
        """False: not taken, because too much waits already or writing has failed."""
        size = len(sample.data)
        if self.error is not None or self._waiting + size > self._max_bytes:
            return False
        with self._lock:
            self._waiting += size
            self.most_waiting = max(self.most_waiting, self._waiting)
        self._queue.put(sample)
        return True

    def do(self, action: Callable[[BagWriter], None]) -> None:
        """Run in the writer's thread, after all samples so far."""
        self._queue.put(action)

    def finish(self, timeout_s: float) -> bool:
        """Write everything and complete the bag; whether that was done in time. `error` says what went wrong."""
        self._queue.put(None)
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def discard(self, timeout_s: float) -> bool:
        self._discard = True
        return self.finish(timeout_s)

    def _run(self) -> None:
        try:
            while (item := self._next()) is not None:
                if callable(item):
                    item(self._bag)
                elif not self._discard:
                    self._write(item)
            for sample in () if self._transform is None else self._transform.finish():
                self._bag.write(*sample)
        except Exception as error:  # noqa: BLE001 - a full disk, or a mistake of ours: the owner must learn of it
            self.error = error
            self._bag.drop_unwritten()
        self._closing.set()
        self._durable.join()
        try:
            if self._discard:
                self._bag.discard()
            else:
                self.written = self._bag.finish()
        except Exception as error:  # noqa: BLE001 - the same
            self.error = self.error or error

    def _next(self) -> Sample | Callable[[BagWriter], None] | None:
        while True:
            try:
                return self._queue.get(timeout=_FLUSH_S)
            except queue.Empty:
                self._bag.flush()

    def _write(self, sample: Sample) -> None:
        size = len(sample.data)
        for kept in (sample,) if self._transform is None else self._transform(self._bag, sample):
            self._bag.write(*kept)
        with self._lock:
            self._waiting -= size

    def _keep_durable(self) -> None:
        """A power cut loses no more than what came since the last round."""
        while not self._closing.wait(_DURABLE_S):
            try:
                os.fdatasync(self._bag.fileno)
            except OSError as error:
                self.error = self.error or error

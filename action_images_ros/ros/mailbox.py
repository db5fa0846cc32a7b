"""What one thread leaves for another, of which only so much may wait."""

from __future__ import annotations

import threading
from collections import deque
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Mailbox(Generic[Item]):
    """First in, first out, at most `capacity` (1 or more); neither side ever waits for the other to act."""

    def __init__(self, capacity: int) -> None:
        self._items: deque[Item] = deque()
        self._capacity = capacity
        self._lock = threading.Lock()

    def put(self, item: Item) -> Item | None:
        """The oldest, which gave way, where there was no room."""
        with self._lock:
            self._items.append(item)
            return self._items.popleft() if len(self._items) > self._capacity else None

    def take(self) -> Item | None:
        """The oldest; None where there is none."""
        with self._lock:
            return self._items.popleft() if self._items else None

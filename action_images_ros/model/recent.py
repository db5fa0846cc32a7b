"""Results that are worth keeping while the same things are asked for again."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any


class Recent:
    """The results of the `size` most recently used keys. A key of identity (an object without __eq__) stays alive with
    its result, so that no other object can take its place."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._results: OrderedDict[Hashable, Any] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], Any]) -> Any:
        if key not in self._results:
            while len(self._results) >= self._size:
                self._results.popitem(last=False)
            self._results[key] = make()
        self._results.move_to_end(key)
        return self._results[key]

    def clear(self) -> None:
        self._results.clear()

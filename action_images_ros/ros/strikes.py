"""How many failures in a row are borne before they count as a fault of the device and not of the moment."""

from __future__ import annotations

from ..errors import EngineError


class Strikes:
    """limit: failures in a row that end it; 0 = no limit. total: all failures so far."""

    def __init__(self, limit: int) -> None:
        self.limit, self.total, self._in_a_row = limit, 0, 0

    def success(self) -> None:
        self._in_a_row = 0

    def failure(self, error: EngineError) -> str:
        """What to say of a dropped chunk. Raises EngineError with the reason when the limit is reached."""
        self.total += 1
        self._in_a_row += 1
        if self.limit and self._in_a_row >= self.limit:
            raise EngineError(f"{self._in_a_row} chunks in a row failed; the last one: {error}") from error
        of = f" of {self.limit}" if self.limit else ""
        return f"chunk dropped, failure {self._in_a_row}{of} in a row: {error}"

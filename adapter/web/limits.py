"""How much may be in flight at once: requests, and the bytes of their bodies."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from adapter.errors import AdapterError


class Overloaded(AdapterError):
    """Too much is in flight: answer 503, the sender comes again."""


class InFlight:
    """One budget for all requests of a listener. Figures: `requests` and `bytes` in flight now."""

    def __init__(self, *, max_requests: int, max_bytes: int) -> None:
        self.requests = 0
        self.bytes = 0
        self._max_requests = max_requests
        self._max_bytes = max_bytes

    @contextmanager
    def hold(self) -> Iterator[Hold]:
        """Counts one request while it lasts; Overloaded when there are too many already."""
        if self.requests >= self._max_requests:
            raise Overloaded
        self.requests += 1
        hold = Hold(self)
        try:
            yield hold
        finally:
            self.requests -= 1
            self.bytes -= hold.size

    def take(self, size: int) -> None:
        if self.bytes + size > self._max_bytes:
            raise Overloaded
        self.bytes += size


class Hold:
    """What one request holds."""

    def __init__(self, budget: InFlight) -> None:
        self._budget = budget
        self.size = 0

    def grow(self, size: int) -> None:
        """`size` further bytes are about to be kept; Overloaded when all requests together would hold too many."""
        self._budget.take(size)
        self.size += size

"""Limits requests and bytes in flight over all requests of a listener."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from adapter.errors import AdapterError


class Overloaded(AdapterError):
    """Too much is in flight: answer 503, after which the sender tries again."""


class InFlight:
    """A budget of requests and bytes. `requests` and `bytes` are those in flight now."""

    def __init__(self, *, max_requests: int, max_bytes: int) -> None:
        self.requests = 0
        self.bytes = 0
        self._max_requests = max_requests
        self.max_bytes = max_bytes

    @contextmanager
    def reserve(self) -> Iterator[Reservation]:
        """Counts one request until the block ends; Overloaded when there are too many already."""
        if self.requests >= self._max_requests:
            raise Overloaded
        self.requests += 1
        reservation = Reservation(self)
        try:
            yield reservation
        finally:
            self.requests -= 1
            self.bytes -= reservation.size


class Reservation:
    """The bytes that one request holds."""

    def __init__(self, budget: InFlight) -> None:
        self._budget = budget
        self.size = 0

    def grow(self, size: int) -> None:
        """Adds `size` bytes; Overloaded when all requests together would hold too many."""
        if self._budget.bytes + size > self._budget.max_bytes:
            raise Overloaded
        self._budget.bytes += size
        self.size += size

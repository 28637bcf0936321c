"""Limits requests and bytes in flight over all requests of a listener."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from adapter.errors import AdapterError


class Overloaded(AdapterError):
    """Too much is in flight: answer 503, after which the sender tries again."""


class InFlight:
    """A budget of requests and bytes. `requests` and `bytes` are those in flight now."""

    def __init__(self, *, max_requests: int, max_bytes: int) -> None:
        self.requests = 0
        self.bytes = 0
        self._max_requests, self._max_bytes = max_requests, max_bytes

    @contextmanager
    def reserve(self) -> Iterator[Callable[[int], None]]:
        """Counts one request, and the bytes its function is called with, until the block ends. Overloaded."""
        if self.requests >= self._max_requests:
            raise Overloaded
        self.requests += 1
        reserved = 0

        def grow(size: int) -> None:
            nonlocal reserved
            if self.bytes + size > self._max_bytes:
                raise Overloaded
            self.bytes += size
            reserved += size

        try:
            yield grow
        finally:
            self.requests -= 1
            self.bytes -= reserved

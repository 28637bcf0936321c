"""How much is let in: requests and bytes in flight at once, and requests over time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from adapter.clock import Clock
from adapter.errors import AdapterError
from adapter.server.webconfig import RateLimit


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
    def hold(self) -> Iterator[Reservation]:
        """Counts one request while it lasts; Overloaded when there are too many already."""
        if self.requests >= self._max_requests:
            raise Overloaded
        self.requests += 1
        hold = Reservation(self)
        try:
            yield hold
        finally:
            self.requests -= 1
            self.bytes -= hold.size

    def take(self, size: int) -> None:
        if self.bytes + size > self._max_bytes:
            raise Overloaded
        self.bytes += size


class Reservation:
    """What one request holds."""

    def __init__(self, budget: InFlight) -> None:
        self._budget = budget
        self.size = 0

    def grow(self, size: int) -> None:
        """`size` further bytes are about to be kept; Overloaded when all requests together would hold too many."""
        self._budget.take(size)
        self.size += size


class Bucket:
    """A token bucket; without a limit it never runs dry."""

    def __init__(self, limit: RateLimit | None, clock: Clock) -> None:
        self._limit = limit
        self._clock = clock
        self._tokens = float(limit.burst) if limit else 0.0
        self._filled = clock.monotonic()

    def take(self) -> bool:
        """True when one more request may pass."""
        if self._limit is None:
            return True
        now = self._clock.monotonic()
        gained = (now - self._filled) / self._limit.interval
        self._tokens, self._filled = min(self._limit.burst, self._tokens + gained), now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

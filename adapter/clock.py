"""Time as an argument: every part that waits or takes a time gets a Clock, so that tests can move it."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

Micros = int
"""A point in time: microseconds since the epoch, UTC."""

SECOND: Micros = 1_000_000
LAST: Final[Micros] = 253_402_300_799_999_999  # the end of the year 9999, after which there is no datetime

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def moment(time: Micros) -> datetime:
    """In UTC. A time before 1970 or after 9999 becomes the first or the last one between them."""
    return _EPOCH + timedelta(microseconds=min(max(0, time), LAST))


class Clock(Protocol):
    def now(self) -> Micros:
        """Wall time. May jump in either direction; never used to decide how long to wait."""
        ...

    def monotonic(self) -> float:
        """Seconds from an arbitrary point; never goes back."""
        ...

    async def sleep(self, seconds: float) -> None: ...


class SystemClock:
    def now(self) -> Micros:
        return time.time_ns() // 1000

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

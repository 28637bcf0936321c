"""Time as an argument: every part that waits or takes a time gets a Clock, so that tests can move it."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol

Micros = int
"""A point in time: microseconds since the epoch, UTC."""

SECOND: Micros = 1_000_000


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

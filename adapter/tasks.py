"""The background tasks of a running adapter: each is called again and again, and one that ends by itself is noticed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine

from adapter.clock import Clock
from adapter.errors import StoreUnavailable
from adapter.logs import RepeatFilter

logger = logging.getLogger(__name__)


class Tasks:
    """The background tasks. One that ends by itself is a bug that only a restart cures."""

    def __init__(self, clock: Clock) -> None:
        self.stopping = False
        self._clock = clock
        self._repeats = RepeatFilter(clock)
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, work: Coroutine[None, None, None], name: str) -> None:
        self._tasks.append(asyncio.create_task(work, name=name))

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def repeat(
        self, seconds: float, action: Callable[[], Awaitable[None]], *, name: str = "", at_once: bool = False
    ) -> None:
        """Call the action every `seconds`, `at_once` for the first time; what it raises is logged."""
        name = name or action.__name__
        self.start(self._repeat(seconds, action, name, at_once), name)

    async def _repeat(self, seconds: float, action: Callable[[], Awaitable[None]], name: str, at_once: bool) -> None:
        if not at_once:
            await self._clock.sleep(seconds)
        while True:
            try:
                await action()
            except StoreUnavailable as exc:
                self._repeats.warn(logger, "store unavailable", key=name, error=exc)
            except Exception as exc:
                self._repeats.bug(logger, "a periodic task failed (a bug in the adapter)", exc)
            await self._clock.sleep(seconds)

    def problem(self) -> str | None:
        """None while every task runs, else which do not."""
        ended = [task.get_name() for task in self._tasks if task.done() and not self.stopping]
        return f"not running: {', '.join(ended)}" if ended else None

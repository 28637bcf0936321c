"""Turns on the event loop: how much strangers and storms may have parsed before the others go on.

A loop serves all sockets that are ready in one turn, and a request takes several turns. So a hundred strangers that
send at once, or one body of chunks of one byte, would make everybody wait for all they have sent, several times over.
Here they wait in a queue of which little is taken at a time.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from itertools import islice
from typing import Final

GoOn = Callable[[float], object]

_EACH: Final = 2  # strangers served in a turn; each may become a request, which costs more than its parsing
REST: Final = 0.003  # seconds until the next turn
TURN: Final = 0.0003  # seconds of parsing before the others go on


class Turns:
    """First come, first served. Those who wait are asked to go on until a time of `time.perf_counter`."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: dict[GoOn, None] = {}
        self._next: asyncio.Handle | None = None

    def ask(self, go_on: GoOn) -> None:
        """It is called once, soon; asking again before that changes nothing."""
        self._waiting[go_on] = None
        if self._next is None:
            self._next = self._loop.call_soon(self._turn)

    async def taken(self) -> None:
        """Returns when it is the caller's turn."""
        turn: asyncio.Future[None] = self._loop.create_future()

        def come(_until: float) -> None:
            if not turn.done():
                turn.set_result(None)

        self.ask(come)
        await turn

    def leave(self, go_on: GoOn) -> None:
        self._waiting.pop(go_on, None)

    def _turn(self) -> None:
        until = time.perf_counter() + TURN
        try:
            for go_on in list(islice(self._waiting, _EACH)):
                del self._waiting[go_on]
                go_on(until)
                if time.perf_counter() > until:
                    break
        finally:  # a defect in one must not stop the others
            self._next = self._loop.call_later(REST, self._turn) if self._waiting else None

"""Who has the draft process now: one at a time, in order, a few waiting. Of one client the latest draft wins."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from adapter.errors import RenderError

MOST_CLIENTS: Final = 1000  # whose latest draft is remembered


class Busy(RenderError):
    """Too many wait for the draft process."""


class Superseded(Exception):
    """The client has sent a later draft."""


class Turn:
    """`superseded` may become true while it lasts."""

    def __init__(self, client: str, seq: int) -> None:
        self.client, self.seq = client, seq
        self.superseded = False
        # Done when the turn begins, and when it never will.
        self.begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def check(self) -> None:
        """Superseded where a later one has come."""
        if self.superseded:
            raise Superseded


class Turns:
    def __init__(self, most: int) -> None:
        """`most`: how many may wait beside the one that has its turn."""
        self._most = most
        self._current: Turn | None = None
        self._waiting: deque[Turn] = deque()
        self._latest: dict[str, int] = {}  # seq by client, the last one to come is the last

    @asynccontextmanager
    async def turn(self, client: str = "", seq: int = 0) -> AsyncIterator[Turn]:
        """Wait for it. Busy; Superseded also while it waits. Without `client` nobody's draft replaces another."""
        turn = Turn(client, seq)
        self._replace_older(turn)
        await self._begin(turn)
        try:
            yield turn
        finally:
            self._end()

    def forget(self) -> None:
        """What clients have sent."""
        self._latest.clear()

    def _replace_older(self, turn: Turn) -> None:
        if not turn.client:
            return
        latest = self._latest.pop(turn.client, turn.seq)
        self._latest[turn.client] = max(latest, turn.seq)
        if len(self._latest) > MOST_CLIENTS:
            del self._latest[next(iter(self._latest))]
        if turn.seq < latest:
            raise Superseded
        for other in [one for one in self._waiting if one.client == turn.client and one.seq < turn.seq]:
            self._waiting.remove(other)
            other.superseded = True
            other.begun.set_result(None)
        if self._current and self._current.client == turn.client and self._current.seq < turn.seq:
            self._current.superseded = True

    async def _begin(self, turn: Turn) -> None:
        if self._current is None:
            self._current = turn
            return
        if len(self._waiting) >= self._most:
            raise Busy
        self._waiting.append(turn)
        try:
            await turn.begun
        except asyncio.CancelledError:
            if turn in self._waiting:
                self._waiting.remove(turn)
            elif self._current is turn:
                self._end()
            raise
        if self._current is not turn:
            raise Superseded

    def _end(self) -> None:
        self._current = None
        while self._waiting and self._current is None:
            turn = self._waiting.popleft()
            if not turn.begun.done():  # else it was cancelled just now
                self._current = turn
                turn.begun.set_result(None)

"""Fakes of the clock, COC and the renderer, typed as the protocols they implement."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Awaitable, Callable, Sequence

from pydantic_core import to_json

from adapter.clock import SECOND
from adapter.coc.verdict import Action, Reason, Verdict
from adapter.mapping.render.body import fallback
from adapter.mapping.render.request import Reason as FallbackReason
from adapter.mapping.render.request import RenderRequest, RenderResult
from tests.builders import NOON

ACCEPTED = Verdict(action=Action.ACCEPTED, reason=Reason.ACCEPTED, status=200, code="COC.00000000")
REFUSED = Verdict(action=Action.REFUSED, reason=Reason.CONTENT, status=400, code="COC.00000001", message="too long")
DOWN = Verdict(action=Action.RETRY, reason=Reason.REFUSED_CONNECTION, message="connection refused")
LOST = Verdict(action=Action.RETRY, reason=Reason.TIMEOUT, message="no answer", ambiguous=True)
LOCKED_OUT = Verdict(action=Action.PAUSE, reason=Reason.CREDENTIALS, status=401, code="common.01010001")


class FakeClock:
    """A wall clock and a monotonic clock that move only by `advance` and `pass_time`; `wall` may be set.

    `advance` wakes each sleeper at its own time and lets it run; `pass_time` wakes none. `rest` waits until everything
    that can run now has run; parts that use threads need another one.
    """

    def __init__(self, rest: Callable[[], Awaitable[None]] | None = None) -> None:
        self._rest = rest or settle
        self.wall = NOON
        self._now = 1000.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._count = 0

    def now(self) -> int:
        return self.wall

    def monotonic(self) -> float:
        return self._now

    async def sleep(self, seconds: float) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._count += 1
        heapq.heappush(self._sleepers, (self._now + seconds, self._count, future))
        await future

    async def advance(self, seconds: float) -> None:
        """Move both clocks on, waking each sleeper at its own time."""
        end = self._now + seconds
        await self._rest()
        while self._sleepers and self._sleepers[0][0] <= end:
            due, _, future = heapq.heappop(self._sleepers)
            self._move(max(due, self._now))
            if not future.done():
                future.set_result(None)
            await self._rest()
        self._move(end)
        await self._rest()

    def pass_time(self, seconds: float) -> None:
        self._move(self._now + seconds)

    def _move(self, to: float) -> None:
        self.wall += round((to - self._now) * SECOND)
        self._now = to


async def settle(rounds: int = 40) -> None:
    """Run everything that can run now; for parts that use no threads."""
    for _ in range(rounds):
        await asyncio.sleep(0)


class ScriptedCoc:
    """A Reporter that answers by a function of the body. It checks no body; tests/coc does."""

    def __init__(self, answer: Callable[[bytes], Verdict] = lambda body: ACCEPTED) -> None:
        self.answer = answer
        self.bodies: list[bytes] = []
        self.active = self.most_active = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def report(self, body: bytes) -> Verdict:
        self.bodies.append(body)
        self.active += 1
        self.most_active = max(self.most_active, self.active)
        try:
            await self.gate.wait()
            return self.answer(body)
        finally:
            self.active -= 1


class PlainRenderer:
    """A Renderer without templates: every body is the built-in one. tests/mapping tests rendering."""

    def __init__(self) -> None:
        self.revision = "r1"
        self.drop: set[str] = set()
        self.level = ""  # alarmLevel of every alarm; empty: the built-in one

    async def render(self, requests: Sequence[RenderRequest]) -> list[RenderResult]:
        results = [self._levelled(fallback(request, self.revision, FallbackReason.NO_RULE)) for request in requests]
        return [
            item._replace(rule="rule", mapping="m.yaml", dropped=True, json=None)
            if request.alarm_id in self.drop
            else item
            for request, item in zip(requests, results, strict=True)
        ]

    def _levelled(self, item: RenderResult) -> RenderResult:
        body = item.body
        return item._replace(json=to_json(body | {"alarmLevel": self.level})) if body and self.level else item

"""Intake and delivery for real over a store, between senders and a COC that are played; time moves when told to.

A world can die at any instant: what was under way is gone, the store is opened again as it was left.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from prometheus_client import generate_latest

from adapter.admin.api import replay
from adapter.alarm import Kind, Outcome
from adapter.coc.verdict import Verdict
from adapter.delivery.pipeline import Delivery
from adapter.errors import StoreUnavailable
from adapter.intake.accept import Acceptor
from adapter.lifecycle import Policy
from adapter.mapping.render.request import Contract
from adapter.metrics import Metrics
from adapter.store.contract import Store
from tests.fakes import ACCEPTED, DOWN, LOCKED_OUT, LOST, REFUSED, FakeClock, PlainRenderer, settle
from tests.stage import values
from tests.store.places import Place

SILENCE = 5.0  # seconds until a report without an answer counts as lost


class Died(Exception):
    """The process ended in the middle of what was asked of it."""


@dataclass(frozen=True, slots=True)
class Taken:
    """A report that COC took."""

    at: float
    alarm: str
    status: str
    time: int
    body: dict[str, Any]


class PlayedCoc:
    """A Reporter. `mood` says what becomes of a body: accept, down, lost (taken, no answer), silent (taken, no answer
    for a while), deaf (not taken, no answer), refuse, locked. Judges no HTTP: tests/coc does that."""

    def __init__(self, clock: FakeClock) -> None:
        self.mood: Callable[[dict[str, Any]], str | Verdict] = lambda body: "accept"
        self.taken: list[Taken] = []
        self.tries: list[float] = []
        self.unheard = 0  # taken, but the adapter was never told
        self.active = 0
        self._clock = clock

    async def report(self, raw: bytes) -> Verdict:
        body = json.loads(raw)
        self.tries.append(self._clock.monotonic())
        mood = self.mood(body)
        if isinstance(mood, Verdict):
            return mood
        if mood in ("accept", "lost", "silent"):
            at = self._clock.monotonic()
            self.taken.append(Taken(at, body["alarmId"], body["alarmStatus"], body["time"], body))
        if mood == "accept":
            return ACCEPTED
        self.unheard += mood in ("lost", "silent")
        if mood in ("silent", "deaf"):
            await self._clock.sleep(SILENCE)
        return {"down": DOWN, "refuse": REFUSED, "locked": LOCKED_OUT}.get(mood, LOST)


class Watched:
    """A store that counts what is under way in it, and lets `point` see the moment before and after each operation."""

    def __init__(self, store: Store, point: Callable[[str], Awaitable[None]]) -> None:
        self.store, self.active, self.delivered = store, 0, 0
        self._point = point

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.store, name)
        if name == "describe":
            return found

        async def watched(*args: Any, **kwargs: Any) -> Any:
            self.active += 1
            try:
                await self._point(f"before {name}")
                result = await found(*args, **kwargs)
                if name == "settle":
                    pairs = zip(args[0], result, strict=True)
                    self.delivered += sum(one.outcome is Outcome.DELIVERED and told.counted for one, told in pairs)
                await self._point(f"after {name}")
                return result
            finally:
                self.active -= 1

        return watched


class World:
    """Open it with `await World(...).begin()`; `end` when done."""

    def __init__(
        self, place: Place, *, in_flight: int = 4, backlog: int = 10**6, refresh: float = 0.0, jitter: float = 0.5
    ) -> None:
        self.clock = FakeClock(self.rest)
        place.clock = self.clock  # type: ignore[assignment]
        self.place, self.backlog = place, backlog
        self.coc, self.renderer = PlayedCoc(self.clock), PlainRenderer()
        self.policy = Policy(round(refresh * 1_000_000), False)
        self.cut = 0  # taken by COC, but its settlement died with the process
        self.points = 0
        self.die_at = 0
        self.dying = False
        self.refused = 0
        self._in_flight, self._jitter = in_flight, jitter
        self._heard_before = 0  # taken and heard of by processes that are dead

    async def begin(self) -> World:
        await self._live(await self.place.open(backlog=self.backlog))
        return self

    async def _live(self, store: Store) -> None:
        self.store = Watched(store, self._point)
        self.metrics = Metrics(["default"], clock=self.clock)
        for name, counts in (await store.counts()).items():
            self.metrics.carried(name, counts)
        self.delivery = Delivery(
            "default",
            store=self.store,
            renderer=self.renderer,
            reporter=self,
            contract=Contract(),
            clock=self.clock,
            jitter=lambda: self._jitter,
            observer=self.metrics,
            max_in_flight=self._in_flight,
        )
        self._acceptor = Acceptor(
            self.store,
            clock=self.clock,
            policy=self.policy,
            metrics=self.metrics,
            revision=lambda: self.renderer.revision,
            owed=lambda name: self.delivery.wake(),
        )
        self.delivery.observe_pause((await store.pauses()).get("default"), self.clock.monotonic())
        self._running = asyncio.ensure_future(self.delivery.run())
        await self.rest()

    async def report(self, body: bytes) -> Verdict:
        """As the Reporter of the delivery: COC, with a moment to die before and after."""
        await self._point("before report")
        self.coc.active += 1
        try:
            verdict = await self.coc.report(body)
        finally:
            self.coc.active -= 1
        await self._point("after report")
        return verdict

    async def _point(self, name: str) -> None:
        self.points += 1
        if self.die_at and self.points >= self.die_at:
            self.dying = True
        if self.dying:
            await asyncio.get_running_loop().create_future()  # whoever gets here was never to go on

    async def rest(self) -> None:
        """Until nothing more happens without time passing."""
        while True:
            await settle(25)
            if self.dying or self.store.active == 0:
                return
            await asyncio.sleep(0.0002)

    async def say(self, body: bytes) -> bool:
        """One webhook; whether it was acknowledged. Died when the process ended meanwhile."""
        taking = asyncio.ensure_future(self.accept(body))
        while not taking.done() and not self.dying:
            await asyncio.sleep(0)
        if not taking.done():
            taking.cancel()
            await asyncio.gather(taking, return_exceptions=True)
            raise Died
        acknowledged = taking.result()
        await self.rest()
        return acknowledged

    async def accept(self, body: bytes) -> bool:
        """False when the store cannot take the webhook now."""
        try:
            await self._acceptor.accept("default", body)
        except StoreUnavailable:
            self.refused += 1
            return False
        return True

    async def replay(self, seqs: Sequence[int], *, as_sent: bool) -> dict[int, tuple[Kind, ...]]:
        """As an operator does it; the kinds enqueued, by dead letter."""
        kinds = await replay(self.store, seqs, as_sent=as_sent, count=self.metrics.replayed)
        self.delivery.wake()
        await self.rest()
        return kinds

    async def restart(self) -> None:
        """An orderly end that waits for no answer, and a start."""
        await self.delivery.stop(0)
        await self._end(self.place.restart)

    async def crash(self) -> None:
        """kill -9, and a start."""
        await self._end(self.place.crash)

    async def _end(self, start: Callable[[Store], Awaitable[Store]]) -> None:
        await self._die()
        store = await start(self.store.store)
        self.cut += len(self.coc.taken) - self.coc.unheard - self._heard_before - self.store.delivered
        self._heard_before = len(self.coc.taken) - self.coc.unheard
        self.die_at, self.dying = 0, False
        await self._live(store)

    async def _die(self) -> None:
        self.dying = True
        self._running.cancel()
        await asyncio.gather(self._running, return_exceptions=True)

    async def pending(self) -> int:
        counts = await self.store.store.counts()
        return sum(count.pending for count in counts.values())

    async def drained(self, seconds: float = 200.0) -> float:
        """Seconds until nothing is pending, of at most so many."""
        began = self.clock.monotonic()
        while await self.pending() and self.clock.monotonic() - began < seconds:
            await self.clock.advance(0.25)
        return self.clock.monotonic() - began

    def law(self) -> str:
        """A violation of the conservation law of the metrics, or nothing."""
        scrape = generate_latest(self.metrics.registry).decode()
        enqueued = values(scrape, "coc_adapter_reports_enqueued_total")
        gone = values(scrape, "coc_adapter_reports_total")
        waiting = values(scrape, "coc_adapter_reports_pending")
        return "" if enqueued == gone + waiting else f"C: {enqueued} enqueued, {gone} left, {waiting} pending"

    @property
    def duplicates_allowed(self) -> int:
        """Reports that COC took without the adapter's knowing: no answer came, or it died before it was written."""
        return self.coc.unheard + self.cut

    def states(self, alarm: str) -> list[str]:
        return [taken.status for taken in self.coc.taken if taken.alarm == alarm]

    async def end(self) -> None:
        await self._die()
        await self.store.store.close()
        await self.place.leave()


def body_of(alerts: Sequence[dict[str, Any]]) -> bytes:
    """A webhook of these alerts as JSON."""
    return json.dumps({"version": "4", "groupKey": "g", "status": "firing", "alerts": list(alerts)}).encode()

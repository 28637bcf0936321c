"""Real intake and delivery over a store, with a simulated COC and a clock of the test.

The process can be killed at any point: work in progress is lost, and the store is opened again as it is then.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from prometheus_client import generate_latest

from adapter.admin.letters import replay
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
    """The process was killed during a call."""


@dataclass(frozen=True, slots=True)
class AcceptedReport:
    """A report that COC accepted."""

    at: float
    alarm: str
    status: str
    time: int
    body: dict[str, Any]


class SimulatedCoc:
    """A Reporter whose `behaviour` decides by the body. It uses no HTTP; tests/coc does.

    Behaviours: accept, refuse, locked, down, lost (accepted without an answer), silent (accepted, the answer times
    out), deaf (not accepted, the answer times out).
    """

    def __init__(self, clock: FakeClock) -> None:
        self.behaviour: Callable[[dict[str, Any]], str | Verdict] = lambda body: "accept"
        self.accepted: list[AcceptedReport] = []
        self.tries: list[float] = []
        self.unanswered = 0  # accepted without an answer
        self.active = 0
        self._clock = clock

    async def report(self, raw: bytes) -> Verdict:
        body = json.loads(raw)
        self.tries.append(self._clock.monotonic())
        behaviour = self.behaviour(body)
        if isinstance(behaviour, Verdict):
            return behaviour
        if behaviour in ("accept", "lost", "silent"):
            at = self._clock.monotonic()
            self.accepted.append(AcceptedReport(at, body["alarmId"], body["alarmStatus"], body["time"], body))
        if behaviour == "accept":
            return ACCEPTED
        self.unanswered += behaviour in ("lost", "silent")
        if behaviour in ("silent", "deaf"):
            await self._clock.sleep(SILENCE)
        return {"down": DOWN, "refuse": REFUSED, "locked": LOCKED_OUT}.get(behaviour, LOST)


class CountingStore:
    """A store that counts its operations, all and those in progress, and awaits `point` before and after each."""

    def __init__(self, store: Store, point: Callable[[str], Awaitable[None]]) -> None:
        self.store, self.active, self.finished, self.delivered = store, 0, 0, 0
        self._point = point

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.store, name)
        if name == "describe":
            return method

        async def counting(*args: Any, **kwargs: Any) -> Any:
            self.active += 1
            try:
                await self._point(f"before {name}")
                result = await method(*args, **kwargs)
                if name == "settle":
                    pairs = zip(args[0], result, strict=True)
                    self.delivered += sum(
                        one.outcome is Outcome.DELIVERED and settled.counted for one, settled in pairs
                    )
                await self._point(f"after {name}")
                return result
            finally:
                self.active -= 1
                self.finished += 1

        return counting


class World:
    """The whole system; open it with `await World(...).begin()`, close it with `end`."""

    def __init__(
        self, place: Place, *, in_flight: int = 4, backlog: int = 10**6, refresh: float = 0.0, jitter: float = 0.5
    ) -> None:
        self.clock = FakeClock(self.rest)
        place.clock = self.clock  # type: ignore[assignment]
        self.place, self.backlog = place, backlog
        self.coc, self.renderer = SimulatedCoc(self.clock), PlainRenderer()
        self.policy = Policy(round(refresh * 1_000_000), False)
        self.unsettled = 0  # accepted by COC and answered, but the process died before the settlement
        self.points = 0
        self.die_at = 0
        self.dying = False
        self.refused = 0
        self._in_flight, self._jitter = in_flight, jitter
        self._answered_before = 0  # accepted and answered in earlier processes

    async def begin(self) -> World:
        await self._live(await self.place.open(backlog=self.backlog))
        return self

    async def _live(self, store: Store) -> None:
        self.store = CountingStore(store, self._point)
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
            reporting=lambda name: self.delivery.reporting,
        )
        self.delivery.observe_pause((await store.pauses()).get("default"), self.clock.monotonic())
        self._running = asyncio.ensure_future(self.delivery.run())
        await self.rest()

    async def report(self, body: bytes) -> Verdict:
        """The Reporter for delivery: COC, with a point to die before and after."""
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
            await asyncio.get_running_loop().create_future()  # never returns, as in a dead process

    async def rest(self) -> None:
        """Wait until nothing more happens without time passing."""
        while True:
            finished = self.store.finished
            await settle(25)
            # An operation that ended meanwhile may have set off another one that has not begun yet.
            if self.dying or (self.store.active == 0 and self.store.finished == finished):
                return
            await asyncio.sleep(0.0002)

    async def send(self, body: bytes) -> bool:
        """Send one webhook; return whether it was acknowledged. Raises Died when the process dies meanwhile."""
        accepting = asyncio.ensure_future(self.accept(body))
        while not accepting.done() and not self.dying:
            await asyncio.sleep(0)
        if not accepting.done():
            accepting.cancel()
            await asyncio.gather(accepting, return_exceptions=True)
            raise Died
        acknowledged = accepting.result()
        await self.rest()
        return acknowledged

    async def accept(self, body: bytes) -> bool:
        """False when the store is unavailable."""
        try:
            await self._acceptor.accept("default", body)
        except StoreUnavailable:
            self.refused += 1
            return False
        return True

    async def replay(self, seqs: Sequence[int], *, as_sent: bool) -> dict[int, tuple[Kind, ...]]:
        """Replay dead letters as an operator does; return the enqueued kinds by dead letter."""
        kinds = await replay(self.store, seqs, as_sent=as_sent, count=self.metrics.replayed)
        self.delivery.wake()
        await self.rest()
        return kinds

    async def restart(self) -> None:
        """Stop without waiting for answers, and start again."""
        await self.delivery.stop(0)
        await self._end(self.place.restart)

    async def crash(self) -> None:
        """Kill the process, and start again."""
        await self._end(self.place.crash)

    async def _end(self, start: Callable[[Store], Awaitable[Store]]) -> None:
        await self._die()
        store = await start(self.store.store)
        self.unsettled += len(self.coc.accepted) - self.coc.unanswered - self._answered_before - self.store.delivered
        self._answered_before = len(self.coc.accepted) - self.coc.unanswered
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
        """Wait until nothing is pending, at most `seconds`; return how long that took."""
        began = self.clock.monotonic()
        while await self.pending() and self.clock.monotonic() - began < seconds:
            await self.clock.advance(0.25)
        return self.clock.monotonic() - began

    def law(self) -> str:
        """A violation of the conservation law of the metrics, or an empty text."""
        scrape = generate_latest(self.metrics.registry).decode()
        enqueued = values(scrape, "coc_adapter_reports_enqueued_total")
        settled = values(scrape, "coc_adapter_reports_total")
        pending = values(scrape, "coc_adapter_reports_pending")
        return "" if enqueued == settled + pending else f"C: {enqueued} enqueued, {settled} settled, {pending} pending"

    @property
    def duplicates_allowed(self) -> int:
        """Reports that COC accepted without a settlement: the answer was lost, or the process died before it."""
        return self.coc.unanswered + self.unsettled

    def states(self, alarm: str) -> list[str]:
        return [accepted.status for accepted in self.coc.accepted if accepted.alarm == alarm]

    async def end(self) -> None:
        await self._die()
        await self.store.store.close()
        await self.place.leave()


def body_of(alerts: Sequence[dict[str, Any]]) -> bytes:
    """A webhook with these alerts as JSON."""
    return json.dumps({"version": "4", "groupKey": "g", "status": "firing", "alerts": list(alerts)}).encode()

"""Second half of the road, for one integration: claim -> render -> send -> judge -> settle.

A Delivery keeps a few claims rendered ahead, sends as many at once as its gate allows, and hands what became of them
to the settler. Whatever it holds unsettled when it ends is still pending in the store.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import deque
from collections.abc import Callable
from typing import Literal, Protocol

from adapter.alarm import Pause
from adapter.clock import Clock
from adapter.delivery.prepare import Preparer, Renderer
from adapter.delivery.send import Ready, Reporter, Sender
from adapter.delivery.settle import SettlementWriter
from adapter.delivery.throttle import Throttle, ThrottleWatcher
from adapter.errors import StoreUnavailable
from adapter.logs import event
from adapter.mapping.render.request import Contract
from adapter.store.contract import DeliveryStore, Settled, Settlement

HELD_BYTES = 32 * 1024 * 1024  # of claimed alerts; alerts of many MiB must not add up to more memory than there is
LEAST_SECONDS = 0.01  # between claims that gave less than there was room for
POLL_SECONDS = 1.0  # how long the store is left alone when nobody calls `wake`; replicas share one store

logger = logging.getLogger(__name__)


class Watcher(ThrottleWatcher, Protocol):
    """Who wants to know what happened; called on the event loop, must not block."""

    def coc_answered(self, integration: str, reason: str, seconds: float) -> None: ...
    def report_settled(self, settlement: Settlement, settled: Settled) -> None: ...
    def rendered(self, alarms: int, seconds: float) -> None: ...


class Delivery:
    """Delivers the reports of one integration until `stop`."""

    def __init__(
        self,
        name: str,
        *,
        store: DeliveryStore,
        renderer: Renderer,
        reporter: Reporter,
        contract: Contract,
        clock: Clock,
        jitter: Callable[[], float],
        watcher: Watcher,
        max_in_flight: int = 32,
        rate_limit: float = 0.0,
    ) -> None:
        self.name = name
        self.gate = Throttle(name, limit=max_in_flight, rate=rate_limit, clock=clock, jitter=jitter, watcher=watcher)
        self._store, self._clock, self._watcher = store, clock, watcher
        self._settler = SettlementWriter(store, clock, self._settled)
        self._preparer = Preparer(
            renderer, contract=contract, clock=clock, settle=self._settler.add, rendered=watcher.rendered
        )
        self._courier = Sender(
            self.gate,
            store=store,
            reporter=reporter,
            clock=clock,
            jitter=jitter,
            answered=watcher.coc_answered,
            on_pause=self.observe_pause,
        )
        self._ready: deque[Ready] = deque()
        self._sending: set[asyncio.Task[None]] = set()
        self._early = False
        self._pause_changed = -math.inf
        self._stopping = False
        self._bytes_claimed = 0  # of all alerts claimed, since the start
        self._running: asyncio.Task[None] | None = None
        self._nudge = asyncio.Event()

    @property
    def pause(self) -> Pause | None:
        """The pause in force."""
        return self.gate.pause

    @property
    def breaker_state(self) -> Literal["closed", "open", "half_open"]:
        return self.gate.breaker.state

    def wake(self) -> None:
        """Something new is owed, or something that held reports back has changed."""
        if self._room() > 0:
            self._nudge.set()

    async def run(self) -> None:
        """Deliver until `stop`; store trouble is waited out."""
        self._running = asyncio.current_task()
        while not self._stopping:
            try:
                await self._step()
            except StoreUnavailable as exc:
                event(logger, logging.WARNING, "store unavailable for delivery", integration=self.name, error=exc)
                await self._clock.sleep(POLL_SECONDS)
            except Exception:
                logger.exception("%s", "delivery stumbled and goes on; this is a defect of the adapter")
                await self._clock.sleep(POLL_SECONDS)

    async def stop(self, grace: float) -> None:
        """Send nothing new; let what is in flight finish and be settled, at most `grace` seconds."""
        self._stopping = True
        self._nudge.set()
        self._release()
        busy = self._sending if self._running is None else {*self._sending, self._running}
        if busy:
            await asyncio.wait(busy, timeout=grace)
        self._release()  # what was being rendered
        await self._settler.drained(max(grace, 1.0))

    async def set_pause(self, pause: Pause | None) -> None:
        """Pause or resume; in the store first, so that it survives a restart. StoreUnavailable when it cannot."""
        self.observe_pause(await self._store.set_pause(self.name, pause))
        self._courier.unwritten = False

    def seen_pause(self, pause: Pause | None, asked: float) -> None:
        """What the store, asked at `asked` (steady seconds), says; another replica may have written it."""
        if not self._courier.unwritten and asked > self._pause_changed:
            self.observe_pause(pause)

    def observe_pause(self, pause: Pause | None) -> None:
        """Take over the pause in force."""
        if self.gate.observe(pause):
            self._pause_changed = self._clock.monotonic()
            self._release()
            self._early = pause is None
            self._nudge.set()

    def set_rate(self, rate: float) -> None:
        """Send at most `rate` reports a second from now on; 0: no limit."""
        self.gate.set_rate(rate)

    def probe_now(self) -> None:
        """A secret or certificate changed: a paused integration is tried at once, not in a minute."""
        self.gate.probe_now()
        self._nudge.set()

    # claim and render -----------------------------------------------------------------------------------------

    async def _step(self) -> None:
        self._nudge.clear()
        self._pump()
        room = self._room()
        if room <= 0:
            await self._wait(self.gate.hold() or POLL_SECONDS)
            return
        early, self._early = self._early, False
        try:
            claimed = await self._store.claim(self.name, room, ignore_delay=early)
        except StoreUnavailable:
            self._early = self._early or early
            raise
        self._early = self._early or (early and len(claimed.claims) == room)
        self._bytes_claimed += sum(len(claim.report.raw) for claim in claimed.claims)
        if claimed.claims:
            self._ready += await self._preparer.prepare(claimed.claims)
            self._pump()
        if len(claimed.claims) < room:
            due = POLL_SECONDS if claimed.next_due is None else claimed.next_due
            await self._wait(min(POLL_SECONDS, max(due, LEAST_SECONDS)))

    def _room(self) -> int:
        """How many more claims are wanted; 0 until there is room for a batch worth rendering."""
        held = len(self._ready) + len(self._sending) + self._settler.unsettled
        if held and self._bytes_claimed - self._settler.bytes_settled >= HELD_BYTES:
            return 0
        if not self.gate.wide_open:
            return self.gate.allowed(len(self._sending)) - held
        room = 2 * self.gate.limit - held
        return room if room >= self.gate.limit // 4 or held == 0 else 0

    async def _wait(self, seconds: float) -> None:
        """Until nudged, or until `seconds` have passed."""
        waiters = (asyncio.ensure_future(self._nudge.wait()), asyncio.ensure_future(self._clock.sleep(seconds)))
        try:
            await asyncio.wait(waiters, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for waiter in waiters:
                waiter.cancel()

    def _release(self) -> None:
        """Give back what is rendered but not sent."""
        while self._ready:
            self._settler.add(Settlement(claim=self._ready.popleft().claim, at=self._clock.now()))

    # send and judge -------------------------------------------------------------------------------------------

    def _pump(self) -> None:
        """Start as many senders as are allowed now."""
        while (ready := self._next(len(self._sending))) is not None:
            task = asyncio.ensure_future(self._deliver(ready))
            self._sending.add(task)
            task.add_done_callback(self._sent)

    def _next(self, active: int) -> Ready | None:
        """What may be sent now, while `active` others are under way."""
        if not self._ready or self._stopping or active >= self.gate.allowed(active):
            return None
        self.gate.sent()
        return self._ready.popleft()

    async def _deliver(self, first: Ready) -> None:
        """Send one report after the other, as long as there is one that may be sent."""
        ready: Ready | None = first
        while ready is not None:
            waiting = self.gate.breaker.lasting
            self._settler.add(await self._courier.send(ready))
            if self.gate.probing:
                self._release()
            elif waiting and not self.gate.breaker.lasting:
                self._early = True
            ready = self._next(len(self._sending) - 1)
            self._pump()
            self.wake()

    def _sent(self, task: asyncio.Task[None]) -> None:
        self._sending.discard(task)
        if not task.cancelled() and (exc := task.exception()):
            logger.error("a report could not be handled", exc_info=exc)
        self._pump()
        self.wake()

    def _settled(self, settlement: Settlement, settled: Settled) -> None:
        self._watcher.report_settled(settlement, settled)
        if settled.pending:
            self.wake()

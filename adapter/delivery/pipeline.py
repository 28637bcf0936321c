"""Delivers the reports of one integration: claim -> render -> queue -> send -> queue -> settle.

The claim loop is the only source of reports. It claims what is worth holding until it is settled, in number and in
bytes, so the queues behind it need no bounds of their own. What is not settled is still pending in the store.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final, Literal

from adapter.alarm import Pause
from adapter.clock import Clock
from adapter.delivery.contract import Observer, Renderer, Reporter
from adapter.delivery.prepare import Ready, prepare
from adapter.delivery.send import Sender
from adapter.delivery.settle import settle
from adapter.delivery.throttle import Throttle
from adapter.errors import StoreUnavailable
from adapter.logs import RepeatFilter
from adapter.mapping.render.request import Contract
from adapter.memory import bounded
from adapter.store.contract import Claim, Claims, DeliveryStore, Settlement

HELD_BYTES: Final = 32 * 1024 * 1024  # of claimed alerts; bounds the memory for alerts of many MiB
POLL_SECONDS: Final = 1.0  # between claims without a call of `wake`; replicas share one store
LEAST_SECONDS: Final = 0.01  # between claims when fewer reports were due than wanted
RENDER_AGAIN_SECONDS: Final = 1.0  # until claims that could not be rendered are claimed again

logger = logging.getLogger(__name__)


class Delivery:
    """Delivers while `run` runs, until `stop`."""

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
        observer: Observer,
        max_in_flight: int = 32,
        rate_limit: float = 0.0,
    ) -> None:
        self.name = name
        self._store, self._renderer, self._contract = store, renderer, contract
        self._clock, self._observer, self._max_in_flight = clock, observer, max_in_flight
        self._throttle = Throttle(
            name, limit=max_in_flight, rate=rate_limit, clock=clock, jitter=jitter, observer=observer
        )
        self._repeats = RepeatFilter(clock)
        self._sender = Sender(
            self._throttle, store=store, reporter=reporter, clock=clock, jitter=jitter, observer=observer,
            repeats=self._repeats,
        )  # fmt: skip
        self._rendered: asyncio.Queue[Ready] = asyncio.Queue()
        self._settlements: asyncio.Queue[Settlement] = asyncio.Queue()
        self._held = self._held_bytes = 0  # reports and bytes of their alerts, from claim to settlement
        self._more_due = False  # the last claim gave as many as it was asked for
        self._repeats = RepeatFilter(clock)
        self._nudge = asyncio.Event()
        self._claiming: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Run the pipeline until cancelled; after `stop` it only settles."""
        async with asyncio.TaskGroup() as tasks:
            self._claiming = tasks.create_task(self._claim_loop())
            for _ in range(self._max_in_flight):
                tasks.create_task(self._send_loop())
            tasks.create_task(self._settle_loop())

    async def stop(self, grace: float) -> None:
        """Send nothing new, wait at most `grace` seconds for what is being sent, then settle."""
        self._throttle.closed = True
        self._nudge.set()
        self._give_back()
        if self._claiming is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(grace):
                    await asyncio.wait((self._claiming,))
                    await self._rendered.join()
            self._claiming.cancel()  # gives back what is still being rendered
            await asyncio.wait((self._claiming,))
            self._give_back()
        with suppress(TimeoutError):
            async with asyncio.timeout(max(grace, 1.0)):
                await self._settlements.join()

    # claim and render -----------------------------------------------------------------------------------------

    async def _claim_loop(self) -> None:
        while not self._throttle.closed:
            try:
                await self._claim_and_render()
            except StoreUnavailable as exc:
                message = "store unavailable for delivery"
                self._repeats.warn(logger, message, key=self.name, integration=self.name, error=exc)
                await self._clock.sleep(POLL_SECONDS)
            except Exception as exc:
                self._repeats.bug(logger, "delivery failed and goes on (a bug in the adapter)", exc)
                await self._clock.sleep(POLL_SECONDS)

    async def _claim_and_render(self) -> None:
        self._nudge.clear()
        wanted = self._wanted()
        if wanted <= 0:
            await self._wait(self._throttle.hold() or POLL_SECONDS)
            return
        claimed = await self._claim(wanted)
        if claimed.claims:
            await self._render(claimed.claims)
        if not self._more_due:
            due = POLL_SECONDS if claimed.next_due is None else claimed.next_due
            await self._wait(min(POLL_SECONDS, max(due, LEAST_SECONDS)))

    def _wanted(self) -> int:
        """How many reports to claim now; 0 until they make a batch worth rendering."""
        if self._held and self._held_bytes >= bounded(HELD_BYTES):
            return 0
        most = self._throttle.worth_holding()
        wanted = most - self._held
        return wanted if wanted >= most // 8 or not self._held else 0

    async def _claim(self, wanted: int) -> Claims:
        throttle = self._throttle
        ignore_delay, throttle.ignore_delay = throttle.ignore_delay, False
        try:
            claimed = await self._store.claim(self.name, wanted, ignore_delay=ignore_delay)
        except StoreUnavailable:
            throttle.ignore_delay |= ignore_delay
            raise
        self._more_due = len(claimed.claims) == wanted
        throttle.ignore_delay |= ignore_delay and self._more_due
        self._held += len(claimed.claims)
        self._held_bytes += _size(claimed.claims)
        return claimed

    async def _render(self, claims: Sequence[Claim]) -> None:
        try:
            prepared = await prepare(
                claims,
                renderer=self._renderer,
                contract=self._contract,
                clock=self._clock,
                observer=self._observer,
                repeats=self._repeats,
            )
        except BaseException:  # also when `stop` cancels it
            for claim in claims:
                self._settlements.put_nowait(Settlement(claim=claim, at=self._clock.now(), delay=RENDER_AGAIN_SECONDS))
            raise
        for one in prepared:
            if isinstance(one, Ready):
                self._rendered.put_nowait(one)
            else:
                self._settlements.put_nowait(one)

    async def _wait(self, seconds: float) -> None:
        """Until nudged, or until `seconds` have passed."""
        timer = asyncio.ensure_future(self._nudge_after(seconds))
        try:
            await self._nudge.wait()
        finally:
            timer.cancel()

    async def _nudge_after(self, seconds: float) -> None:
        await self._clock.sleep(seconds)
        self._nudge.set()

    # send -----------------------------------------------------------------------------------------------------

    async def _send_loop(self) -> None:
        while True:
            ready = await self._throttle.take(self._rendered)
            with self._throttle as admitted:
                settlement = await self._sender.send(ready) if admitted else self._unsent(ready)
            self._settlements.put_nowait(settlement)
            self._rendered.task_done()
            if self._throttle.probing:
                self._nudge.set()  # the time of the next probe has changed

    def _give_back(self) -> None:
        """Settle all that is rendered and waits to be sent as still pending."""
        while not self._rendered.empty():
            self._settlements.put_nowait(self._unsent(self._rendered.get_nowait()))
            self._rendered.task_done()

    def _unsent(self, ready: Ready) -> Settlement:
        return Settlement(claim=ready.claim, at=self._clock.now())

    # settle ---------------------------------------------------------------------------------------------------

    async def _settle_loop(self) -> None:
        while True:
            batch = [await self._settlements.get()]
            while not self._settlements.empty():
                batch.append(self._settlements.get_nowait())
            settled = await settle(self._store, self._clock, batch, self._repeats)
            self._held -= len(batch)
            self._held_bytes -= _size([settlement.claim for settlement in batch])
            try:
                for settlement, result in settled:
                    self._observer.report_settled(settlement, result)
            except Exception as exc:
                self._repeats.bug(logger, "settlements cannot be counted (a bug in the adapter)", exc)
            # Where replicas share the store, `pending` may lack what others accepted in the last seconds.
            if self._more_due or (settled and settled[-1][1].pending > self._held):
                self.wake()
            for _ in batch:
                self._settlements.task_done()

    # from outside ---------------------------------------------------------------------------------------------

    def wake(self) -> None:
        """Something is pending that is not held here."""
        if self._wanted() > 0:
            self._nudge.set()

    @property
    def pause(self) -> Pause | None:
        return self._throttle.pause

    @property
    def reporting(self) -> bool:
        """Not paused, and COC answers."""
        return self._throttle.pause is None and not self._throttle.breaker.lasting

    @property
    def next_probe(self) -> float | None:
        """Seconds until COC is tried again; None unless single probes are all that is sent."""
        pause = self._throttle.pause
        if not self._throttle.probing or (pause is not None and not pause.automatic):
            return None
        return self._throttle.hold()

    @property
    def breaker_state(self) -> Literal["closed", "open", "half_open"]:
        return self._throttle.breaker.state

    async def set_pause(self, pause: Pause | None) -> None:
        """Pause or resume; in the store first, so that it survives a restart. StoreUnavailable when it cannot."""
        self._take_over(await self._store.set_pause(self.name, pause))
        self._throttle.pause_unwritten = False

    def observe_pause(self, pause: Pause | None, asked: float) -> None:
        """What the store, asked at `asked` (monotonic seconds), says; another replica may have written it."""
        if not self._throttle.outdated(asked):
            self._take_over(pause)

    def _take_over(self, pause: Pause | None) -> None:
        self._throttle.observe_pause(pause)
        if pause is not None:
            self._give_back()
        self._nudge.set()

    def set_rate(self, rate: float) -> None:
        """Send at most `rate` reports a second from now on; 0: no limit."""
        self._throttle.set_rate(rate)

    def credentials_changed(self) -> None:
        """A secret or certificate changed: a paused integration is tried at once, not in a minute."""
        self._throttle.credentials_changed()
        self._nudge.set()


def _size(claims: Sequence[Claim]) -> int:
    return sum(len(claim.report.raw) for claim in claims)

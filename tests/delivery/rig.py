"""One Delivery with a scripted COC, the memory store and a clock that tests move."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from prometheus_client import generate_latest

from adapter.alarm import Outcome, Pause
from adapter.alertmanager import Alert
from adapter.coc.verdict import Verdict
from adapter.delivery.pipeline import Delivery
from adapter.mapping.render.request import Contract
from adapter.metrics import Metrics
from adapter.store.contract import Intake
from adapter.store.memory import MemoryStore
from adapter.store.views import ReportRow
from tests.builders import POLICY, a_webhook, an_alert
from tests.fakes import ACCEPTED, FakeClock, PlainRenderer, ScriptedCoc, settle
from tests.stage import values

OPERATOR = Pause(reason="operator", since=1, by="somebody")


class Rig:
    """`options` are those of Delivery, or parts to use instead of the plain ones."""

    def __init__(
        self,
        answer: Callable[[bytes], Verdict],
        *,
        coc: type[ScriptedCoc] = ScriptedCoc,
        store: type[MemoryStore] = MemoryStore,
        renderer: PlainRenderer | None = None,
        observer: type[Metrics] = Metrics,
        clock: FakeClock | None = None,
        jitter: Callable[[], float] = lambda: 0.5,
        **options: Any,
    ) -> None:
        self.coc, self.clock, self.renderer = coc(answer), clock or FakeClock(), renderer or PlainRenderer()
        self.store = store(backlog=100_000, clock=self.clock)
        self.metrics = observer(["default"], clock=self.clock)
        self.delivery = Delivery(
            "default",
            store=self.store,
            renderer=self.renderer,
            reporter=self.coc,
            contract=Contract(),
            clock=self.clock,
            jitter=jitter,
            observer=self.metrics,
            **options,
        )

    async def accept(self, *alerts: Alert) -> None:
        webhook = a_webhook(*alerts)
        receipt = await self.store.accept(
            Intake(integration="default", webhook=webhook, received=self.clock.now(), revision="r1", policy=POLICY)
        )
        self.metrics.webhook_accepted("default", webhook, receipt)
        self.delivery.wake()
        await settle()

    async def refresh_pause(self) -> None:
        """As the service does every few seconds."""
        asked = self.clock.monotonic()
        self.delivery.observe_pause((await self.store.pauses()).get("default"), asked)

    async def rows(self, name: str) -> list[ReportRow]:
        """The reports of one alarm, oldest first."""
        return (await self.store.trail("default", named(name).fingerprint))[::-1]

    async def outcomes(self, name: str) -> list[Outcome | None]:
        return [row.outcome for row in await self.rows(name)]

    async def claimable(self) -> int:
        """How many alarms the delivery does not hold."""
        return len((await self.store.claim("default", 1000, ignore_delay=True)).claims)

    def sent(self) -> list[tuple[str, str]]:
        bodies = [json.loads(body) for body in self.coc.bodies]
        return [(body["alarmName"], body["alarmStatus"]) for body in bodies]

    def counted(self, name: str, **labels: str) -> float:
        return values(generate_latest(self.metrics.registry).decode(), f"coc_adapter_{name}", **labels)


def named(name: str, status: str = "firing", **changes: Any) -> Alert:
    return an_alert(name, status, **changes)


def some(count: int, name: str = "A") -> list[Alert]:
    """Alerts A0, A1, A2 ..."""
    return [named(f"{name}{number}") for number in range(count)]


def only_bad_fails(verdict: Verdict) -> Callable[[bytes], Verdict]:
    return lambda body: verdict if b'"alarmName":"Bad"' in body else ACCEPTED


@asynccontextmanager
async def rig(answer: Callable[[bytes], Verdict] = lambda body: ACCEPTED, **options: Any) -> AsyncIterator[Rig]:
    it = Rig(answer, **options)
    running = asyncio.ensure_future(it.delivery.run())
    await settle()
    try:
        yield it
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

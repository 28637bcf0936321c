"""Accepts a webhook: parses it, commits it to the store, counts and logs it, and wakes the delivery.

From the commit on the alerts are ours to deliver; before it, Alertmanager sends them again. Neither mappings nor COC
take part, so that a broken template or a silent COC delays no acknowledgement.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Final

from adapter.alarm import Kind
from adapter.alertmanager import HEAD_BYTES, MAX_ALERTS, Reject, Webhook, parse_webhook
from adapter.clock import Clock, Micros
from adapter.errors import PayloadError
from adapter.intake.trouble import Trouble
from adapter.lifecycle import Policy
from adapter.logs import RepeatFilter, event
from adapter.memory import Room
from adapter.metrics import Metrics
from adapter.server.body import Overloaded
from adapter.store.contract import Intake, IntakeStore, Receipt

LARGE_BYTES: Final = 64 * 1024  # a larger body is parsed in a thread, so that the event loop goes on
LARGE_COMMAS: Final = 6000  # one with more too: as many unusable alerts take 20 ms
SLICE_SECONDS: Final = 0.002  # of parsing small bodies, after which the event loop serves others
OWED_PER_LINE: Final = 16  # a field of a log line is clipped at 500 characters

TURN_SECONDS: Final = 10.0  # a body waits no longer than this until others are committed
PARSED_BYTES: Final = 4 * 1024 * 1024  # of small bodies, and of large ones, that are parsed and not committed

_PER_BYTE: Final = 4
_PER_VALUE: Final = 200

# The parser holds the interpreter's lock, so a second thread would gain nothing and make the event loop wait longer.
_parser: Final = ThreadPoolExecutor(1, "webhook-parser")
_logger: Final = logging.getLogger(__name__)


class Acceptor:
    """Accepts the webhooks of all integrations into one store."""

    def __init__(
        self,
        store: IntakeStore,
        *,
        clock: Clock,
        policy: Policy,
        metrics: Metrics,
        revision: Callable[[], str],
        owed: Callable[[str], None],
        reporting: Callable[[str], bool] = lambda integration: True,
        max_alerts: int = MAX_ALERTS,
        turn_seconds: float = TURN_SECONDS,
        trouble: Trouble | None = None,
        room: Room | None = None,
    ) -> None:
        """`revision`: of the mappings in force. `owed` is called with the integration when reports were enqueued.

        `reporting`: False while COC is silent or the integration is paused, when no refreshes are owed.
        """
        self._store, self._clock, self._policy, self._metrics = store, clock, policy, metrics
        self._revision, self._owed, self._max_alerts = revision, owed, max_alerts
        self._reporting, self._trouble, self._room = reporting, trouble or Trouble(), room or Room()
        self._repeats = RepeatFilter(clock)
        self._small, self._large = _Turns(turn_seconds), _Turns(turn_seconds)
        self._slices = _Slices(max_alerts)
        _parser.submit(len, ())  # starts its thread, which cannot be started when memory is short

    async def accept(self, integration: str, body: bytes) -> tuple[Webhook, Receipt]:
        """Commit a webhook.

        PayloadError when the body is none (its head is kept); StoreUnavailable; Overloaded; MemoryError.
        """
        received = self._clock.now()
        async with (self._small if len(body) <= LARGE_BYTES else self._large).take(len(body)):
            with self._room.reserve(_memory_for(body)):
                return await self._accept(integration, body, received)

    async def _accept(self, integration: str, body: bytes, received: Micros) -> tuple[Webhook, Receipt]:
        try:
            webhook = await self._parse(body)
        except PayloadError as exc:
            await self.reject(integration, str(exc), body)
            self._repeats.warn(_logger, "not a webhook", key=integration, integration=integration, error=str(exc))
            raise
        receipt = await self._store.accept(
            Intake(
                integration=integration,
                webhook=webhook,
                received=received,
                revision=self._revision(),
                policy=self._policy,
                refreshes=self._reporting(integration),
            )
        )
        self._metrics.webhook_accepted(integration, webhook, receipt)
        self._trouble.accepted(integration, webhook, received)
        if receipt.owed:
            self._owed(integration)
        if receipt.conflicts:
            error = f"{receipt.conflicts} alerts have a fingerprint that came with other labels before"
            self._repeats.warn(
                _logger, "alerts share a fingerprint", key=integration, integration=integration, error=error
            )
        await self._log(integration, webhook, receipt.owed)
        return webhook, receipt

    async def _parse(self, body: bytes) -> Webhook:
        if len(body) > LARGE_BYTES or body.count(b",") > LARGE_COMMAS:
            return await asyncio.get_running_loop().run_in_executor(_parser, parse_webhook, body, self._max_alerts)
        return await self._slices.parse(body)

    async def reject(self, integration: str, reason: str, body: bytes) -> None:
        """Keep the first 64 KiB of a body that cannot be used, for a person. StoreError when it cannot be kept."""
        await self._store.reject(integration, self._clock.now(), [Reject(reason=reason, head=body[:HEAD_BYTES])])

    async def _log(self, integration: str, webhook: Webhook, owed: Sequence[tuple[str, Kind]]) -> None:
        for first in range(0, len(owed), OWED_PER_LINE):
            if first:
                await asyncio.sleep(0)  # a hundred thousand reports are 6,250 lines
            part = owed[first : first + OWED_PER_LINE]
            reports = " ".join(f"{kind}:{fingerprint}" for fingerprint, kind in part)
            event(_logger, logging.INFO, "owed", integration=integration, reports=len(part), owed=reports)
        if webhook.rejects:
            error = f"{webhook.rejected} of them; first: {webhook.rejects[0].reason}"
            self._repeats.warn(_logger, "alert rejected", key=integration, integration=integration, error=error)
        if webhook.truncated:
            error = f"Alertmanager cut off {webhook.truncated} alerts; set max_alerts: 0 in its receiver"
            self._repeats.warn(_logger, "webhook truncated", key=integration, integration=integration, error=error)
        event(
            _logger, logging.DEBUG, "webhook", integration=integration, receiver=webhook.group.receiver,
            alerts=len(webhook.alerts), owed=len(owed), bytes=webhook.size,
        )  # fmt: skip


def _memory_for(body: bytes) -> int:
    """Bytes that parsing and committing it take at most, as measured: of text, and of small values."""
    return _PER_BYTE * len(body) + _PER_VALUE * (body.count(b",") + body.count(b"{"))


class _Slices:
    """Parses small bodies in the event loop, in the order in which they come: as many in a turn as take a slice."""

    def __init__(self, max_alerts: int) -> None:
        self._max_alerts, self._parsed = max_alerts, 0.0  # seconds since others were served
        self._waiting: deque[tuple[bytes, asyncio.Future[Webhook]]] = deque()

    async def parse(self, body: bytes) -> Webhook:
        if self._parsed < SLICE_SECONDS:
            return self._parse(body)
        loop = asyncio.get_running_loop()
        if not self._waiting:
            loop.call_soon(self._go_on)
        future: asyncio.Future[Webhook] = loop.create_future()
        self._waiting.append((body, future))
        return await future

    def _parse(self, body: bytes) -> Webhook:
        began = time.perf_counter()
        try:
            return parse_webhook(body, self._max_alerts)
        finally:
            self._parsed += time.perf_counter() - began

    def _go_on(self) -> None:
        self._parsed = 0.0
        while self._waiting and self._parsed < SLICE_SECONDS:
            body, future = self._waiting.popleft()
            if future.done():  # nobody waits for it any more
                continue
            try:
                webhook = self._parse(body)
            except Exception as exc:
                future.set_exception(exc)
            else:
                future.set_result(webhook)
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._go_on)


class _Turns:
    """Lets few bodies at a time be parsed and committed: parsed alerts may take thirty times their body's memory."""

    def __init__(self, seconds: float) -> None:
        self._seconds, self._bytes = seconds, 0
        self._next, self._freed = asyncio.Lock(), asyncio.Event()

    @asynccontextmanager
    async def take(self, size: int) -> AsyncIterator[None]:
        """Waits for those that came earlier; Overloaded when that takes too long. Any one body has its turn."""
        try:
            async with asyncio.timeout(self._seconds), self._next:
                while self._bytes and self._bytes + size > PARSED_BYTES:
                    self._freed.clear()
                    await self._freed.wait()
                self._bytes += size
        except TimeoutError:
            raise Overloaded from None
        try:
            yield
        finally:
            self._bytes -= size
            self._freed.set()

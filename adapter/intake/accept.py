"""Accepts a webhook: parses it, commits it to the store, counts and logs it, and wakes the delivery.

From the commit on the alerts are ours to deliver; before it, Alertmanager sends them again. Neither mappings nor COC
take part, so that a broken template or a silent COC delays no acknowledgement.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from adapter.alarm import Kind
from adapter.alertmanager import HEAD_BYTES, MAX_ALERTS, Reject, Webhook, parse_webhook
from adapter.clock import Clock
from adapter.errors import PayloadError
from adapter.lifecycle import Policy
from adapter.logs import RepeatFilter, event
from adapter.metrics import Metrics
from adapter.store.contract import Intake, IntakeStore, Receipt

LARGE_BYTES: Final = 64 * 1024  # a larger body is parsed in a thread, so that the event loop goes on
OWED_PER_LINE: Final = 16  # a field of a log line is clipped at 500 characters

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
        max_alerts: int = MAX_ALERTS,
    ) -> None:
        """`revision`: of the mappings in force. `owed` is called with the integration when reports were enqueued."""
        self._store, self._clock, self._policy, self._metrics = store, clock, policy, metrics
        self._revision, self._owed, self._max_alerts = revision, owed, max_alerts
        self._repeats = RepeatFilter(clock)

    async def accept(self, integration: str, body: bytes) -> tuple[Webhook, Receipt]:
        """Commit a webhook. PayloadError when the body is none (its head is kept); StoreUnavailable."""
        received = self._clock.now()
        try:
            webhook = await _parse(body, self._max_alerts)
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
            )
        )
        self._metrics.webhook_accepted(integration, webhook, receipt)
        if receipt.owed:
            self._owed(integration)
        self._log(integration, webhook, receipt.owed)
        return webhook, receipt

    async def reject(self, integration: str, reason: str, body: bytes) -> None:
        """Keep the first 64 KiB of a body that cannot be used, for a person. StoreError when it cannot be kept."""
        await self._store.reject(integration, self._clock.now(), [Reject(reason=reason, head=body[:HEAD_BYTES])])

    def _log(self, integration: str, webhook: Webhook, owed: Sequence[tuple[str, Kind]]) -> None:
        for first in range(0, len(owed), OWED_PER_LINE):
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


async def _parse(body: bytes, max_alerts: int) -> Webhook:
    if len(body) <= LARGE_BYTES:
        return parse_webhook(body, max_alerts)
    return await asyncio.get_running_loop().run_in_executor(_parser, parse_webhook, body, max_alerts)

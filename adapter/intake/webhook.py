"""`POST /webhook` and `POST /webhook/{integration}`: Alertmanager's door. The design's table of answers is made here.

Only 5xx is tried again by Alertmanager, and the first part of our answer lands in its log: one line, no alert text.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from adapter.alarm import News
from adapter.alertmanager import HEAD_BYTES, Reject, Webhook
from adapter.clock import Clock
from adapter.config.load import Config
from adapter.errors import BacklogFull, PayloadError, StoreError, StoreUnavailable
from adapter.intake.accept import take_in
from adapter.logs import RepeatFilter, event
from adapter.metrics import Metrics
from adapter.server.body import BodyBroken, BodySlow, BodyTooLarge, read_body
from adapter.server.limits import InFlight, Overloaded
from adapter.store.contract import IntakeStore, Receipt

UNKNOWN: Final = "unknown"
COMMIT_SECONDS: Final = 10.0  # a pair's second Alertmanager waits 15 s before it sends as well
BYTES_PER_SECOND: Final = 1 << 20  # of a body, that may take longer: a hundred thousand alerts in it are no hang
OWED_PER_LINE: Final = 16  # a field of a log line is clipped at 500 characters

logger = logging.getLogger(__name__)


def is_webhook(path: str) -> bool:
    return path == "/webhook" or path.startswith("/webhook/")


class WebhookHandler:
    """Answers webhooks; `close` makes it answer 503 from then on."""

    def __init__(
        self,
        config: Config,
        *,
        store: IntakeStore,
        clock: Clock,
        metrics: Metrics,
        revision: Callable[[], str],
        owed: Callable[[str], None],
        commit_seconds: float = COMMIT_SECONDS,
    ) -> None:
        """`revision`: of the mappings in force; `owed` is told the integration whenever something is owed.

        `commit_seconds`: how long a sender is kept waiting for the store.
        """
        self._config, self._store, self._clock, self._metrics = config, store, clock, metrics
        self._revision, self._owed = revision, owed
        self._in_flight = InFlight(
            max_requests=config.webhook.max_in_flight, max_bytes=config.webhook.max_in_flight_bytes
        )
        self._quiet = RepeatFilter(clock)
        self._commit_seconds = commit_seconds
        self._late: dict[asyncio.Task[web.Response], ExitStack] = {}
        self._closed = False

    def routes(self) -> list[web.RouteDef]:
        return [web.post("/webhook", self.handle), web.post("/webhook/{integration}", self.handle)]

    def close(self) -> None:
        """Shutting down: what is in flight goes on, what comes is for the next process."""
        self._closed = True

    @property
    def in_flight(self) -> int:
        return self._in_flight.requests

    def counting(self) -> Middleware:
        """For the outermost place: counts every answer on a webhook path, also those given before `handle`, as 401."""

        @web.middleware
        async def counted(request: web.Request, handler: Handler) -> web.StreamResponse:
            if not is_webhook(request.path):
                return await handler(request)
            started = self._clock.monotonic()
            try:
                response = await handler(request)
            except web.HTTPException as exc:
                self._count(request, exc.status, started)
                raise
            except Exception:
                self._count(request, 500, started)
                raise
            self._count(request, response.status, started)
            return response

        return counted

    async def handle(self, request: web.Request) -> web.Response:
        integration = self._config.integration(request.match_info.get("integration"))
        name = integration.name if integration else None
        try:
            return await self._answer(request, name)
        except StoreUnavailable as exc:
            self._loud("webhook refused", name or UNKNOWN, exc)
            return _refusal(503, "the backlog is full" if isinstance(exc, BacklogFull) else "the store cannot commit")

    def _count(self, request: web.Request, status: int, started: float) -> None:
        integration = None if status == 404 else self._config.integration(request.match_info.get("integration"))
        name = integration.name if integration else UNKNOWN
        self._metrics.webhook_answered(name, status, self._clock.monotonic() - started)

    async def _answer(self, request: web.Request, integration: str | None) -> web.Response:
        if integration is None:
            return _refusal(404, "no such integration; adapter.yml names those there are")
        if self._closed:
            return _refusal(503, "shutting down", close=True)
        limits = self._config.webhook
        with ExitStack() as held:
            try:
                reservation = held.enter_context(self._in_flight.reserve())
                body = await read_body(
                    request, limit=limits.max_body, seconds=limits.body_timeout, reservation=reservation
                )
            except Overloaded:
                return _refusal(503, "too much is in flight")
            except BodySlow:
                return _refusal(503, f"the body did not arrive within {limits.body_timeout:g} s", close=True)
            except BodyBroken as exc:
                return _refusal(400, str(exc), close=True)
            except BodyTooLarge as exc:
                reason = f"the body is larger than {limits.max_body} bytes (webhook.max_body)"
                return await self._in_time(self._keep(integration, reason, exc.head), held, len(exc.head))
            if request.transport is None or request.transport.is_closing():
                # The sender gave up and will send again; committing now could overtake what it sends next.
                return _refusal(503, "the client has gone")
            return await self._in_time(self._take(integration, body), held, len(body))

    async def _in_time(self, work: Coroutine[None, None, web.Response], held: ExitStack, size: int) -> web.Response:
        """What `work` answers, or StoreUnavailable when the store hangs, as a dying disk does without an error.

        The work then goes on, and counts as in flight until it ends, so that repeats of it cannot pile up. Should it
        still be committed, what the sender repeats meanwhile is no news.
        """
        seconds = self._commit_seconds + size / BYTES_PER_SECOND
        task = asyncio.ensure_future(work)
        await asyncio.wait((task,), timeout=seconds)
        if task.done():
            return task.result()
        self._late[task] = held.pop_all()
        task.add_done_callback(self._came_late)
        raise StoreUnavailable(f"the store did not answer within {seconds:.0f} s")

    def _came_late(self, task: asyncio.Task[web.Response]) -> None:
        self._late.pop(task).close()
        if not task.cancelled() and (exc := task.exception()) and not isinstance(exc, StoreUnavailable):
            logger.error("a webhook cannot be handled (a bug in the adapter)", exc_info=exc)

    async def _take(self, integration: str, body: bytes) -> web.Response:
        try:
            webhook, receipt = await take_in(
                body,
                integration=integration,
                store=self._store,
                clock=self._clock,
                revision=self._revision(),
                policy=self._config.policy,
            )
        except PayloadError as exc:
            self._loud("not a webhook", integration, exc)
            return _refusal(400, str(exc))
        self._metrics.webhook_accepted(integration, webhook, receipt)
        if receipt.owed:
            self._owed(integration)
        self._say(integration, webhook, receipt)
        return web.json_response(
            {
                "accepted": len(webhook.alerts),
                "news": receipt.news.get(News.NEWS, 0),
                "repeats": len(webhook.alerts) - receipt.news.get(News.NEWS, 0),
                "rejected": len(webhook.rejects),
            }
        )

    async def _keep(self, integration: str, reason: str, head: bytes) -> web.Response:
        """A body that no repetition can mend: keep its head for a person, or go on if the store is away just now."""
        try:
            await self._store.reject(integration, self._clock.now(), [Reject(reason=reason, head=head[:HEAD_BYTES])])
        except StoreError as exc:
            self._loud("reject not kept", integration, exc)
        return _refusal(413, reason, close=True)

    def _say(self, integration: str, webhook: Webhook, receipt: Receipt) -> None:
        for first in range(0, len(receipt.owed), OWED_PER_LINE):
            part = receipt.owed[first : first + OWED_PER_LINE]
            owed = " ".join(f"{kind}:{fingerprint}" for fingerprint, kind in part)
            event(logger, logging.INFO, "owed", integration=integration, reports=len(part), owed=owed)
        if webhook.rejects:
            reason = webhook.rejects[0].reason
            self._loud("alert rejected", integration, PayloadError(f"{len(webhook.rejects)} of them; first: {reason}"))
        if webhook.truncated:
            self._loud(
                "webhook truncated", integration,
                PayloadError(f"Alertmanager cut off {webhook.truncated} alerts; set max_alerts: 0 in its receiver"),
            )  # fmt: skip
        event(
            logger, logging.DEBUG, "webhook", integration=integration, receiver=webhook.group.receiver,
            alerts=len(webhook.alerts), owed=len(receipt.owed), bytes=webhook.size,
        )  # fmt: skip

    def _loud(self, message: str, integration: str, exc: Exception) -> None:
        silent = self._quiet.failed((message, integration))
        if silent is not None:
            event(logger, logging.WARNING, message, integration=integration, error=str(exc), silent=silent)


def _refusal(status: int, line: str, *, close: bool = False) -> web.Response:
    response = web.Response(status=status, text=line + "\n")
    if close:
        response.force_close()
    return response

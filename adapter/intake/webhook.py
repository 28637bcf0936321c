"""Answers `POST /webhook` and `POST /webhook/{integration}`.

| answer | when |
|---|---|
| 200 | committed, including webhooks of which some alerts were unusable |
| 400 | not JSON, no list of alerts, or a body that cannot be read |
| 404 | no such integration |
| 413 | the body, or the number of its alerts, is over the limit |
| 503 | the store cannot commit, the backlog or memory is full, too much is in flight, the body is slow, shutting down |

Alertmanager sends again only after a 5xx, and logs the start of the answer: one line, no alert text.
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
from adapter.clock import Clock
from adapter.errors import BacklogFull, PayloadError, SpaceLow, StoreError, StoreUnavailable, TooManyAlerts
from adapter.intake.accept import Acceptor
from adapter.intake.trouble import Trouble
from adapter.logs import RepeatFilter
from adapter.metrics import Metrics
from adapter.server.body import BodyRefused, BodyTooLarge, InFlight, Overloaded, read_body

COMMIT_SECONDS: Final = 10.0  # the second of a pair of Alertmanagers waits 15 s before it sends too
BYTES_PER_SECOND: Final = 1 << 20  # of a body, which adds to that: a hundred thousand alerts take longer

_NO_MEMORY: Final = "out of memory"
_logger: Final = logging.getLogger(__name__)


def is_webhook(path: str) -> bool:
    return path == "/webhook" or path.startswith("/webhook/")


class WebhookHandler:
    """Answers webhooks; after `close`, with 503."""

    def __init__(
        self,
        acceptor: Acceptor,
        *,
        integration: Callable[[str | None], str | None],
        in_flight: InFlight,
        max_body: int,
        body_seconds: float,
        metrics: Metrics,
        clock: Clock,
        met: Callable[[str | None], None],
        commit_seconds: float = COMMIT_SECONDS,
        trouble: Trouble | None = None,
    ) -> None:
        """`integration`: its name for the one in a path, or None where there is no such.

        `met` is called with why a webhook could not be committed, and with None when one was. `commit_seconds`: how
        long a sender waits for the store.
        """
        self._acceptor, self._integration, self._in_flight = acceptor, integration, in_flight
        self._max_body, self._body_seconds, self._commit_seconds = max_body, body_seconds, commit_seconds
        self._metrics, self._clock, self._met = metrics, clock, met
        self._repeats, self._trouble = RepeatFilter(clock), trouble or Trouble()
        self._late: dict[asyncio.Task[web.Response], ExitStack] = {}
        self._closed = False

    def routes(self) -> list[web.RouteDef]:
        return [web.post("/webhook", self.handle), web.post("/webhook/{integration}", self.handle)]

    def close(self) -> None:
        """Refuse new webhooks; those in flight are finished."""
        self._closed = True

    def counting(self) -> Middleware:
        """Counts every answer on a webhook path, also those of other middlewares, such as 401."""

        @web.middleware
        async def count(request: web.Request, handler: Handler) -> web.StreamResponse:
            if not is_webhook(request.path):
                return await handler(request)
            started, status = self._clock.monotonic(), 500
            try:
                response = await handler(request)
                status = response.status
                return response
            except web.HTTPException as exc:
                status = exc.status
                raise
            finally:
                name = None if status == 404 else self._integration(request.match_info.get("integration"))
                self._metrics.webhook_answered(name, status, self._clock.monotonic() - started)
                self._trouble.answered(name, status, self._clock.now())

        return count

    async def handle(self, request: web.Request) -> web.Response:
        integration = self._integration(request.match_info.get("integration"))
        if integration is None:
            return _refusal(404, "no such integration; adapter.yml names those there are")
        if self._closed:
            return _refusal(503, "shutting down", close=True)
        try:
            return await self._answer(request, integration)
        except StoreUnavailable as exc:
            if not isinstance(exc, BacklogFull | SpaceLow):  # decisions, under which repeats and resolves are taken
                self._met(str(exc))
            key = (integration, type(exc))
            self._repeats.warn(_logger, "webhook refused", key=key, integration=integration, error=str(exc))
            return _refusal(503, "the backlog is full" if isinstance(exc, BacklogFull) else "the store cannot commit")
        except MemoryError:
            self._repeats.warn(_logger, "webhook refused", key=integration, integration=integration, error=_NO_MEMORY)
            return _refusal(503, _NO_MEMORY, close=True)

    async def _answer(self, request: web.Request, integration: str) -> web.Response:
        with ExitStack() as held:
            try:
                reserve = held.enter_context(self._in_flight.reserve())
                body = await read_body(request, limit=self._max_body, seconds=self._body_seconds, reserve=reserve)
            except Overloaded:
                return _refusal(503, "too much is in flight")
            except BodyTooLarge as exc:
                return await self._in_time(self._reject(integration, exc), held, len(exc.head))
            except BodyRefused as exc:
                return _refusal(exc.status, str(exc), close=True)
            if request.transport is None or request.transport.is_closing():
                # The sender gave up and will send again; a commit now could overtake what it sends next.
                return _refusal(503, "the client has gone")
            return await self._in_time(self._accept(integration, body), held, len(body))

    async def _in_time(self, work: Coroutine[None, None, web.Response], held: ExitStack, size: int) -> web.Response:
        """The answer of `work`, or StoreUnavailable when the store hangs, as a failing disk does without an error.

        The work then goes on and stays in flight until it ends, so that repeats of it cannot pile up. If it is still
        committed, what the sender repeats meanwhile is no news.
        """
        seconds = self._commit_seconds + size / BYTES_PER_SECOND
        task = asyncio.ensure_future(work)
        await asyncio.wait((task,), timeout=seconds)
        if task.done():
            return task.result()
        self._late[task] = held.pop_all()
        task.add_done_callback(self._ended_late)
        raise StoreUnavailable(f"the store did not answer within {seconds:.0f} s")

    def _ended_late(self, task: asyncio.Task[web.Response]) -> None:
        self._late.pop(task).close()
        if not task.cancelled() and (exc := task.exception()) and not isinstance(exc, StoreUnavailable | MemoryError):
            self._repeats.bug(_logger, "a webhook cannot be handled (a bug in the adapter)", exc)

    async def _accept(self, integration: str, body: bytes) -> web.Response:
        try:
            webhook, receipt = await self._acceptor.accept(integration, body)
        except Overloaded:
            return _refusal(503, "too much is in flight")
        except PayloadError as exc:
            return _refusal(413 if isinstance(exc, TooManyAlerts) else 400, str(exc))
        if receipt.webhook:
            self._met(None)
        news = receipt.news.get(News.NEWS, 0)
        return web.json_response(
            {
                "accepted": len(webhook.alerts),
                "news": news,
                "repeats": len(webhook.alerts) - news,
                "rejected": webhook.rejected,
            }
        )

    async def _reject(self, integration: str, refused: BodyTooLarge) -> web.Response:
        """413, which the sender does not repeat, so also when the store cannot keep the head now."""
        reason = f"{refused} (webhook.max_body)"
        try:
            await self._acceptor.reject(integration, reason, refused.head)
        except StoreError as exc:
            self._repeats.warn(_logger, "reject not kept", key=integration, integration=integration, error=str(exc))
        return _refusal(refused.status, reason, close=True)


def _refusal(status: int, line: str, *, close: bool = False) -> web.Response:
    response = web.Response(status=status, text=line + "\n")
    if close:
        response.force_close()
    return response

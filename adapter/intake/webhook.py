"""Answers `POST /webhook` and `POST /webhook/{integration}`.

| answer | when |
|---|---|
| 200 | committed, including webhooks of which some alerts were unusable |
| 400 | not JSON, no list of alerts, or a body that cannot be read |
| 404 | no such integration |
| 413 | the body, or the number of its alerts, is over the limit |
| 415 | the body declares a charset that is not known, or that it is not in |
| 503 | the store cannot commit, the backlog or memory is full, too much is in flight, the body is slow, shutting down |

Alertmanager sends again only after a 5xx, and logs the start of the answer: one line, no alert text. Every POST that is
refused for good leaves a log line and a count, on paths that are not served too: there a receiver has the wrong URL.
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
from adapter.metrics import UNKNOWN, Metrics
from adapter.server.address import source_of
from adapter.server.body import BodyRefused, BodyTooLarge, InFlight, Overloaded, read_body

COMMIT_SECONDS: Final = 10.0  # the second of a pair of Alertmanagers waits 15 s before it sends too
BYTES_PER_SECOND: Final = 1 << 20  # of a body, which adds to that: a hundred thousand alerts take longer

_WITH_SLASHES: Final = ("/{_:/*}webhook{__:/*}", "/{_:/*}webhook/{__:/*}{integration:[^/]+}{___:/*}")
_NO_MEMORY: Final = "out of memory"
_NOT_HERE: Final = "no webhook is taken at this path; it is /webhook or /webhook/INTEGRATION"
_LONGEST_PATH: Final = 100  # characters of it in the log
_MOST_TOLD: Final = 64  # paths and reasons that each have lines of their own
_logger: Final = logging.getLogger(__name__)


def is_webhook(path: str) -> bool:
    return path.strip("/").split("/", 1)[0] == "webhook"


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
        self._told: set[tuple[str, str]] = set()
        self._late: dict[asyncio.Task[None], ExitStack] = {}
        self._closed = False

    def routes(self) -> list[web.RouteDef]:
        """The usual paths first, which are found sooner; the others hold slashes too many.

        `/` is a page for people; a receiver whose URL has no path gets the answer of a wrong path.
        """
        paths = ("/webhook", "/webhook/{integration}", *_WITH_SLASHES)
        return [*(web.post(path, self.handle) for path in paths), web.post("/", _nowhere)]

    def malformed(self, source: str) -> None:
        """A POST was answered 400 before its path was read."""
        self._metrics.webhook_answered(None, 400, 0.0)
        self._warn(source, "", 400, "its headers cannot be read")

    def close(self) -> None:
        """Refuse new webhooks; those in flight are finished."""
        self._closed = True

    def counting(self) -> Middleware:
        """Counts every answer on a webhook path and to a POST on any, also those of other middlewares, such as 401."""

        @web.middleware
        async def count(request: web.Request, handler: Handler) -> web.StreamResponse:
            if request.method != "POST" and not is_webhook(request.path):
                return await handler(request)
            started, response = self._clock.monotonic(), None
            try:
                response = await handler(request)
                return response
            except web.HTTPException as exc:
                response = exc
                raise
            finally:
                status = response.status if response is not None else 500
                found = status != 404 and is_webhook(request.path)
                name = self._integration(request.match_info.get("integration")) if found else None
                self._metrics.webhook_answered(name, status, self._clock.monotonic() - started)
                self._trouble.answered(name, status, self._clock.now())
                if status == 404 or (status == 405 and request.method == "POST"):
                    self._warn(source_of(request.remote), request.path, status, _NOT_HERE)

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
        except MemoryError as exc:
            error = f"{_NO_MEMORY}: {exc}" if str(exc) else _NO_MEMORY
            self._repeats.warn(_logger, "webhook refused", key=integration, integration=integration, error=error)
            return _refusal(503, _NO_MEMORY, close=True)

    async def _answer(self, request: web.Request, integration: str) -> web.Response:
        with ExitStack() as held:
            try:
                reserve = held.enter_context(self._in_flight.reserve())
                body = await read_body(request, limit=self._max_body, seconds=self._body_seconds, reserve=reserve)
            except Overloaded:
                return _refusal(503, "too much is in flight")
            except BodyRefused as exc:
                if exc.status < 500:
                    self._warn(source_of(request.remote), request.path, exc.status, str(exc), integration)
                if isinstance(exc, BodyTooLarge):
                    return await self._in_time(self._reject(integration, exc), held, len(exc.head))
                return _refusal(exc.status, str(exc), close=True)
            if request.transport is None or request.transport.is_closing():
                # The sender gave up and will send again; a commit now could overtake what it sends next.
                return _refusal(503, "the client has gone")
            return await self._in_time(self._accept(integration, body), held, len(body))

    def _warn(self, source: str, path: str, status: int, error: str, integration: str = UNKNOWN) -> None:
        """Of what is refused for good: each path and reason, unless somebody tries very many."""
        what = (path[:_LONGEST_PATH], error)
        if len(self._told) < _MOST_TOLD:
            self._told.add(what)
        self._repeats.warn(
            _logger, "webhook refused", key=(integration, status, source, what if what in self._told else None),
            integration=integration, status=status, path=what[0], source=source, error=error,
        )  # fmt: skip

    async def _in_time(self, work: Coroutine[None, None, web.Response], held: ExitStack, size: int) -> web.Response:
        """The answer of `work`, or StoreUnavailable when the store hangs, as a failing disk does without an error.

        The work then goes on and stays in flight until it ends, so that repeats of it cannot pile up. If it is still
        committed, what the sender repeats meanwhile is no news.
        """
        seconds = self._commit_seconds + size / BYTES_PER_SECOND
        answer: asyncio.Future[web.Response] = asyncio.get_running_loop().create_future()
        task = asyncio.ensure_future(_answering(work, answer))
        try:
            async with asyncio.timeout(seconds):
                return await answer
        except TimeoutError:
            if answer.done() and not answer.cancelled():
                return answer.result()
            self._late[task] = held.pop_all()
            task.add_done_callback(self._ended_late)
            raise StoreUnavailable(f"the store did not answer within {seconds:.0f} s") from None

    def _ended_late(self, task: asyncio.Task[None]) -> None:
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


async def _answering(work: Coroutine[None, None, web.Response], answer: asyncio.Future[web.Response]) -> None:
    """Hand over what comes of the work a turn of the loop sooner than the end of its task would; raise it if late."""
    try:
        response = await work
    except Exception as exc:
        if answer.done():
            raise
        answer.set_exception(exc)
    else:
        if not answer.done():
            answer.set_result(response)


async def _nowhere(request: web.Request) -> web.Response:
    return _refusal(404, _NOT_HERE)


def _refusal(status: int, line: str, *, close: bool = False) -> web.Response:
    response = web.Response(status=status, text=line + "\n")
    if close:
        response.force_close()
    return response

"""One POST to COC, and what came of it. The only module that speaks to COC; it never raises and never logs."""

from __future__ import annotations

import socket
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import aiohttp

from adapter.clock import SECOND, Clock
from adapter.coc.answer import one_line
from adapter.coc.endpoint import Endpoint, is_forbidden_address
from adapter.coc.exchange import Answer, Exchange, Target
from adapter.coc.failure import ForbiddenAddress, judge_failure
from adapter.coc.verdict import Action, Reason, Verdict, judge
from adapter.coc.way import EndpointProblem, RequestTemplate, build_request, snapshot

LONGEST_ANSWER = 64 * 1024  # bytes read of an answer; COC's have some hundred


class CocClient:
    """A keep-alive session to one integration's endpoint. Use inside one event loop: open, report, close."""

    def __init__(self, endpoint: Endpoint, clock: Clock) -> None:
        self._endpoint = endpoint
        self._clock = clock
        self._session: aiohttp.ClientSession | None = None
        self._way: RequestTemplate | None = None
        self._target: tuple[RequestTemplate, Target] | None = None  # made when the first report takes a way
        self._obstacle = Verdict(action=Action.RETRY, reason=Reason.UNEXPECTED, message="the client is not open")
        self._seen = b""
        # COC says the same to almost every report; its words need not be read again each time.
        self._usual: tuple[object, Verdict] | None = None

    async def open(self) -> None:
        """Make the session. A setting or certificate that cannot be used becomes the verdict of each report."""
        endpoint = self._endpoint
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=endpoint.max_in_flight, socket_factory=_socket),
            timeout=aiohttp.ClientTimeout(
                total=endpoint.timeout, connect=min(endpoint.connect_timeout, endpoint.timeout)
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        self._prepare(snapshot(endpoint))

    async def close(self) -> None:
        """Close every connection; reports under way end with a verdict."""
        if self._session is not None:
            await self._session.close()

    def refresh(self) -> bool:
        """Read secret and certificate files again; True when reports go out differently from now on.

        Files that cannot be used leave everything as it was, to be read again at the next call.
        """
        self._endpoint.refresh_secrets()
        now = snapshot(self._endpoint)
        return now != self._seen and self._prepare(now)

    async def report(self, body: bytes) -> Verdict:
        """POST one alarm, JSON in UTF-8. Raises nothing but CancelledError."""
        way, session = self._way, self._session
        if way is None or session is None:
            return self._obstacle
        verdict, stale = await self._attempt(session, way, body)
        if stale:
            # A kept connection was found closed before a byte was written: nothing can have arrived.
            verdict, _ = await self._attempt(session, way, body)
        return verdict

    async def _attempt(self, session: aiohttp.ClientSession, way: RequestTemplate, body: bytes) -> tuple[Verdict, bool]:
        exchange = Exchange(longest=LONGEST_ANSWER)
        try:
            now = datetime.fromtimestamp(self._clock.now() / SECOND, UTC)
            answer = await exchange.run(self._target_of(way, session), way.headers_for(body, now), body)
            return self._judged(answer, way, now), False
        except Exception as exc:
            verdict = judge_failure(exc, sent=exchange.sent)
            return replace(verdict, message=one_line(way.redact(verdict.message))), exchange.stale

    def _target_of(self, way: RequestTemplate, session: aiohttp.ClientSession) -> Target:
        if self._target is None or self._target[0] is not way:
            self._target = (way, Target.of(way.url, session, **way.connection))
        return self._target[1]

    def _judged(self, answer: Answer, way: RequestTemplate, now: datetime) -> Verdict:
        if answer.broken is not None and answer.status == 200:
            # A refusal is a refusal even when its words were cut off; a success is none.
            lost = judge_failure(answer.broken, sent=True)
            return replace(lost, status=200, message=one_line(way.redact(lost.message)))
        said = (answer.status, answer.headers.get("Content-Type"), answer.body, way)
        if self._usual is not None and said == self._usual[0]:
            return self._usual[1]
        verdict = judge(answer.status, answer.headers, answer.body, now, redact=way.redact, whole=answer.whole)
        if verdict.action is Action.ACCEPTED:
            self._usual = (said, verdict)
        return verdict

    def _prepare(self, seen: bytes) -> bool:
        try:
            self._way = build_request(self._endpoint)
        except EndpointProblem as exc:
            self._obstacle = Verdict(action=Action.PAUSE, reason=exc.reason, message=str(exc), hint=exc.hint)
            return False
        self._seen = seen
        return True


def _socket(address: tuple[Any, ...]) -> socket.socket:
    family, kind, protocol, _, where = address
    if is_forbidden_address(str(where[0])):
        raise ForbiddenAddress
    return socket.socket(family=family, type=kind, proto=protocol)

"""Asks one member of a cluster: its status, what it lists, and about single alerts. Reads only, never posts.

An answer is read and parsed piece by piece, so that fifty thousand alerts neither fill the memory nor hold up webhooks.
"""

from __future__ import annotations

import asyncio
import codecs
import json
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any, Final

import aiohttp
from yarl import URL

from adapter.clock import SECOND, Clock, Micros
from adapter.coc.endpoint import EndpointProblem
from adapter.coc.failure import judge_failure
from adapter.errors import one_line
from adapter.reconcile.cluster import Cluster, quoted
from adapter.reconcile.snapshot import (
    Elements,
    Invalid,
    Listed,
    Member,
    Result,
    Silence,
    Status,
    health,
    listed,
    members_of,
    status_of,
)

RETRY_SECONDS: Final = 1.0  # after a 503: Alertmanager answers few questions at a time
PIECE: Final = 128 * 1024  # bytes, parsed in one turn of the event loop of a millisecond
REST_SECONDS: Final = 0.003  # between pieces: a commit's thread gets the interpreter at once only while the loop rests
_LARGEST_STATUS: Final = 4 * 1024 * 1024
_LONGEST_FILTER: Final = 4096  # characters of the filters of one question
_CLASSIC: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


class NoAnswer(Exception):
    """A question that was not answered as it must be."""

    def __init__(self, result: Result, why: str) -> None:
        super().__init__(why)
        self.result = result


@dataclass(slots=True, kw_only=True)
class Report:
    """What came of asking one member."""

    address: str
    result: Result = Result.VALID
    error: str = ""
    status: Status | None = None
    listed: dict[str, Listed] = field(default_factory=dict)
    seconds: float = 0.0  # without waits before a second try


class Peer:
    """One member."""

    def __init__(self, address: str, cluster: Cluster, session: aiohttp.ClientSession, clock: Clock, tls: Any) -> None:
        self.address = address
        self._base = URL(address)
        self._cluster, self._session, self._clock = cluster, session, clock
        self._tls = tls
        self._waited = 0.0

    async def poll(self, receivers: Sequence[str], members: int) -> Report:
        """Status, list and watchdog; never raises but for a bug."""
        report = Report(address=self.address)
        started = self._clock.monotonic()
        try:
            status, theirs = await self._status()
            report.status = status
            ours, settle = self._clock.now(), self._cluster.rules.settle
            report.result, report.error = health(status, theirs=theirs, ours=ours, members=members, settle=settle)
            if report.result is Result.VALID:
                report.listed = await self.list_alerts(receivers)
                await self._see_watchdog(report)
        except NoAnswer as exc:
            report.result, report.error = exc.result, str(exc)
        report.seconds = self._clock.monotonic() - started - self._waited
        return report

    async def _status(self) -> tuple[Status, Micros]:
        """And its clock, 0 where it does not tell."""
        async with self._asked("status", ()) as answer:
            data = await self._body(answer)
        try:
            date = parsedate_to_datetime(answer.headers.get("Date", ""))
            theirs = int(date.replace(tzinfo=date.tzinfo or UTC).timestamp()) * SECOND
        except (ValueError, OverflowError):
            theirs = 0
        try:
            return status_of(json.loads(data)), theirs
        except (ValueError, RecursionError, Invalid) as exc:
            raise NoAnswer(Result.INVALID, "what answers at /api/v2/status is no Alertmanager") from exc

    async def _body(self, answer: aiohttp.ClientResponse) -> bytes:
        """A small one."""
        body = b""
        async for piece in answer.content.iter_chunked(PIECE):
            body += piece
            if len(body) > min(_LARGEST_STATUS, self._cluster.max_body):
                raise NoAnswer(Result.TOO_LARGE, "the answer is too large")
        return body

    async def list_alerts(self, receivers: Sequence[str]) -> dict[str, Listed]:
        """All that goes to these receivers; to any where none is named."""
        found: dict[str, Listed] = {}
        shared: dict[tuple[str, ...], tuple[str, ...]] = {}

        def keep(element: Any) -> None:
            fingerprint, item = listed(element, shared)
            found[fingerprint] = item

        await self._read("alerts", _to(receivers), keep)
        return found

    async def _see_watchdog(self, report: Report) -> None:
        watchdog = self._cluster.watchdog
        if watchdog:
            shown: list[Any] = []
            await self._read("alerts", filters(watchdog), shown.append)
            if not shown:
                report.result, report.error = Result.NO_WATCHDOG, "it does not show the watchdog"

    async def find(self, labels: Mapping[str, str], fingerprint: str) -> Mapping[str, Any] | None:
        """The alert as it is listed, by any route; None when it is not. NoAnswer."""
        found: list[Mapping[str, Any]] = []

        def keep(element: Any) -> None:
            if listed(element, {})[0] == fingerprint:
                found.append(element)

        await self._read("alerts", filters(labels), keep)
        return found[0] if found else None

    async def groups(self, receivers: Sequence[str], wanted: frozenset[str]) -> list[Member]:
        """Those alerts of its groups that are wanted, by fingerprint. NoAnswer."""
        found: list[Member] = []
        await self._read("alerts/groups", _to(receivers), lambda group: found.extend(members_of(group, wanted)))
        return found

    async def silences(self, wanted: frozenset[str]) -> dict[str, Silence]:
        """Those of these ids. NoAnswer."""
        found: dict[str, Silence] = {}

        def keep(element: Any) -> None:
            if isinstance(element, dict) and element.get("id") in wanted:
                texts = (one_line(str(element.get(name) or ""), 200) for name in ("comment", "createdBy", "endsAt"))
                found[element["id"]] = Silence(*texts)

        await self._read("silences", (), keep)
        return found

    async def _read(self, path: str, query: Sequence[tuple[str, str]], keep: Callable[[Any], None]) -> None:
        """Hand over each element of the JSON array at a path, with a rest between pieces."""
        elements, decoder, size = Elements(), codecs.getincrementaldecoder("utf-8")(), 0
        async with self._asked(path, query) as answer:
            try:
                async for piece in answer.content.iter_chunked(PIECE):
                    size += len(piece)
                    if size > self._cluster.max_body:
                        raise NoAnswer(Result.TOO_LARGE, f"the answer has more than {self._cluster.max_body} bytes")
                    if size > len(piece):
                        await self._clock.sleep(REST_SECONDS)
                    for element in elements.feed(decoder.decode(piece)):
                        keep(element)
                for element in elements.feed(decoder.decode(b"", final=True), last=True):
                    keep(element)
            except (Invalid, UnicodeDecodeError) as exc:
                why = str(exc) if isinstance(exc, Invalid) else "the answer is not UTF-8"
                raise NoAnswer(Result.INVALID, why) from exc

    @asynccontextmanager
    async def _asked(self, path: str, query: Sequence[tuple[str, str]]) -> AsyncIterator[aiohttp.ClientResponse]:
        """An answer of status 200; a 503 is tried again once."""
        url = self._base / "api/v2" / path
        try:
            async with asyncio.timeout(2 * self._cluster.timeout + RETRY_SECONDS):
                for last in (False, True):
                    async with self._session.get(
                        url.with_query(query) if query else url,
                        headers=self._cluster.request_headers(),
                        allow_redirects=False,
                        ssl=self._tls if self._tls is not None else True,
                        server_hostname=self._server_name,
                        proxy=self._cluster.proxy(url),
                        timeout=aiohttp.ClientTimeout(total=self._cluster.timeout),
                    ) as answer:
                        if answer.status == 200:
                            yield answer
                            return
                        if answer.status != 503 or last:
                            raise NoAnswer(Result.REFUSED, f"it answers {answer.status} at /api/v2/{path}")
                    await self._clock.sleep(RETRY_SECONDS)
                    self._waited += RETRY_SECONDS
        except aiohttp.ClientPayloadError as exc:
            raise NoAnswer(Result.INVALID, "the answer ends within") from exc
        except (aiohttp.ClientError, TimeoutError, OSError, EndpointProblem) as exc:
            raise NoAnswer(Result.UNREACHABLE, one_line(judge_failure(exc, sent=True).message, 200)) from exc

    @property
    def _server_name(self) -> str | None:
        if self._base.scheme != "https":
            return None
        dns = URL(self._cluster.dns).host if self._cluster.dns else None
        return self._cluster.server_name or dns


def _to(receivers: Sequence[str]) -> list[tuple[str, str]]:
    return [("receiver", "|".join(map(quoted, receivers)))] if receivers else []


def filters(labels: Mapping[str, str]) -> list[tuple[str, str]]:
    """Matchers for these labels. Names that older servers refuse, and what is too long for a URL, are left out."""
    query: list[tuple[str, str]] = []
    left = _LONGEST_FILTER
    for name, value in labels.items():
        text = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        if _CLASSIC.fullmatch(name) and len(text) + len(name) < left:
            left -= len(text) + len(name)
            query.append(("filter", f'{name}="{text}"'))
    return query

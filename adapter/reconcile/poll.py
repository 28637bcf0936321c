"""Asks all members of a cluster at once: a snapshot that may be believed, or why there is none."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Self

import aiohttp
from yarl import URL

from adapter.clock import Clock, Micros
from adapter.coc.client import allowed_socket
from adapter.coc.endpoint import EndpointProblem
from adapter.reconcile.cluster import Cluster
from adapter.reconcile.member import NoAnswer, Peer, Report
from adapter.reconcile.snapshot import Listed, Member, Result, Silence, union


class Poll(NamedTuple):
    """One poll of a cluster."""

    at: Micros
    steady: float  # monotonic seconds
    seconds: float  # that the slowest member took
    result: Result
    reports: Sequence[Report]
    listed: Mapping[str, Listed]  # the union, where the result is valid


class Poller:
    """The members of one cluster, and what they said of themselves at the last poll."""

    def __init__(self, cluster: Cluster, clock: Clock) -> None:
        self._cluster, self._clock = cluster, clock
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(socket_factory=allowed_socket), cookie_jar=aiohttp.DummyCookieJar()
        )
        self._tls: tuple[tuple[bytes, ...], ssl.SSLContext] | None = None
        self._last: dict[str, tuple[Micros, str]] = {}  # start and configuration, by address
        self._peers: list[Peer] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def poll(self, receivers: Sequence[str]) -> Poll:
        """One poll of every member; never raises but for a bug."""
        at, steady = self._clock.now(), self._clock.monotonic()
        try:
            self._peers = await self._connected()
        except NoAnswer as exc:
            report = Report(address=self._cluster.addresses[0], result=exc.result, error=str(exc))
            return Poll(at, steady, 0.0, exc.result, [report], {})
        reports = await asyncio.gather(*(peer.poll(receivers, len(self._peers)) for peer in self._peers))
        for report in reports:
            self._compare(report)
        worst = min((report.result for report in reports), key=list(Result).index)
        everything = union(report.listed for report in reports) if worst is Result.VALID else {}
        return Poll(at, steady, max(report.seconds for report in reports), worst, reports, everything)

    def _compare(self, report: Report) -> None:
        """A reload may have moved routes, and another process may not know what the one before knew."""
        if report.status is None:
            return
        now, before = (report.status.since, report.status.config), self._last.get(report.address)
        self._last[report.address] = now
        if report.result is Result.VALID and before not in (None, now):
            report.result, report.error = Result.RELOADED, "its configuration or its process is another than before"

    async def _connected(self) -> list[Peer]:
        """The members there are now, with secrets and certificates as they are now."""
        cluster = self._cluster
        await asyncio.to_thread(cluster.refresh)
        addresses = cluster.members or await self._resolved()
        tls: Any = None
        if any(address.startswith("https") for address in addresses):
            tls = await asyncio.to_thread(self._context)
        return [Peer(address, cluster, self._session, self._clock, tls) for address in addresses]

    def _context(self) -> ssl.SSLContext:
        files = self._cluster.tls_files()
        if self._tls is None or self._tls[0] != files:
            try:
                self._tls = files, self._cluster.tls_context()
            except EndpointProblem as exc:
                raise NoAnswer(Result.UNREACHABLE, str(exc)) from exc
        return self._tls[1]

    async def _resolved(self) -> tuple[str, ...]:
        url = URL(self._cluster.dns)
        assert url.host is not None
        try:
            async with asyncio.timeout(self._cluster.timeout):
                loop = asyncio.get_running_loop()
                found = await loop.getaddrinfo(url.host, url.port, type=socket.SOCK_STREAM)
        except (OSError, TimeoutError) as exc:
            why = getattr(exc, "strerror", None) or "no answer in time"
            raise NoAnswer(Result.UNREACHABLE, f"{url.host} cannot be resolved: {why}") from exc
        hosts = sorted({str(address[0]) for *_, address in found})
        if not hosts:
            raise NoAnswer(Result.UNREACHABLE, f"{url.host} has no address")
        return tuple(str(url.with_host(host)) for host in hosts)

    async def find(self, labels: Mapping[str, str], fingerprint: str) -> Mapping[str, Any] | None:
        """The alert as any member lists it, by any route. NoAnswer when one cannot say."""
        found = await asyncio.gather(*(peer.find(labels, fingerprint) for peer in self._peers), return_exceptions=True)
        for answer in found:
            if isinstance(answer, BaseException):
                raise answer
        elements = [answer for answer in found if isinstance(answer, dict)]
        active = [element for element in elements if element["status"]["state"] == "active"]
        return next(iter(active or elements), None)

    async def groups(self, receivers: Sequence[str], wanted: frozenset[str]) -> list[tuple[str, Member]]:
        """Of each member's groups the alerts that are wanted, with the member's address. NoAnswer."""
        found: list[tuple[str, Member]] = []
        for peer in self._peers:
            found += [(peer.address, member) for member in await peer.groups(receivers, wanted)]
        return found

    async def silences(self, wanted: frozenset[str]) -> dict[str, Silence]:
        """Those of these ids, as far as a member tells."""
        for peer in self._peers:
            try:
                return await peer.silences(wanted)
            except NoAnswer:
                continue
        return {}

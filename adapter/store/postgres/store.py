"""The contract on PostgreSQL, for several replicas at once. `docs/postgresql.md` says what it promises and needs."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from adapter.alarm import Kind, Pause
from adapter.alertmanager import Reject
from adapter.clock import Clock, Micros
from adapter.errors import StoreUnavailable
from adapter.logs import event
from adapter.store.contract import Claims, Intake, Receipt, Retention, Settled, Settlement
from adapter.store.last_seen import SeenLater
from adapter.store.postgres import intake as intaking
from adapter.store.postgres import queries
from adapter.store.postgres import replicas as replicas
from adapter.store.postgres import upkeep as upkeep
from adapter.store.postgres.claims import Lease, claim
from adapter.store.postgres.connection import CommitUnknown, Link, TryAgain, connect
from adapter.store.postgres.counts import RunningCounts
from adapter.store.postgres.migrations import migrate, migrations
from adapter.store.postgres.settle import settle
from adapter.store.views import AlarmQuery, AlarmRow, Counts, RejectRow, ReportRow

LEASE_SECONDS: Final = 25.0  # 2 x the default timeout + 5
CLOSE_SECONDS: Final = 10.0
_TRIES: Final = 3  # of a transaction that met another one

T = TypeVar("T")

logger = logging.getLogger(__name__)


async def open_postgres(
    dsn: str,
    *,
    backlog: int,
    clock: Clock,
    on_commit: Callable[[float], None] = lambda seconds: None,
    lease: float = LEASE_SECONDS,
    replica: str = "",
) -> PostgresStore:
    """Connect, migrate and say hello. StoreRefused: not with this database; StoreUnavailable: not now.

    `lease`: seconds for which a claim is this replica's, by the server's clock: 2 x COC's timeout + 5. `replica`: a
    name that no other running replica has; host and process id unless given.
    """
    link = await connect(dsn, clock=clock, on_commit=on_commit)
    try:
        await migrate(link, migrations())
        store = PostgresStore(link, dsn, backlog=backlog, clock=clock, lease=lease, replica=replica)
        await store.heartbeat("")
        await store.counts()
    except BaseException:
        await link.close()
        raise
    return store


class PostgresStore:
    """A Store that several processes share."""

    def __init__(self, link: Link, dsn: str, *, backlog: int, clock: Clock, lease: float, replica: str) -> None:
        self.replica = replica or f"{socket.gethostname()}-{os.getpid()}"
        self._link = link
        self._place = _place(dsn)
        self._backlog = backlog
        self._clock = clock
        self._lease = lease
        self._seen = SeenLater()
        self._counts = RunningCounts()
        self._unsure: set[tuple[int, int]] = set()  # settlements whose commit was not confirmed
        self._revision = ""
        self._surroundings = replicas.Surroundings()
        self._closed = False
        self._calls = 0  # under way
        self._idle = asyncio.Event()
        self._idle.set()

    # intake

    async def accept(self, intake: Intake) -> Receipt:
        taken = await self._call(lambda: intaking.accept(self._link, intake, self._backlog, self._counts))
        self._seen.add(taken.seen)
        return taken.receipt

    async def reject(self, integration: str, received: Micros, rejects: Sequence[Reject]) -> None:
        await self._call(lambda: intaking.reject(self._link, integration, received, rejects))

    # delivery

    async def claim(self, integration: str, limit: int, *, ignore_delay: bool = False) -> Claims:
        # Taken before the lease begins; sending starts in the first half of it, so that COC's timeout ends inside.
        send_before = self._clock.monotonic() + self._lease / 2
        lease = Lease(self.replica, self._lease, send_before)
        return await self._call(lambda: claim(self._link, integration, limit, lease, ignore_delay=ignore_delay))

    async def settle(self, settlements: Sequence[Settlement]) -> list[Settled]:
        mine = {(settlement.claim.report.seq, settlement.claim.token) for settlement in settlements}
        try:
            settled = await self._call(lambda: settle(self._link, settlements, self._unsure, self._counts))
        except CommitUnknown:
            self._unsure |= mine
            raise
        self._unsure -= mine
        return settled

    async def pauses(self) -> dict[str, Pause]:
        return await self._call(lambda: upkeep.pauses(self._link))

    async def set_pause(self, integration: str, pause: Pause | None, *, automatic: bool = False) -> Pause | None:
        return await self._call(lambda: upkeep.set_pause(self._link, integration, pause, automatic=automatic))

    # views

    async def counts(self) -> dict[str, Counts]:
        return await self._call(lambda: self._counts.refresh(self._link))

    async def alarms(self, query: AlarmQuery) -> list[AlarmRow]:
        return self._seen.shown(await self._call(lambda: queries.alarms(self._link, query)))

    async def trail(self, integration: str, fingerprint: str, limit: int = 50) -> list[ReportRow]:
        return await self._call(lambda: queries.trail(self._link, integration, fingerprint, limit))

    async def dead_letters(self, integration: str | None, after: int, limit: int) -> list[ReportRow]:
        return await self._call(lambda: queries.dead_letters(self._link, integration, after, limit))

    async def replay(self, seqs: Sequence[int], *, as_sent: bool) -> dict[int, tuple[Kind, ...]]:
        now = self._clock.now()
        return await self._call(lambda: queries.replay(self._link, seqs, as_sent=as_sent, now=now, counts=self._counts))

    async def discard(self, seqs: Sequence[int]) -> list[int]:
        return await self._call(lambda: queries.discard(self._link, seqs))

    async def rejects(self, after: int, limit: int) -> list[RejectRow]:
        return await self._call(lambda: queries.rejects(self._link, after, limit))

    # upkeep

    async def maintain(self, now: Micros, retention: Retention) -> None:
        await self._call(self._write_seen)
        await self._call(lambda: upkeep.prune(self._link, now, retention))

    async def probe(self) -> None:
        await self.heartbeat(self._revision)

    async def size(self) -> int:
        return await self._call(lambda: upkeep.size(self._link))

    async def heartbeat(self, revision: str) -> int:
        """Write that this replica lives and which mappings it uses; read the same of the others."""
        self._revision = revision
        before = self._surroundings.as_dict()["warnings"]
        self._surroundings = await self._call(lambda: replicas.beat(self._link, self.replica, revision))
        for warning in self._surroundings.as_dict()["warnings"]:
            if warning not in before:
                event(logger, logging.WARNING, "the database weakens the promise", detail=warning)
        return self._surroundings.live

    def describe(self) -> dict[str, Any]:
        place = {"backend": "postgresql", "place": self._place, "replica": self.replica, "shared": True}
        return place | self._surroundings.as_dict()

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._idle.wait()
        with suppress(StoreUnavailable):
            await self._write_seen()
            await replicas.leave(self._link, self.replica)
        await self._link.close()

    async def _call(self, step: Callable[[], Awaitable[T]]) -> T:
        """Promise 12; and once more when two transactions met in the wrong order, of which nothing was kept."""
        if self._closed:
            raise StoreUnavailable("the store is closed")
        self._calls += 1
        self._idle.clear()
        try:
            for _ in range(_TRIES - 1):
                with suppress(TryAgain):
                    return await step()
            return await step()
        finally:
            self._calls -= 1
            if not self._calls:
                self._idle.set()

    async def _write_seen(self) -> None:
        while taken := self._seen.take():
            written: set[int] = set()
            try:
                written = await upkeep.write_seen(self._link, taken)
            finally:
                busy = {alarm: tally for alarm, tally in taken.items() if alarm not in written}
                self._seen.put_back(busy)
            if busy:
                return


def _place(dsn: str) -> str:
    """The DSN without user, password and options."""
    parts = urlsplit(dsn)
    return f"postgresql://{parts.netloc.rpartition('@')[2]}{parts.path}"

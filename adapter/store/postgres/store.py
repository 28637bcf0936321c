"""The contract on PostgreSQL, for several replicas at once. `docs/postgresql.md` says what it promises and needs."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import Any

from adapter.clock import Clock
from adapter.errors import StoreUnavailable
from adapter.store.backlog import Backlog, Waiting
from adapter.store.last_seen import SeenLater
from adapter.store.postgres.claims import PostgresClaims
from adapter.store.postgres.connection import Database
from adapter.store.postgres.counts import RunningCounts
from adapter.store.postgres.directories import PostgresDirectories
from adapter.store.postgres.intake import PostgresIntake
from adapter.store.postgres.login import place_of
from adapter.store.postgres.migrations import migrate, migrations
from adapter.store.postgres.moving import PostgresMoving
from adapter.store.postgres.queries import PostgresQueries
from adapter.store.postgres.replicas import Replicas
from adapter.store.postgres.settle import PostgresSettlements
from adapter.store.postgres.tracking import PostgresTracking
from adapter.store.postgres.upkeep import PostgresUpkeep


async def open_postgres(
    dsn: str,
    *,
    backlog: int,
    clock: Clock,
    integrations: Collection[str] = (),
    on_commit: Callable[[float], None] = lambda seconds: None,
    lease: float = 25.0,
    replica: str = "",
    reread: Callable[[], str] | None = None,
) -> PostgresStore:
    """Connect, migrate and write the first heartbeat. StoreRefused: not with this database; StoreUnavailable: not now.

    `lease`: seconds for which a claim is this replica's, by the server's clock: 2 x COC's timeout + 5. `replica`: a
    name that no other running replica has; host and process id unless given. `reread`: reads the URL again.
    """
    database = await Database.connect(dsn, clock=clock, on_commit=on_commit, reread=reread)
    try:
        await migrate(database, migrations())
        shared = Backlog(backlog, frozenset(integrations))
        store = PostgresStore(database, dsn, backlog=shared, clock=clock, lease=lease, replica=replica)
        await store.heartbeat("")
        await store.counts()
    except BaseException:
        await database.close(cancel=True)  # or each attempt to start leaves a backend that waits for a standby
        raise
    return store


class PostgresStore:
    """A Store that several processes share. Each of its methods is in the module of its subject."""

    def __init__(
        self, database: Database, dsn: str, *, backlog: Backlog, clock: Clock, lease: float, replica: str
    ) -> None:
        self._database = database
        self._place = place_of(dsn)
        seen = SeenLater()
        counts = self._counts = RunningCounts(database)
        replicas = self._replicas = Replicas(database, replica or f"{socket.gethostname()}-{os.getpid()}")
        upkeep = self._upkeep = PostgresUpkeep(database, seen)
        intake = PostgresIntake(database, counts, seen, backlog)
        tracking = PostgresTracking(database, seen)
        queries = PostgresQueries(database, counts, seen, clock)

        self.accept, self.reject = intake.accept, intake.reject
        self.claim = PostgresClaims(database, clock, replicas, lease).claim
        self.settle = PostgresSettlements(database, counts).settle
        self.pauses, self.set_pause = replicas.pauses, replicas.set_pause
        self.counts = counts.refresh
        self.alarms, self.trail, self.rejects = queries.alarms, queries.trail, queries.rejects
        self.recent, self.reports = queries.recent, queries.reports
        self.recent_alarms, self.tallies = queries.recent_alarms, queries.tallies
        self.dead_letters, self.replay, self.discard = queries.dead_letters, queries.replay, queries.discard
        self.refusals = queries.refusals
        moving = PostgresMoving(database, counts, seen)
        self.held, self.discard_alarms, self.move_alarms = moving.held, moving.discard_alarms, moving.move_alarms
        self.tracked, self.known, self.unseen = tracking.tracked, tracking.known, tracking.unseen
        self.replica, self.lead = replicas.name, replicas.lead
        self.maintain, self.size = upkeep.maintain, upkeep.size
        directories = PostgresDirectories(database)
        self.directories_fetched, self.directory = directories.directories_fetched, directories.directory
        self.keep_directory = directories.keep_directory
        self.heartbeat, self.probe, self.deciding = replicas.heartbeat, replicas.probe, replicas.deciding
        self.log_in_by, self.login_refused = database.log_in_by, database.login_refused

    def silent(self, integration: str) -> bool:
        return self._replicas.silent(integration) and self._counts.waiting.get(integration, Waiting()).pending > 0

    def describe(self) -> dict[str, Any]:
        place = {"backend": "postgresql", "place": self._place, "replica": self._replicas.name, "shared": True}
        return place | self._replicas.surroundings

    async def close(self) -> None:
        with suppress(StoreUnavailable):
            await self._upkeep.write_seen()
            await self._replicas.leave()
        await self._database.close()

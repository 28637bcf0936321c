"""The contract on SQLite, for one process: one thread writes, with group commit, others read; claims are in memory.

Delays need no wall clock. The steady clock of a new process starts at the latest due time that the one before left, so
everything is due at once and keeps its order.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, Self

from adapter.clock import SECOND, Clock
from adapter.errors import StoreError
from adapter.store.backlog import Backlog
from adapter.store.last_seen import SeenLater
from adapter.store.sqlite.claims import SqliteClaims
from adapter.store.sqlite.database import DEFAULT, Database, Options
from adapter.store.sqlite.directories import SqliteDirectories
from adapter.store.sqlite.intake import SqliteIntake
from adapter.store.sqlite.moving import SqliteMoving
from adapter.store.sqlite.queries import SqliteQueries
from adapter.store.sqlite.reader import Reader
from adapter.store.sqlite.recovery import is_damage, set_aside
from adapter.store.sqlite.settle import SqliteSettlements
from adapter.store.sqlite.tracking import SqliteTracking
from adapter.store.sqlite.upkeep import SqliteUpkeep
from adapter.store.sqlite.writer import Writer


class SqliteStore:
    """A Store. Opened by `open`; every call from the loop it was opened in."""

    @classmethod
    async def open(
        cls,
        path: Path,
        *,
        backlog: int,
        clock: Clock,
        integrations: Collection[str] = (),
        on_commit: Callable[[float], None] = lambda seconds: None,
        max_bytes: int | None = None,
        options: Options = DEFAULT,
    ) -> Self:
        """StoreRefused when the store cannot be opened safely."""
        database = Database(path, max_bytes=max_bytes, options=options)
        try:
            connection = await asyncio.to_thread(database.start)
        except BaseException:
            database.close()
            raise
        shared = Backlog(backlog, frozenset(integrations))
        return cls(database, connection, backlog=shared, clock=clock, on_commit=on_commit)

    def __init__(
        self,
        database: Database,
        connection: sqlite3.Connection,
        *,
        backlog: Backlog,
        clock: Clock,
        on_commit: Callable[[float], None],
    ) -> None:
        self._database = database
        self._clock = clock
        self._tick_offset = database.left.latest_due - int(clock.monotonic() * SECOND)
        self._closed = False
        self._free_bytes: int | None = None

        def committed(seconds: float) -> None:
            database.committed()
            on_commit(seconds)

        writer = self._writer = Writer(
            database.writer,
            connection=connection,
            on_commit=committed,
            on_failure=database.failed,
            between=database.after_commit,
        )
        self._claim_reader = Reader("store-claim", database, self._reading_failed)
        self._audit_reader = Reader("store-audit", database, self._reading_failed)
        seen = SeenLater()
        self._claims = SqliteClaims(self._claim_reader, writer, self._tick, database.left.maybe_sent_upto)
        intake = SqliteIntake(writer, self._claims, database.reserve, database.check_place, seen, self._tick, backlog)
        queries = SqliteQueries(writer, self._audit_reader, database.check_place, seen, clock, self._tick)
        tracking = SqliteTracking(self._audit_reader, seen)
        upkeep = self._upkeep = SqliteUpkeep(writer, seen, database.check_place)
        directories = SqliteDirectories(writer, self._audit_reader, database.check_place)

        self.accept, self.reject = intake.accept, intake.reject
        self.claim = self._claims.claim
        self.settle = SqliteSettlements(writer, self._claims, database.reserve, self._tick).settle
        self.pauses, self.set_pause = queries.pauses, queries.set_pause
        self.counts, self.alarms, self.trail = queries.counts, queries.alarms, queries.trail
        self.recent, self.reports = queries.recent, queries.reports
        self.recent_alarms, self.tallies = queries.recent_alarms, queries.tallies
        self.rejects, self.dead_letters, self.refusals = queries.rejects, queries.dead_letters, queries.refusals
        self.replay, self.discard = queries.replay, queries.discard
        moving = SqliteMoving(writer, self._audit_reader, self._claims, database.check_place, seen, self._tick)
        self.held, self.discard_alarms, self.move_alarms = moving.held, moving.discard_alarms, moving.move_alarms
        self.tracked, self.known, self.unseen = tracking.tracked, tracking.known, tracking.unseen
        self.maintain, self.probe = upkeep.maintain, upkeep.probe
        self.directories_fetched, self.directory = directories.directories_fetched, directories.directory
        self.keep_directory = directories.keep_directory

    def _reading_failed(self, error: sqlite3.Error, generation: int) -> None:
        """In a reader's thread. Damage is handed to the writer, which recovers the file unless it has done so."""

        def fail(connection: sqlite3.Connection) -> None:
            if generation == self._database.generation:
                raise error

        if is_damage(error):
            self._writer.submit(fail)

    def _tick(self) -> int:
        """Steady microseconds, comparable with alarm.due_at."""
        return self._tick_offset + int(self._clock.monotonic() * SECOND)

    async def size(self) -> int:
        self._free_bytes = await self._audit_reader.call(self._database.reserve.left)
        return self._database.bytes_on_disk()

    def describe(self) -> dict[str, Any]:
        return {
            "backend": "sqlite",
            "place": str(self._database.path),
            "version": sqlite3.sqlite_version,
            "free_bytes": self._free_bytes,
            "recovered": set_aside(self._database.path),
            "warnings": self._database.warnings(),
        }

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        with contextlib.suppress(StoreError):  # only when alerts were last seen; nothing that was promised
            await self._upkeep.write_seen()
        # The readers first: the connection that closes last empties the log, and only the writer may.
        await self._claim_reader.close()
        await self._audit_reader.close()
        await self._claims.end()
        await self._writer.close()
        self._database.close()

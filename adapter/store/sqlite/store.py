"""The store for one process: SQLite with one writing thread, group commit, and claims kept in memory.

Since the folder is locked, nobody else can claim: a claim is an entry in a dict, not a row. What was claimed at a
crash is therefore due again at the next start, and due times need no wall clock: the steady clock of a new process
starts at the latest due time of the one before, which makes everything due at once and keeps the order of the line.
Since it may also have been sent, what waited at a crash is in doubt (`sqlite_serving`).
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Self, TypeVar

from adapter.alarm import Kind, Pause
from adapter.alertmanager import Reject
from adapter.clock import SECOND, Clock, Micros
from adapter.errors import StoreError, StoreUnavailable
from adapter.store.contract import Claims, Intake, Receipt, Retention, Settled, Settlement
from adapter.store.last_seen import SeenLater
from adapter.store.sqlite import claims, files, queries, upkeep
from adapter.store.sqlite import intake as sqlite_intake
from adapter.store.sqlite import settle as sqlite_settle
from adapter.store.sqlite.inflight import InFlight
from adapter.store.sqlite.reader import Reader
from adapter.store.sqlite.recovery import is_damage
from adapter.store.sqlite.start import DEFAULT, Options, Start, start
from adapter.store.sqlite.writer import Writer
from adapter.store.views import AlarmQuery, AlarmRow, Counts, RejectRow, ReportRow

T = TypeVar("T")

_NEVER = 2**62  # later than any due time


class SqliteStore:
    """A Store. Opened by `open`; every call from the loop it was opened in."""

    def __init__(
        self, path: Path, start: Start, *, backlog: int, clock: Clock, on_commit: Callable[[float], None]
    ) -> None:
        self._path = path
        self._keeper = keeper = start.keeper
        self._lock = start.lock
        self._bound = backlog
        self._clock = clock
        self._tick_offset = start.last_due - int(clock.monotonic() * SECOND)
        self._in_flight = InFlight(start.maybe_sent_upto)
        self._seen = SeenLater()
        self._closed = False
        self._free_bytes: int | None = None
        self._writer = Writer(
            keeper.writer, connection=start.connection, on_commit=on_commit, on_failure=keeper.failed, tend=keeper.tend
        )
        self._claims, self._audit = self._reader("store-claim"), self._reader("store-audit")

    def _reader(self, name: str) -> Reader:
        return Reader(
            name, self._keeper.reader, generation=lambda: self._keeper.generation, on_failure=self._reading_failed
        )

    @classmethod
    async def open(
        cls,
        path: Path,
        *,
        backlog: int,
        clock: Clock,
        on_commit: Callable[[float], None] = lambda seconds: None,
        max_bytes: int | None = None,
        options: Options = DEFAULT,
    ) -> Self:
        """StoreRefused when the store cannot be opened safely."""
        started = await start(path, max_bytes, options)
        return cls(path, started, backlog=backlog, clock=clock, on_commit=on_commit)

    def _tick(self) -> int:
        """Steady microseconds, comparable with alarm.due_at."""
        return self._tick_offset + int(self._clock.monotonic() * SECOND)

    # intake

    async def accept(self, intake: Intake) -> Receipt:
        tick = self._tick()
        return await self._writer.call(
            lambda db: sqlite_intake.accept(
                db,
                intake,
                bound=self._bound,
                tick=tick,
                busy=self._in_flight.reports,
                maybe_sent_upto=self._in_flight.maybe_sent_upto,
                reserve=self._keeper.reserve,
            ),
            self._accepted,
        )

    def _accepted(self, taken: sqlite_intake.AcceptResult) -> Receipt:
        self._seen.add(taken.seen)
        return taken.receipt

    async def reject(self, integration: str, received: Micros, rejects: Sequence[Reject]) -> None:
        await self._write(lambda db: sqlite_intake.write_rejects(db, integration, received, rejects))

    # delivery

    async def claim(self, integration: str, limit: int, *, ignore_delay: bool = False) -> Claims:
        self._check_open()
        async with self._in_flight.claiming(self._writer):
            busy, tick = self._in_flight.alarms(), _NEVER if ignore_delay else self._tick()
            due = await self._claims.call(lambda db: claims.due(db, integration, limit, tick=tick, busy=busy))
            self._in_flight.take(due)
        next_due = None if due.next_due is None else max(0.0, (due.next_due - self._tick()) / SECOND)
        return Claims(claims=tuple(due.claims), next_due=next_due)

    async def settle(self, settlements: Sequence[Settlement]) -> list[Settled]:
        tick = self._tick()

        def settled(results: list[Settled]) -> list[Settled]:
            self._in_flight.leave(settlements)
            return results

        return await self._writer.call(
            lambda db: sqlite_settle.settle(db, settlements, tick=tick, reserve=self._keeper.reserve), settled
        )

    async def pauses(self) -> dict[str, Pause]:
        return await self._read(queries.pauses)

    async def set_pause(self, integration: str, pause: Pause | None, *, automatic: bool = False) -> Pause | None:
        def change(db: sqlite3.Connection) -> Pause | None:
            sqlite_settle.set_pause(db, integration, pause, automatic=automatic)
            return queries.pauses(db).get(integration)

        return await self._write(change)

    # views

    async def counts(self) -> dict[str, Counts]:
        return await self._read(queries.counts)

    async def alarms(self, query: AlarmQuery) -> list[AlarmRow]:
        return self._seen.shown(await self._read(lambda db: queries.alarms(db, query)))

    async def trail(self, integration: str, fingerprint: str, limit: int = 50) -> list[ReportRow]:
        return await self._read(lambda db: queries.trail(db, integration, fingerprint, limit, self._tick()))

    async def dead_letters(self, integration: str | None, after: int, limit: int) -> list[ReportRow]:
        return await self._read(lambda db: queries.dead_letters(db, integration, after, limit, self._tick()))

    async def replay(self, seqs: Sequence[int], *, as_sent: bool) -> dict[int, tuple[Kind, ...]]:
        now, tick = self._clock.now(), self._tick()
        return await self._write(lambda db: sqlite_settle.replay(db, seqs, as_sent=as_sent, now=now, tick=tick))

    async def discard(self, seqs: Sequence[int]) -> list[int]:
        return await self._write(lambda db: sqlite_settle.discard(db, seqs))

    async def rejects(self, after: int, limit: int) -> list[RejectRow]:
        return await self._read(lambda db: queries.rejects(db, after, limit))

    # upkeep

    async def maintain(self, now: Micros, retention: Retention) -> None:
        await self._flush_seen()
        for prune in upkeep.prunings(now, retention):
            more = True
            while more:
                more = await self._write(prune)
        await self._write(upkeep.probe)

    async def _flush_seen(self) -> None:
        while batch := self._seen.take():
            try:
                await self._write(partial(upkeep.write_seen, seen=batch))
            except StoreError:
                self._seen.put_back(batch)
                raise

    def _reading_failed(self, error: sqlite3.Error, generation: int) -> None:
        """In a reader's thread. Damage is handed to the writer, which recovers the file unless it has done so."""

        def fail(connection: sqlite3.Connection) -> None:
            if generation == self._keeper.generation:
                raise error

        if is_damage(error):
            self._writer.submit(fail)

    async def probe(self) -> None:
        await self._write(upkeep.probe)

    async def size(self) -> int:
        self._free_bytes = await self._read(self._keeper.reserve.left)
        return files.bytes_on_disk(self._path)

    def describe(self) -> dict[str, Any]:
        return {
            "backend": "sqlite",
            "place": str(self._path),
            "version": sqlite3.sqlite_version,
            "free_bytes": self._free_bytes,
            "recovered": self._keeper.put_aside(),
            "warnings": self._keeper.warnings(),
        }

    async def close(self) -> None:
        if self._closed:
            return
        with contextlib.suppress(StoreError):  # only when alerts were last seen; nothing that was promised
            await self._flush_seen()
        self._closed = True
        # The readers first: the connection that closes last empties the log, and only the writer may.
        await self._claims.close()
        await self._audit.close()
        await self._in_flight.end(self._writer)
        await self._writer.close()
        os.close(self._lock)

    async def _read(self, read: Callable[[sqlite3.Connection], T]) -> T:
        self._check_open()
        return await self._audit.call(read)

    async def _write(self, write: Callable[[sqlite3.Connection], T]) -> T:
        return await self._writer.call(write, lambda result: result)

    def _check_open(self) -> None:
        if self._closed:
            raise StoreUnavailable("the store is closed")

"""`store copy`: everything of one store into another, empty one, in one transaction, while no adapter serves either.

The schemas have equal names, so rows travel by column. What an engine derives from other columns (queues, sums, keys,
leases, checksums) does not travel; the target derives its own, and all that waits is due at once there. That a report
may have been sent travels as `maybe_sent_episode` of its alarm, however the source knows it.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, Self
from zlib import crc32

from adapter.alarm import Alarm
from adapter.clock import Clock
from adapter.errors import StoreRefused
from adapter.store import needs_asyncpg
from adapter.store.records import Row
from adapter.store.sqlite.claims import left
from adapter.store.sqlite.database import connect_writer, migrate
from adapter.store.sqlite.disk import lock, prepare
from adapter.store.sqlite.recovery import checksum, recount

if TYPE_CHECKING:
    from adapter.store.postgres.connection import Connection

PAGE: Final = 500  # rows held in memory at a time

_COLUMNS: Final = {
    "pause": ("integration", "reason", "since", "asked_by", "detail"),
    "webhook": ("id", "integration", "received", "receiver", "group_key", "external_url", "alerts", "owed", "truncated",
                "size"),
    "alarm": ("id", "integration", *Alarm._fields, "labels", "first_seen", "last_seen", "repeats", "stale",
              "accepted_body", "accepted_status", "accepted_at", "earlier_episode", "earlier_outcome",
              "maybe_sent_episode"),
    "report": ("seq", "integration", "alarm", "episode", "kind", "coc_alarm_id", "raw", "received", "webhook",
               "attempts", "refused", "body", "outcome", "handled", "done", "attempt_log", "provenance",
               "provenance_body"),
    "reject": ("id", "integration", "received", "reason", "head"),
}  # fmt: skip
_KEYS: Final = {"webhook": "id", "alarm": "id", "report": "seq", "reject": "id"}
_ALERT_TEXT: Final = {"fingerprint", "labels", "receiver", "group_key", "external_url", "reason"}
"""Columns that are bytea in PostgreSQL; `reason` of a reject only."""
_COUNT: Final = """
SELECT (SELECT count(*) FROM alarm) AS alarms, (SELECT count(*) FROM report) AS reports,
       (SELECT count(*) FROM report WHERE outcome IS NULL) AS pending,
       (SELECT count(*) FROM report WHERE outcome = 'dead' AND handled IS NULL) AS dead,
       (SELECT count(*) FROM webhook) AS webhooks, (SELECT count(*) FROM reject) AS rejects,
       (SELECT count(*) FROM pause) AS pauses
"""

_LOCK_TABLES: Final = (
    "SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0;"
    " LOCK TABLE alarm, report, webhook, reject, pause IN EXCLUSIVE MODE"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Copied:
    """How many rows of each kind there are."""

    alarms: int
    reports: int
    pending: int  # of the reports
    dead: int  # of the reports: dead letters that wait for a person
    webhooks: int
    rejects: int
    pauses: int


class End(Protocol):
    """One store, locked so that nobody else serves or changes it. `finish` commits what was inserted."""

    maybe_sent_episode: str
    """The SQL expression for it."""
    checksums: Mapping[str, tuple[str, ...]]
    """Columns that `is_sound` needs besides, by table."""

    async def fetch(self, statement: str) -> Sequence[Row]: ...

    def is_sound(self, table: str, row: Row) -> bool:
        """Whether the row's checksum matches."""
        ...

    async def insert(self, table: str, rows: Sequence[dict[str, Any]]) -> None: ...

    async def last_ids(self) -> dict[str, int]:
        """The last id given out, by table."""
        ...

    async def finish(self, last_ids: Mapping[str, int]) -> None:
        """Derive queues and sums, continue with these ids, commit."""
        ...


async def copy_store(source_url: str, target_url: str, clock: Clock) -> Copied:
    """StoreRefused when the source is being served, the target is not empty, or not everything arrived."""
    if source_url == target_url:
        raise StoreRefused("the source and the target are the same store")
    async with _locked(source_url, clock, "source") as source, _locked(target_url, clock, "target") as target:
        if await _counts(target) != Copied(alarms=0, reports=0, pending=0, dead=0, webhooks=0, rejects=0, pauses=0):
            raise StoreRefused("the target is not empty: give an empty database or a path where there is none yet")
        for table in _COLUMNS:
            async for rows in _pages(source, table):
                await target.insert(table, rows)
        before, after = await _counts(source), await _counts(target)
        if before != after:
            raise StoreRefused(f"not everything arrived, nothing was kept: {before} became {after}")
        await target.finish(await source.last_ids())
        return after


def _locked(url: str, clock: Clock, role: str) -> AbstractAsyncContextManager[End]:
    scheme, _, rest = url.partition(":")
    if scheme == "sqlite" and rest:
        path = Path(rest)
        if role == "source" and not path.exists():
            raise StoreRefused(f"the source {path} does not exist")
        return _SqliteEnd.locked(path)
    if scheme in ("postgresql", "postgres"):
        return _PostgresEnd.locked(url, clock, role)
    raise StoreRefused(f"no store is called {scheme}:...; use sqlite:PATH or postgresql://...")


async def _counts(end: End) -> Copied:
    row = (await end.fetch(_COUNT))[0]
    return Copied(**{field.name: row[field.name] for field in fields(Copied)})


async def _pages(source: End, table: str) -> AsyncIterator[list[dict[str, Any]]]:
    """All rows in the order of their ids."""
    key = _KEYS.get(table)
    expressions = {"maybe_sent_episode": f"{source.maybe_sent_episode} AS maybe_sent_episode"}
    columns = [expressions.get(name, name) for name in _COLUMNS[table]]
    select = f"SELECT {', '.join([*columns, *source.checksums.get(table, ())])} FROM {table}"  # noqa: S608
    statement = f"{select} WHERE {key} > {{}} ORDER BY {key} LIMIT {PAGE}" if key else select
    last = -1
    while page := await source.fetch(statement.format(last)):
        if not all(source.is_sound(table, row) for row in page):
            raise StoreRefused("a row of the source is damaged; start the adapter on it once to repair it")
        yield [_neutral(table, row) for row in page]
        if key is None:
            return
        last = page[-1][key]


def _neutral(table: str, row: Row) -> dict[str, Any]:
    """A row as both engines take it: the text of alerts as str, `done` never NULL."""
    found = {name: row[name] for name in _COLUMNS[table]}
    for name in _ALERT_TEXT & found.keys():
        if isinstance(found[name], bytes):
            found[name] = found[name].decode()
    if table == "report":
        found |= {"done": found["done"] or 0, "refused": bool(found["refused"])}
    return found


class _SqliteEnd:
    """Holds the folder's lock."""

    checksums: Mapping[str, tuple[str, ...]] = {"alarm": ("accepted_crc",), "report": ("crc",)}

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        head = f"SELECT episode FROM report WHERE seq = head AND seq <= {left(connection).maybe_sent_upto}"  # noqa: S608
        self.maybe_sent_episode = f"coalesce(({head}), maybe_sent_episode)"

    @classmethod
    @asynccontextmanager
    async def locked(cls, path: Path) -> AsyncIterator[Self]:
        prepare(path)
        descriptor = lock(path)
        try:
            connection = connect_writer(path)
            try:
                migrate(connection, path)
                connection.execute("BEGIN IMMEDIATE")
                yield cls(connection)
            finally:
                if connection.in_transaction:
                    connection.rollback()
                connection.close()
        except sqlite3.Error as exc:
            raise StoreRefused(f"{path} cannot be copied: {exc}; start the adapter on it once to repair it") from exc
        finally:
            os.close(descriptor)

    async def fetch(self, statement: str) -> Sequence[Row]:
        await asyncio.sleep(0)
        return self._connection.execute(statement).fetchall()

    def is_sound(self, table: str, row: Row) -> bool:
        return all(row[name] == value for name, value in self._checksums(table, row).items())

    async def insert(self, table: str, rows: Sequence[dict[str, Any]]) -> None:
        own = {"due_at": 0} if table == "alarm" else {}
        complete = [row | own | self._checksums(table, row) for row in rows]
        names, marks = ", ".join(complete[0]), ", ".join(f":{name}" for name in complete[0])
        self._connection.executemany(f"INSERT INTO {table} ({names}) VALUES ({marks})", complete)  # noqa: S608

    @staticmethod
    def _checksums(table: str, row: Row) -> dict[str, int | None]:
        if table == "alarm":
            body = row["accepted_body"]
            return {"accepted_crc": None if body is None else crc32(body)}
        return {"crc": checksum(row["raw"], row["body"])} if table == "report" else {}

    async def last_ids(self) -> dict[str, int]:
        return dict(self._connection.execute("SELECT webhook, alarm, seq AS report, reject FROM counter").fetchone())

    async def finish(self, last_ids: Mapping[str, int]) -> None:
        self._connection.execute(
            "UPDATE counter SET webhook = :webhook, alarm = :alarm, seq = :report, reject = :reject", last_ids
        )
        recount(self._connection)
        self._connection.commit()


class _PostgresEnd:
    """Holds table locks; refused while a replica lives."""

    checksums: Mapping[str, tuple[str, ...]] = {}
    # A lease that was never given back does not travel; that its report may have been sent does.
    maybe_sent_episode = """CASE WHEN lease_until IS NULL THEN maybe_sent_episode ELSE (
        SELECT episode FROM report WHERE alarm = alarm.id AND outcome IS NULL ORDER BY seq LIMIT 1) END"""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @classmethod
    @asynccontextmanager
    async def locked(cls, dsn: str, clock: Clock, role: str) -> AsyncIterator[Self]:
        with needs_asyncpg():
            from adapter.store.postgres.connection import Database
        from adapter.store.postgres.migrations import migrate, migrations
        from adapter.store.postgres.replicas import users

        database = await Database.connect(dsn, clock=clock)
        try:
            await migrate(database, migrations())
            async with database.write() as connection:
                if busy := await users(database):
                    raise StoreRefused(f"the {role} is being served: {', '.join(busy)}; stop the adapter first")
                await connection.execute(_LOCK_TABLES)
                yield cls(connection)
        finally:
            await database.close()

    async def fetch(self, statement: str) -> Sequence[Row]:
        return await self._connection.fetch(statement)

    def is_sound(self, table: str, row: Row) -> bool:
        return True

    async def insert(self, table: str, rows: Sequence[dict[str, Any]]) -> None:
        from adapter.store.postgres.connection import SCHEMA

        now = await self._connection.fetchval("SELECT now()")
        complete = [self._own(table, row, now) for row in rows]
        await self._connection.copy_records_to_table(
            table, records=[tuple(row.values()) for row in complete], columns=list(complete[0]), schema_name=SCHEMA
        )

    @staticmethod
    def _own(table: str, row: dict[str, Any], now: Any) -> dict[str, Any]:
        from adapter.store.postgres.intake import key_of
        from adapter.store.postgres.replicas import storable

        if table == "pause":
            return row | {name: storable(row[name]) for name in ("asked_by", "detail")}
        own = {name: row[name].encode(errors="replace") for name in _ALERT_TEXT & row.keys()}
        if table == "alarm":
            own |= {"key": key_of(row["fingerprint"]), "due": now if row["pending"] else None}
        return row | own

    async def last_ids(self) -> dict[str, int]:
        found = {}
        for table in _KEYS:
            sequence = await self._connection.fetchval(_sequence(table))
            row = await self._connection.fetchrow(f"SELECT last_value, is_called FROM {sequence}")  # noqa: S608
            assert row is not None
            found[table] = int(row["last_value"]) if row["is_called"] else 0
        return found

    async def finish(self, last_ids: Mapping[str, int]) -> None:
        for table, last in last_ids.items():
            if last:
                sequence = await self._connection.fetchval(_sequence(table))
                await self._connection.execute("SELECT setval($1::text::regclass, $2)", sequence, last)


def _sequence(table: str) -> str:
    return f"SELECT pg_get_serial_sequence('{table}', '{_KEYS[table]}')"

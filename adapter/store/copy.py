"""`store copy`: everything of one store into another, empty one, in one transaction, while no adapter serves either.

The schemas have equal names, so rows travel by column. What an engine derives from other columns (queues, sums, keys,
leases, checksums, the last ids) does not travel; the target derives its own, and all that waits is due at once there.
That a report may have been sent travels as `maybe_sent_episode` of its alarm, however the source knows it.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, Self

from adapter.alarm import Alarm
from adapter.clock import Clock
from adapter.errors import StoreRefused
from adapter.store import needs_asyncpg
from adapter.store.records import Row
from adapter.store.sqlite.database import connect_writer, left, migrate
from adapter.store.sqlite.disk import StoreLock, identity, prepare, real
from adapter.store.sqlite.recovery import checksum, recount
from adapter.store.url import POSTGRES, store_problem

if TYPE_CHECKING:
    from adapter.store.postgres.connection import Connection

PAGE: Final = 500  # rows held in memory at a time

_COLUMNS: Final = {
    "pause": ("integration", "reason", "since", "asked_by", "detail"),
    "webhook": ("id", "integration", "received", "receiver", "group_key", "external_url", "alerts", "owed", "truncated",
                "size"),
    "alarm": ("id", "integration", *Alarm._fields, "labels", "first_seen", "last_seen", "repeats", "stale",
              "accepted_body", "accepted_status", "accepted_at", "accepted_episode", "earlier_episode",
              "earlier_outcome", "maybe_sent_episode", "fell_back", "conflicts"),
    "report": ("seq", "integration", "alarm", "episode", "kind", "coc_alarm_id", "raw", "received", "webhook",
               "attempts", "refused", "body", "outcome", "handled", "done", "attempt_log", "provenance",
               "provenance_body"),
    "reject": ("id", "integration", "received", "reason", "head"),
    "directory": ("integration", "fetched", "nodes"),
}  # fmt: skip
_KEYS: Final = {"webhook": "id", "alarm": "id", "report": "seq", "reject": "id"}
_ALERT_TEXT: Final = {"fingerprint", "labels", "origin", "receiver", "group_key", "external_url", "reason"}
"""Columns that are bytea in PostgreSQL; `reason` of a reject only."""
_COUNT: Final = """
-- pending are those of the reports, dead those of them that wait for a person
SELECT (SELECT count(*) FROM alarm) AS alarms, (SELECT count(*) FROM report) AS reports,
       (SELECT count(*) FROM report WHERE outcome IS NULL) AS pending,
       (SELECT count(*) FROM report WHERE outcome = 'dead' AND handled IS NULL) AS dead,
       (SELECT count(*) FROM webhook) AS webhooks, (SELECT count(*) FROM reject) AS rejects,
       (SELECT count(*) FROM pause) AS pauses
"""

_HEADER: Final = b"SQLite format 3\0"  # https://www.sqlite.org/fileformat2.html#magic_header_string
_SERVER: Final = "SELECT pg_postmaster_start_time(), inet_server_port(), current_database()"
_DAMAGED: Final = """
SELECT 1 FROM report WHERE crc IS NOT checksum(raw, body)
UNION ALL SELECT 1 FROM alarm WHERE accepted_crc IS NOT checksum(accepted_body, NULL) LIMIT 1
"""
_LOCK_TABLES: Final = (
    "SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0;"
    " LOCK TABLE alarm, report, webhook, reject, pause, directory IN EXCLUSIVE MODE"
)
# A report can be older than the webhooks that are kept, and its webhook's id must not be given out again.
_SET_LAST_IDS: Final = """
SELECT setval(pg_get_serial_sequence('alarm', 'id'), max(id)) FROM alarm;
SELECT setval(pg_get_serial_sequence('report', 'seq'), max(seq)) FROM report;
SELECT setval(pg_get_serial_sequence('reject', 'id'), max(id)) FROM reject;
SELECT setval(pg_get_serial_sequence('webhook', 'id'),
              nullif(greatest((SELECT max(id) FROM webhook), (SELECT max(webhook) FROM report)), 0));
"""


class End(Protocol):
    """One store, locked so that no process serves or changes it."""

    expressions: Mapping[str, str]
    """SQL for columns that are not read as they stand."""

    async def fetch(self, statement: str) -> Sequence[Row]: ...

    async def insert(self, table: str, rows: Sequence[dict[str, Any]]) -> None: ...

    async def finish(self) -> None:
        """Derive queues, sums and the last ids; commit."""
        ...


async def copy_store(source_url: str, target_url: str, clock: Clock) -> dict[str, int]:
    """How many rows of each kind were copied.

    StoreRefused when the source is being served, the target is not empty, or not everything arrived.
    """
    for url in (source_url, target_url):
        if problem := store_problem(url):
            raise StoreRefused(problem)
    if await _place(source_url, clock, "source") == await _place(target_url, clock, "target"):
        name = "" if source_url == target_url else ", by another name or a link"
        raise StoreRefused(f"the source and the target are the same store{name}")
    async with _locked(source_url, clock, "source") as source, _locked(target_url, clock, "target") as target:
        if any((await _counts(target)).values()):
            raise StoreRefused("the target is not empty: give an empty database or a path where there is none yet")
        await target.fetch("DELETE FROM directory")  # an adapter that never saw an alert may have fetched one
        for table in _COLUMNS:
            async for rows in _pages(source, table):
                await target.insert(table, rows)
        before, after = await _counts(source), await _counts(target)
        if before != after:
            raise StoreRefused(f"not everything arrived, nothing was kept: {before} became {after}")
        await target.finish()
        return after


async def _place(url: str, clock: Clock, role: str) -> object:
    """Equal for two names of one store. StoreRefused when there is what can be none."""
    scheme, _, rest = url.partition(":")
    if scheme == "sqlite":
        return _file(real(Path(rest)), role)
    if scheme in POSTGRES:
        with needs_asyncpg():
            from adapter.store.postgres.connection import Database
        database = await Database.connect(url, clock=clock)
        try:
            async with database.read() as connection:
                return tuple((await connection.fetch(_SERVER))[0])
        finally:
            await database.close()
    return url


def _file(path: Path, role: str) -> object:
    if not path.exists():
        if role == "source":
            raise StoreRefused(f"the source {path} does not exist")
        return os.path.realpath(path)
    if not path.is_file():
        raise StoreRefused(f"the {role} {path} is not a regular file")
    with path.open("rb") as file:
        head = file.read(len(_HEADER))
    if head not in (b"", _HEADER):
        raise StoreRefused(f"the {role} {path} is a file of another kind, not a store; nothing was changed")
    return identity(path.stat())


def _locked(url: str, clock: Clock, role: str) -> AbstractAsyncContextManager[End]:
    scheme, _, rest = url.partition(":")
    if scheme == "sqlite":
        return _SqliteEnd.locked(Path(rest))
    if scheme in POSTGRES:
        return _PostgresEnd.locked(url, clock, role)
    raise StoreRefused("a store in memory cannot be copied; use sqlite:PATH or postgresql://...")


async def _counts(end: End) -> dict[str, int]:
    (row,) = await end.fetch(_COUNT)
    return dict(row)


async def _pages(source: End, table: str) -> AsyncIterator[list[dict[str, Any]]]:
    """All rows in the order of their ids, with the text of alerts as str."""
    key, names = _KEYS.get(table), _COLUMNS[table]
    columns = ", ".join(f"{source.expressions.get(name, name)} AS {name}" for name in names)
    select = f"SELECT {columns} FROM {table}"  # noqa: S608
    statement = f"{select} WHERE {key} > {{}} ORDER BY {key} LIMIT {PAGE}" if key else select
    last = -1
    while page := await source.fetch(statement.format(last)):
        yield [{name: _plain(name, row[name]) for name in names} for row in page]
        if key is None:
            return
        last = page[-1][key]


def _plain(name: str, value: Any) -> Any:
    return value.decode() if name in _ALERT_TEXT and isinstance(value, bytes) else value


class _SqliteEnd:
    """Holds the folder's lock."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        head = f"SELECT episode FROM report WHERE seq = head AND seq <= {left(connection).maybe_sent_upto}"  # noqa: S608
        self.expressions: Mapping[str, str] = {
            "maybe_sent_episode": f"coalesce(({head}), maybe_sent_episode)",
            "done": "coalesce(done, 0)",
        }

    @classmethod
    @asynccontextmanager
    async def locked(cls, path: Path) -> AsyncIterator[Self]:
        path = real(path)
        prepare(path)
        lock = StoreLock(path)
        try:
            lock.hold_file()
            with closing(connect_writer(path)) as connection:
                migrate(connection, path)
                connection.create_function(
                    "checksum", 2, lambda raw, body: None if raw is None else checksum(raw, body)
                )
                connection.execute("BEGIN IMMEDIATE")
                if connection.execute(_DAMAGED).fetchone():
                    raise StoreRefused(f"a row of {path} is damaged; start the adapter on it once to repair it")
                yield cls(connection)
        except sqlite3.Error as exc:
            raise StoreRefused(f"{path} cannot be copied: {exc}; start the adapter on it once to repair it") from exc
        finally:
            lock.release()

    async def fetch(self, statement: str) -> Sequence[Row]:
        return self._connection.execute(statement).fetchall()

    async def insert(self, table: str, rows: Sequence[dict[str, Any]]) -> None:
        values = {name: f":{name}" for name in _COLUMNS[table]}
        if table == "alarm":
            values |= {"due_at": "0", "accepted_crc": "checksum(:accepted_body, NULL)"}
        if table == "report":
            values["crc"] = "checksum(:raw, :body)"
        names, expressions = ", ".join(values), ", ".join(values.values())
        self._connection.executemany(f"INSERT INTO {table} ({names}) VALUES ({expressions})", rows)  # noqa: S608

    async def finish(self) -> None:
        recount(self._connection)
        self._connection.commit()


class _PostgresEnd:
    """Holds table locks; refused while a replica lives."""

    # A lease that was never given back does not travel; that its report may have been sent does.
    expressions: Mapping[str, str] = {
        "maybe_sent_episode": """CASE WHEN lease_until IS NULL THEN maybe_sent_episode ELSE (
            SELECT episode FROM report WHERE alarm = alarm.id AND outcome IS NULL ORDER BY seq LIMIT 1) END"""
    }

    def __init__(self, connection: Connection, now: datetime) -> None:
        self._connection = connection
        self._now = now

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
                yield cls(connection, await connection.fetchval("SELECT now()"))
        finally:
            await database.close()

    async def fetch(self, statement: str) -> Sequence[Row]:
        return await self._connection.fetch(statement)

    async def insert(self, table: str, rows: Sequence[dict[str, Any]]) -> None:
        complete = [self._complete(table, row) for row in rows]
        await self._connection.copy_records(table, list(complete[0]), [tuple(row.values()) for row in complete])

    def _complete(self, table: str, row: dict[str, Any]) -> dict[str, Any]:
        if table in ("pause", "directory"):
            return row
        from adapter.store.postgres.intake import key_of

        own = {name: row[name].encode(errors="replace") for name in _ALERT_TEXT & row.keys()}
        if table == "alarm":
            due = self._now if row["pending"] else None
            own |= {"key": key_of(row["fingerprint"]), "due": due, "fell_back": bool(row["fell_back"])}
        if table == "report":
            own["refused"] = bool(row["refused"])
        return row | own

    async def finish(self) -> None:
        await self._connection.execute(_SET_LAST_IDS)

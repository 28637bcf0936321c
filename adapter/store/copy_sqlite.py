"""A SQLite store as one end of a copy."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, Self

from adapter.clock import Clock
from adapter.errors import StoreRefused
from adapter.store.copy_form import PAGE, Copied, Row, Rows
from adapter.store.sqlite import files, open
from adapter.store.sqlite.recovery import checksum
from adapter.store.sqlite.shutdown_marker import left
from adapter.store.sqlite.upkeep import recount

_IDS: Final = {"webhook": "webhook", "alarm": "alarm", "report": "seq", "reject": "reject"}  # columns of `counter`
_OWN: Final = {"alarm": {"head", "due_at", "accepted_crc"}, "report": {"crc", "made_crc"}}
"""Columns that are worked out from the others."""


class SqliteEnd:
    """Holds the folder's lock, so that no adapter serves from it."""

    def __init__(self, connection: sqlite3.Connection, clock: Clock) -> None:
        self._connection = connection
        self._clock = clock

    @classmethod
    @asynccontextmanager
    async def take(cls, path: Path, clock: Clock) -> AsyncIterator[Self]:
        files.prepare(path)
        lock = files.lock(path)
        try:
            connection = open.connect_writer(path)
            try:
                open.migrate(connection, path)
                connection.execute("BEGIN IMMEDIATE")
                yield cls(connection, clock)
            finally:
                if connection.in_transaction:
                    connection.rollback()
                connection.close()
        except sqlite3.Error as exc:
            raise StoreRefused(f"{path} cannot be copied: {exc}; start the adapter on it once to repair it") from exc
        finally:
            os.close(lock)

    async def rows(self, table: str) -> AsyncIterator[Rows]:
        key = {"pause": "integration", "report": "seq"}.get(table, "id")
        columns = "*"
        if table == "alarm":
            # What may have been sent unnoticed is known by seq here, and travels with its alarm; the last name counts.
            head = f"SELECT episode FROM report WHERE seq = head AND seq <= {left(self._connection)}"  # noqa: S608
            columns = f"*, coalesce(({head}), maybe_sent_episode) AS maybe_sent_episode"
        statement = f"SELECT {columns} FROM {table} ORDER BY {key}"  # noqa: S608
        found = self._connection.execute(statement)
        names = [column[0] for column in found.description]
        while page := found.fetchmany(PAGE):
            yield [_read(table, dict(zip(names, values, strict=True))) for values in page]
            await asyncio.sleep(0)

    async def ids(self) -> dict[str, int]:
        row = self._connection.execute("SELECT webhook, alarm, seq, reject FROM counter").fetchone()
        return dict(zip(_IDS, row, strict=True))

    async def empty(self) -> bool:
        return not any(self._count(table) for table in ("alarm", "report", "webhook", "reject", "pause"))

    async def write(self, table: str, rows: Rows) -> None:
        known = {column[1] for column in self._connection.execute(f"PRAGMA table_info({table})")}
        for row in rows:
            values = {name: value for name, value in _written(table, row).items() if name in known}
            names, marks = ", ".join(values), ", ".join("?" * len(values))
            self._connection.execute(
                f"INSERT INTO {table} ({names}) VALUES ({marks})",  # noqa: S608
                tuple(values.values()),
            )
        await asyncio.sleep(0)

    async def figures(self) -> Copied:
        return Copied(
            alarms=self._count("alarm"),
            reports=self._count("report"),
            pending=self._count("report WHERE outcome IS NULL"),
            dead=self._count("report WHERE outcome = 'dead' AND handled IS NULL"),
            webhooks=self._count("webhook"),
            rejects=self._count("reject"),
            pauses=self._count("pause"),
        )

    async def finish(self, ids: dict[str, int]) -> Copied:
        columns = ", ".join(f"{_IDS[table]} = {last:d}" for table, last in ids.items())
        self._connection.execute(f"UPDATE counter SET {columns}")  # noqa: S608
        recount(self._connection)
        figures = await self.figures()
        self._connection.commit()
        return figures

    def _count(self, what: str) -> int:
        return int(self._connection.execute(f"SELECT count(*) FROM {what}").fetchone()[0])  # noqa: S608


def _read(table: str, row: Row) -> Row:
    neutral = {name: value for name, value in row.items() if name not in _OWN.get(table, ())}
    if table == "report":
        neutral["sound"] = checksum(row["raw"], row["body"]) == row["crc"]
        neutral["refused"] = bool(row["refused"])
        neutral["done"] = row["done"] if row["outcome"] else 0
    return neutral


def _written(table: str, row: Row) -> Row:
    own = {name: value for name, value in row.items() if name != "sound"}
    if table == "alarm":
        body = row["accepted_body"]
        own |= {"due_at": 0, "accepted_crc": None if body is None else zlib.crc32(body)}
    if table == "report":
        # What was damaged stays known as damaged.
        own["crc"] = checksum(row["raw"], row["body"]) ^ (not row["sound"])
    return own

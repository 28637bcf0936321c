"""A PostgreSQL store as one end of a copy."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, Self

from adapter.clock import Clock
from adapter.errors import StoreRefused
from adapter.store.copy_form import PAGE, Copied, Row, Rows
from adapter.store.postgres.connection import SCHEMA, Database
from adapter.store.postgres.intake import key_of
from adapter.store.postgres.migrations import migrate, migrations
from adapter.store.postgres.replicas import storable, users

if TYPE_CHECKING:
    from adapter.store.postgres.connection import Connection

_NO_HURRY: Final = (
    "SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0;"
    " LOCK TABLE alarm, report, webhook, reject, pause IN EXCLUSIVE MODE"
)
_BYTES: Final = {"fingerprint", "labels", "receiver", "group_key", "external_url", "reason"}
"""Text of an alert, which is bytes here; `reason` only of a reject."""
_OWN: Final = {"key", "due", "lease_token", "lease_until", "lease_owner"}
_KEYS: Final = {"pause": "integration", "report": "seq"}
# A lease that was never given back does not travel; that its report may have been sent does.
_WORKED_OUT: Final = {
    "maybe_sent_episode": """CASE WHEN lease_until IS NULL THEN maybe_sent_episode ELSE (
        SELECT episode FROM report WHERE alarm = alarm.id AND outcome IS NULL ORDER BY seq LIMIT 1)
        END AS maybe_sent_episode"""
}
_FIGURES: Final = """
SELECT (SELECT count(*) FROM alarm) AS alarms, (SELECT count(*) FROM report) AS reports,
       (SELECT count(*) FROM report WHERE outcome IS NULL) AS pending,
       (SELECT count(*) FROM report WHERE outcome = 'dead' AND handled IS NULL) AS dead,
       (SELECT count(*) FROM webhook) AS webhooks, (SELECT count(*) FROM reject) AS rejects,
       (SELECT count(*) FROM pause) AS pauses
"""


class PostgresEnd:
    """Holds locks that let nobody write; refused while a replica lives."""

    def __init__(self, connection: Connection, clock: Clock) -> None:
        self._connection = connection
        self._clock = clock

    @classmethod
    @asynccontextmanager
    async def take(cls, dsn: str, clock: Clock, role: str) -> AsyncIterator[Self]:
        database = await Database.connect(dsn, clock=clock)
        try:
            await migrate(database, migrations())
            async with database.write() as connection:
                if busy := await users(database):
                    raise StoreRefused(f"the {role} is being served: {', '.join(busy)}; stop the adapter first")
                await connection.execute(_NO_HURRY)
                yield cls(connection, clock)
        finally:
            await database.close()

    async def rows(self, table: str) -> AsyncIterator[Rows]:
        key, last = _KEYS.get(table, "id"), None
        columns = [name for name in await self._columns(table) if name not in _OWN]
        names = ", ".join(_WORKED_OUT.get(name, name) for name in columns)
        while True:
            after = "TRUE" if last is None else f"{key} > $1"
            statement = f"SELECT {names} FROM {table} WHERE {after} ORDER BY {key} LIMIT {PAGE}"  # noqa: S608
            page = await self._connection.fetch(statement, *([] if last is None else [last]))
            if not page:
                return
            yield [_read(table, dict(row)) for row in page]
            last = page[-1][key]

    async def ids(self) -> dict[str, int]:
        found = {}
        for table in ("webhook", "alarm", "report", "reject"):
            sequence = await self._connection.fetchval(self._sequence(table))
            row = await self._connection.fetchrow(f"SELECT last_value, is_called FROM {sequence}")  # noqa: S608
            assert row is not None
            found[table] = int(row["last_value"]) if row["is_called"] else 0
        return found

    async def empty(self) -> bool:
        figures = await self.figures()
        return not any((figures.alarms, figures.reports, figures.webhooks, figures.rejects, figures.pauses))

    async def write(self, table: str, rows: Rows) -> None:
        records = [_written(table, row) for row in rows]
        columns = list(records[0])
        if table == "alarm":
            # One statement's now() for the whole copy: the line forms anew, by id.
            now = await self._connection.fetchval("SELECT now()")
            for record in records:
                record["due"] = now if record["pending"] else None
            columns.append("due")
        values = [tuple(record[name] for name in columns) for record in records]
        await self._connection.copy_records_to_table(table, records=values, columns=columns, schema_name=SCHEMA)

    async def figures(self) -> Copied:
        row = await self._connection.fetchrow(_FIGURES)
        assert row is not None
        return Copied(**row)

    async def finish(self, ids: dict[str, int]) -> Copied:
        for table, last in ids.items():
            if last:
                sequence = await self._connection.fetchval(self._sequence(table))
                await self._connection.execute("SELECT setval($1::text::regclass, $2)", sequence, last)
        return await self.figures()

    async def _columns(self, table: str) -> list[str]:
        rows = await self._connection.fetch(
            "SELECT column_name FROM information_schema.columns WHERE table_schema = $1 AND table_name = $2"
            " ORDER BY ordinal_position",
            SCHEMA,
            table,
        )
        return [row["column_name"] for row in rows]

    @staticmethod
    def _sequence(table: str) -> str:
        return f"SELECT pg_get_serial_sequence('{SCHEMA}.{table}', '{_KEYS.get(table, 'id')}')"


def _read(table: str, row: Row) -> Row:
    neutral = {name: value for name, value in row.items() if name not in _OWN}
    for name in _BYTES & neutral.keys() - ({"reason"} if table == "pause" else set()):
        neutral[name] = neutral[name].decode()
    if table == "report":
        neutral["sound"] = True
    return neutral


def _written(table: str, row: Row) -> Row:
    own = {name: value for name, value in row.items() if name != "sound"}
    for name in _BYTES & own.keys() - ({"reason"} if table == "pause" else set()):
        own[name] = own[name].encode(errors="replace")
    if table == "pause":
        own |= {name: storable(own[name]) for name in ("asked_by", "detail")}
    if table == "alarm":
        own["key"] = key_of(row["fingerprint"])
    return own

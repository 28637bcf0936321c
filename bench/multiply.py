"""Makes stores with many undelivered reports: copies the rows of real webhooks under other names.

A million webhooks would take a quarter of an hour; copying takes half a minute.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from asyncpg import Connection, Record

SEED: Final = 1000  # reports made by webhooks, one for each of as many alarms

_SQLITE: Final[Mapping[str, Mapping[str, str]]] = {
    "alarm": {"id": "id + n * 1000", "fingerprint": "fingerprint || '-' || n", "head": "head + n * 1000"},
    "report": {"seq": "seq + n * 1000", "alarm": "alarm + n * 1000"},
}
_NAME: Final = "convert_to('-' || n, 'UTF8')"
_POSTGRES: Final[Mapping[str, Mapping[str, str]]] = {
    "alarm": {"key": f"key || {_NAME}", "fingerprint": f"fingerprint || {_NAME}"},
    "report": {
        "alarm": "(SELECT made.id FROM alarm made JOIN alarm first ON first.id = t.alarm "
        f"WHERE made.integration = first.integration AND made.key = first.key || {_NAME})"
    },
}


def insertion(table: str, columns: Iterable[str], changed: Mapping[str, str], numbers: str) -> str:
    """The statement that copies every row of a table once for each `n` of `numbers`."""
    names = list(columns)
    values = ", ".join(changed.get(name, name) for name in names)
    return f"INSERT INTO {table} ({', '.join(names)}) SELECT {values} FROM {table} t, {numbers}"


def sqlite(path: Path, reports: int) -> None:
    """Multiply SEED undelivered reports to `reports`; the store must be closed."""
    times = reports // SEED
    numbers = f"(WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < {times - 1}) SELECT n FROM c)"
    with sqlite3.connect(path) as database:
        if times > 1:
            for table, changed in _SQLITE.items():
                columns = [row[1] for row in database.execute(f"PRAGMA table_info({table})")]
                database.execute(insertion(table, columns, changed, numbers))
        database.execute("UPDATE counter SET seq = seq * ?, alarm = alarm * ?", (times, times))
        database.execute("UPDATE sums SET pending = pending * ?, open_alarms = open_alarms * ?", (times, times))
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()


async def postgres(connection: Connection[Record], reports: int) -> None:
    """The same on PostgreSQL, in the adapter's schema; the server assigns the ids."""
    times = reports // SEED
    await connection.execute("SET search_path = coc_adapter")
    for table, changed in _POSTGRES.items():
        found = await connection.fetch(
            "SELECT column_name FROM information_schema.columns WHERE table_schema = 'coc_adapter' AND table_name = $1 "
            "AND is_identity = 'NO'",
            table,
        )
        columns = [row["column_name"] for row in found]
        if times > 1:
            numbers = f"generate_series(1, {times - 1}) n"
            await connection.execute(insertion(table, columns, changed, numbers), timeout=900)
    for table in _POSTGRES:
        await connection.execute(f"VACUUM ANALYZE {table}", timeout=300)
    await connection.execute("CHECKPOINT", timeout=300)

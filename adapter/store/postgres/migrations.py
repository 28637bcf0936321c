"""Numbered migrations: each is applied once, in order, by the first replica that starts."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from adapter.errors import StoreRefused
from adapter.store.postgres.connection import SCHEMA, Database

if TYPE_CHECKING:
    from adapter.store.postgres.connection import Connection

_LOCK: Final = 0x434F43_0001  # any constant that no other program locks in this database
_FOLDER: Final = Path(__file__).parent / "schema"
_STEP_SECONDS: Final = 3600.0  # some rewrite every alarm: half a minute for a million
OLDEST_SERVER: Final = 130000


def migrations() -> dict[int, str]:
    """The files schema/NNNN_name.sql, by number."""
    return {int(file.name[:4]): file.read_text("utf-8") for file in sorted(_FOLDER.glob("*.sql"))}


async def migrate(database: Database, steps: dict[int, str]) -> None:
    """Bring the schema to the newest of `steps`; StoreRefused when it is newer than that.

    The lock belongs to the transaction, so it works behind a pooler and a killed replica leaves nothing behind.
    """
    newest = max(steps)
    async with database.write() as connection:
        await connection.execute("SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 60000")
        await connection.execute(f"SELECT pg_advisory_xact_lock({_LOCK})")
        await _check_server(connection)
        version = await _version(connection)
        if version > newest:
            raise StoreRefused(
                f"the PostgreSQL schema {SCHEMA} is at version {version} and this adapter knows {newest}: "
                "run the newer adapter, or restore a copy made before it"
            )
        if version == newest:
            return
        if version == 0:
            await _create(connection)
        for number in range(version + 1, newest + 1):
            await connection.execute(steps[number], seconds=_STEP_SECONDS)
        await connection.execute("UPDATE meta SET value = $1 WHERE name = 'schema'", str(newest))


async def _check_server(connection: Connection) -> None:
    number = int(await connection.fetchval("SHOW server_version_num"))
    if number < OLDEST_SERVER:
        raise StoreRefused(f"PostgreSQL {number // 10000} is too old: {OLDEST_SERVER // 10000} or newer is needed")
    encoding = await connection.fetchval("SHOW server_encoding")
    if not re.fullmatch("(?i)utf-?8", encoding):
        raise StoreRefused(f"the PostgreSQL database is encoded in {encoding}: create it with ENCODING 'UTF8'")


async def _version(connection: Connection) -> int:
    if await connection.fetchval(f"SELECT to_regclass('{SCHEMA}.meta')") is None:
        return 0
    version = await connection.fetchval("SELECT value FROM meta WHERE name = 'schema'")
    if not re.fullmatch("[0-9]{1,9}", version or ""):
        raise StoreRefused(
            f"the row of {SCHEMA}.meta with the schema's version is missing or broken; restore a copy, or write the "
            "version that last ran: UPDATE or INSERT ('schema', NUMBER)"
        )
    return int(version)


async def _create(connection: Connection) -> None:
    # Asked first: CREATE SCHEMA IF NOT EXISTS needs the right to create one even where it exists.
    if await connection.fetchval("SELECT to_regnamespace($1)", SCHEMA) is None:
        await connection.execute(f"CREATE SCHEMA {SCHEMA}")
    await connection.execute("CREATE TABLE meta (name text PRIMARY KEY, value text NOT NULL)")
    await connection.execute("INSERT INTO meta VALUES ('schema', '0')")

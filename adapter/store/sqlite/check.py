"""Is the file what we wrote: its structure by SQLite, its rows by their types and checksums."""

from __future__ import annotations

import asyncio
import sqlite3
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any, Final, NamedTuple, TypeVar

from adapter.store.sqlite.damage import DamagedRow, sound_alarm, sound_report
from adapter.store.sqlite.settle import checksum, making_checksum

_ROWS: Final = 500
_BEFORE: Final = 30.0  # seconds in which a start has better things to do than to read a large file
_BETWEEN: Final = 0.02  # seconds

T = TypeVar("T")


class Checked(NamedTuple):
    """How far the rows of a table were looked at."""

    last: int | None  # id to go on behind; None at the end
    damaged: int  # rows of which only a checksum is wrong: bad payload, sound otherwise


def check_structure(connection: sqlite3.Connection) -> None:
    """Raise what SQLite raises for a damaged file when its structure is not sound."""
    found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if found != "ok":
        raise DamagedRow(f"quick_check: {found}")


def check_alarms(connection: sqlite3.Connection, after: int) -> Checked:
    """DamagedRow when a row holds what was never written."""
    cursor = connection.execute("SELECT * FROM alarm WHERE id > ? ORDER BY id LIMIT ?", (after, _ROWS))
    names = [column[0] for column in cursor.description]
    rows = [dict(zip(names, row, strict=True)) for row in cursor]
    if not all(sound_alarm(row) for row in rows):
        raise DamagedRow("a row of an alarm holds what was never written")
    damaged = sum(
        row["accepted_body"] is not None and zlib.crc32(row["accepted_body"]) != row["accepted_crc"] for row in rows
    )
    return Checked(rows[-1]["id"] if len(rows) == _ROWS else None, damaged)


def check_reports(connection: sqlite3.Connection, after: int) -> Checked:
    """The same for reports."""
    cursor = connection.execute("SELECT * FROM report WHERE seq > ? ORDER BY seq LIMIT ?", (after, _ROWS))
    names = [column[0] for column in cursor.description]
    rows = [dict(zip(names, row, strict=True)) for row in cursor]
    if not all(sound_report(row) for row in rows):
        raise DamagedRow("a row of a report holds what was never written")
    damaged = sum(
        checksum(row["raw"], row["body"]) != row["crc"]
        or (row["made_crc"] or 0) != making_checksum(row["log"], row["made"], row["made_body"])
        for row in rows
    )
    return Checked(rows[-1]["seq"] if len(rows) == _ROWS else None, damaged)


def check_all(connection: sqlite3.Connection) -> int:
    """Structure and rows at one go, for a small file; how many rows have bad payload."""
    check_structure(connection)
    damaged = 0
    for check in (check_alarms, check_reports):
        last: int | None = 0
        while last is not None:
            last, bad = check(connection, last)
            damaged += bad
    return damaged


Read = Callable[[Callable[[sqlite3.Connection], T]], Awaitable[T]]


async def check_slowly(read: Read[Any]) -> AsyncIterator[int]:
    """The same for a large file, late and with pauses so that it is not felt; yields how many rows have bad payload."""
    await asyncio.sleep(_BEFORE)
    await read(check_structure)
    for check in (check_alarms, check_reports):
        last: int | None = 0
        while last is not None:
            last, bad = await read(partial(check, after=last))
            yield bad
            await asyncio.sleep(_BETWEEN)

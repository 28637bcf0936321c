"""Lists and tallies of alarms on PostgreSQL.

Labels are looked into in Python: PostgreSQL's text cannot hold one with NUL in it. A subquery with a LIMIT or an OFFSET
is planned for itself, so that the planner takes the index that the walk is along. It takes most alarms for notable, so
it takes their index only where it is asked for their order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from adapter.store.last_seen import SeenLater
from adapter.store.postgres.connection import Database
from adapter.store.postgres.intake import key_of
from adapter.store.recent import (
    Condition,
    Walk,
    before,
    conditions,
    looked_into,
    most_passed,
    narrow_walks,
    page_of,
    tallied,
    tallies_of,
    where,
    wide_walk,
)
from adapter.store.records import ALARM_ROW_COLUMNS, alarm_row
from adapter.store.views import BOUNDS, AlarmQuery, AlarmRow, Bounds, Page, Place, Tally

if TYPE_CHECKING:
    from asyncpg import Record as Row

    from adapter.store.postgres.connection import Connection

# Statements are put together from constants alone, which is why S608 is off for them.
_PAGE: Final = 1000  # rows read at a time where Python has to look into the labels
_IN_ORDER: Final = "ORDER BY changed DESC, id DESC"


async def alarms(database: Database, query: AlarmQuery, seen: SeenLater) -> list[AlarmRow]:
    """By id."""
    page = _PAGE if looked_into(query) else query.limit
    async with database.read() as connection:
        walk = None if query.fingerprint is not None else await _narrow(connection, query, BOUNDS)
    text, values = where(walk.conditions if walk else ())
    order = f"{_IN_ORDER} LIMIT {BOUNDS.few + 1}" if walk and walk.ordered else "OFFSET 0"
    source = f"(SELECT * FROM alarm WHERE {text} {order}) AS alarm" if walk else "alarm"  # noqa: S608
    key = [] if query.fingerprint is None else [Condition("key = ?", (key_of(query.fingerprint),))]
    found: list[AlarmRow] = []
    after = query.after
    while True:
        wanted, more = where([Condition("id > ?", (after,)), *key, *conditions(query)])
        statement = f"SELECT {ALARM_ROW_COLUMNS} FROM {source} WHERE {wanted} ORDER BY id LIMIT ?"  # noqa: S608
        async with database.read() as connection:
            rows = await _fetch(connection, statement, [*values, *more, page])
        found += filter(query.matches, map(seen.shown, map(alarm_row, rows)))
        if len(rows) < page or len(found) >= query.limit:
            return found[: query.limit]
        after = rows[-1]["id"]


async def recent_alarms(database: Database, query: AlarmQuery, seen: SeenLater, bounds: Bounds) -> Page:
    async with database.read() as connection:
        walk = await _narrow(connection, query, bounds) or wide_walk(query)
        text, values = where([*walk.conditions, before(query.before)])
        wanted, more = where(conditions(query))
        source, most = f"alarm WHERE {text}", most_passed(query, bounds)
        limit = most if looked_into(query) else query.limit + 1
        statement = f"""SELECT {ALARM_ROW_COLUMNS} FROM (SELECT * FROM {source} {_IN_ORDER} LIMIT ?) AS alarm
            WHERE {wanted} {_IN_ORDER} LIMIT ?"""  # noqa: S608
        rows = await _fetch(connection, statement, [*values, most, *more, limit])
        found = [row for row in map(seen.shown, map(alarm_row, rows)) if query.matches(row)][: query.limit + 1]
        ended = None
        if len(found) <= query.limit:
            statement = f"SELECT changed, id FROM {source} {_IN_ORDER} LIMIT 1 OFFSET ?"  # noqa: S608
            ended = next(iter(await _fetch(connection, statement, [*values, most - 1])), None)
    return page_of(found, query, Place(*ended) if ended else None)


async def tallies(database: Database, integration: str | None, bounds: Bounds) -> dict[str, Tally]:
    found: dict[str, Tally] = {}
    async with database.read() as connection:
        for walk, wanted, named in tallied(integration):
            text, values = where(walk.conditions)
            condition, more = where(wanted)
            sums = ", ".join(
                f'count(*) FILTER (WHERE ({condition}) AND ({one})) AS "{name}"' for name, one in named.items()
            )
            statement = f"""SELECT count(*) AS walked, {sums}
                FROM (SELECT * FROM alarm WHERE {text} {_IN_ORDER if walk.ordered else ""} LIMIT ?) AS alarm"""  # noqa: S608
            (row,) = await _fetch(connection, statement, [*more * len(named), *values, bounds.counted + 1])
            found |= tallies_of(row, list(named), bounds)
    return found


async def _narrow(connection: Connection, query: AlarmQuery, bounds: Bounds) -> Walk | None:
    """The first walk that has few rows."""
    for walk in narrow_walks(query):
        text, values = where(walk.conditions)
        order = _IN_ORDER if walk.ordered else ""
        statement = f"SELECT count(*) FROM (SELECT FROM alarm WHERE {text} {order} LIMIT ?) AS few"  # noqa: S608
        (row,) = await _fetch(connection, statement, [*values, bounds.few + 1])
        if row[0] <= bounds.few:
            return walk
    return None


async def _fetch(connection: Connection, statement: str, values: Sequence[object]) -> list[Row]:
    """The values stand for the question marks."""
    first, *others = statement.split("?")
    numbered = [f"${number}{part}" for number, part in enumerate(others, start=1)]
    return await connection.fetch(first + "".join(numbered), *values)

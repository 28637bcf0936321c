"""Lists and tallies of alarms on SQLite. Every index is named: the planner has no statistics here."""

from __future__ import annotations

import sqlite3
from itertools import islice
from typing import Final

from adapter.store.last_seen import SeenLater
from adapter.store.recent import (
    Condition,
    Walk,
    before,
    conditions,
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

# Statements are put together from constants alone, which is why S608 is off for them.
_IN_ORDER: Final = "ORDER BY changed DESC, id DESC"


def alarms(connection: sqlite3.Connection, query: AlarmQuery, seen: SeenLater) -> list[AlarmRow]:
    """By id. Labels are looked into in Python while the rows stream by: SQLite folds the case of ASCII only."""
    wanted = [Condition("id > ?", (query.after,)), *conditions(query)]
    walk = None
    if query.fingerprint is not None:
        walk = Walk("alarm_identity", (Condition("fingerprint = ?", (query.fingerprint,)),))
    else:
        walk = _narrow(connection, query, BOUNDS)
    text, values = where([*wanted, *(walk.conditions if walk else ())])
    source = f"INDEXED BY {walk.along}" if walk else "NOT INDEXED"
    statement = f"SELECT {ALARM_ROW_COLUMNS} FROM alarm {source} WHERE {text} ORDER BY id"  # noqa: S608
    rows = map(alarm_row, connection.execute(statement, values))
    return list(islice(filter(query.matches, map(seen.shown, rows)), query.limit))


def recent_alarms(connection: sqlite3.Connection, query: AlarmQuery, seen: SeenLater, bounds: Bounds) -> Page:
    walk = _narrow(connection, query, bounds) or wide_walk(query)
    text, values = where([*walk.conditions, before(query.before)])
    wanted, more = where(conditions(query))
    source, most = f"alarm INDEXED BY {walk.along} WHERE {text}", most_passed(query, bounds)
    statement = f"""SELECT {ALARM_ROW_COLUMNS} FROM (SELECT * FROM {source} {_IN_ORDER} LIMIT ?) AS alarm
        WHERE {wanted}"""  # noqa: S608
    rows = map(alarm_row, connection.execute(statement, [*values, most, *more]))
    found = list(islice(filter(query.matches, map(seen.shown, rows)), query.limit + 1))
    ended = None
    if len(found) <= query.limit:
        statement = f"SELECT changed, id FROM {source} {_IN_ORDER} LIMIT 1 OFFSET ?"  # noqa: S608
        ended = connection.execute(statement, [*values, most - 1]).fetchone()
    return page_of(found, query, Place(*ended) if ended else None)


def tallies(connection: sqlite3.Connection, integration: str | None, bounds: Bounds) -> dict[str, Tally]:
    found: dict[str, Tally] = {}
    for walk, wanted, named in tallied(integration):
        text, values = where(walk.conditions)
        condition, more = where(wanted)
        sums = ", ".join(
            f'count(*) FILTER (WHERE ({condition}) AND ({one})) AS "{name}"' for name, one in named.items()
        )
        statement = f"""SELECT count(*) AS walked, {sums}
            FROM (SELECT * FROM alarm INDEXED BY {walk.along} WHERE {text} LIMIT ?)"""  # noqa: S608
        row = connection.execute(statement, [*more * len(named), *values, bounds.counted + 1]).fetchone()
        found |= tallies_of(row, list(named), bounds)
    return found


def _narrow(connection: sqlite3.Connection, query: AlarmQuery, bounds: Bounds) -> Walk | None:
    """The first walk that has few rows."""
    for walk in narrow_walks(query):
        text, values = where(walk.conditions)
        statement = f"SELECT count(*) FROM (SELECT 1 FROM alarm INDEXED BY {walk.along} WHERE {text} LIMIT ?)"  # noqa: S608
        if connection.execute(statement, [*values, bounds.few + 1]).fetchone()[0] <= bounds.few:
            return walk
    return None

"""What reconciling asks of SQLite: open alarms by the thousand, and those that no alert names any more."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from adapter.alarm import Status
from adapter.clock import Micros
from adapter.store.last_seen import SeenLater
from adapter.store.records import TRACKED_COLUMNS
from adapter.store.sqlite.database import rows_in
from adapter.store.sqlite.reader import Reader
from adapter.store.views import TrackedAlarm

# Statements are put together from constants alone, which is why S608 is off for them.
_TRACKED: Final = f"""SELECT {TRACKED_COLUMNS} FROM alarm INDEXED BY {{}}
    WHERE integration = ? AND {{}} AND id > ? ORDER BY id LIMIT ?"""  # noqa: S608
_BY_STATUS: Final = {
    Status.FIRING: _TRACKED.format("alarm_open", "status = 'firing'"),
    Status.RESOLVED: _TRACKED.format("alarm_reconciled", "status = 'resolved' AND reconciled > 0"),
}
_KNOWN: Final = f"SELECT {TRACKED_COLUMNS} FROM alarm WHERE integration = ? AND fingerprint IN ({{}})"  # noqa: S608
_UNSEEN: Final = """SELECT integration, count(*) FROM alarm INDEXED BY alarm_open
    WHERE status = 'firing' AND last_seen < ? GROUP BY integration"""


@dataclass(frozen=True, slots=True)
class SqliteTracking:
    reader: Reader
    seen: SeenLater

    async def tracked(self, integration: str, status: Status, after: int, limit: int) -> list[TrackedAlarm]:
        rows = await self.reader.call(_read, _BY_STATUS[status], integration, after, limit)
        return self.seen.tracked(rows)

    async def known(self, integration: str, fingerprints: Sequence[str]) -> dict[str, TrackedAlarm]:
        rows = await self.reader.call(_known, integration, fingerprints) if fingerprints else []
        return {row.fingerprint: row for row in self.seen.tracked(rows)}

    async def unseen(self, before: Micros) -> dict[str, int]:
        """As of the last `maintain`."""
        return await self.reader.call(lambda connection: dict(connection.execute(_UNSEEN, (before,)).fetchall()))


def _read(connection: sqlite3.Connection, statement: str, *parameters: object) -> list[TrackedAlarm]:
    cursor = connection.cursor()
    cursor.row_factory = None  # plain tuples: a poll reads fifty thousand of them
    return list(map(TrackedAlarm._make, cursor.execute(statement, parameters)))


def _known(connection: sqlite3.Connection, integration: str, fingerprints: Sequence[str]) -> list[TrackedAlarm]:
    return [TrackedAlarm(*row) for row in rows_in(connection, _KNOWN, fingerprints, integration)]

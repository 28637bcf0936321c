"""What reconciling asks of PostgreSQL: open alarms by the thousand, and those that no alert names any more."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from adapter.alarm import Status
from adapter.clock import Micros
from adapter.store.last_seen import SeenLater
from adapter.store.postgres.connection import Database
from adapter.store.postgres.intake import key_of
from adapter.store.records import TRACKED_COLUMNS
from adapter.store.views import TrackedAlarm

if TYPE_CHECKING:
    from asyncpg import Record as Row

# Statements are put together from constants alone, which is why S608 is off for them.
_TRACKED: Final = f"""
SELECT {TRACKED_COLUMNS} FROM alarm WHERE integration = $1 AND {{}} AND id > $2 ORDER BY id LIMIT $3
"""  # noqa: S608
_BY_STATUS: Final = {
    Status.FIRING: _TRACKED.format("status = 'firing'"),
    Status.RESOLVED: _TRACKED.format("status = 'resolved' AND reconciled > 0"),
}
_KNOWN: Final = f"SELECT {TRACKED_COLUMNS} FROM alarm WHERE integration = $1 AND key = ANY($2::bytea[])"  # noqa: S608
_UNSEEN: Final = """
SELECT integration, count(*) AS alarms FROM alarm WHERE status = 'firing' AND last_seen < $1 GROUP BY integration
"""


@dataclass(frozen=True, slots=True)
class PostgresTracking:
    database: Database
    seen: SeenLater

    async def tracked(self, integration: str, status: Status, after: int, limit: int) -> list[TrackedAlarm]:
        async with self.database.read() as connection:
            rows = await connection.fetch(_BY_STATUS[status], integration, after, limit)
        return self.seen.tracked(_tracked(rows))

    async def known(self, integration: str, fingerprints: Sequence[str]) -> dict[str, TrackedAlarm]:
        async with self.database.read() as connection:
            rows = await connection.fetch(_KNOWN, integration, list(map(key_of, fingerprints)))
        return {row.fingerprint: row for row in self.seen.tracked(_tracked(rows))}

    async def unseen(self, before: Micros) -> dict[str, int]:
        """As of the last `maintain` of each replica."""
        async with self.database.read() as connection:
            return {row["integration"]: row["alarms"] for row in await connection.fetch(_UNSEEN, before)}


def _tracked(rows: Iterable[Row]) -> list[TrackedAlarm]:
    found = [TrackedAlarm(*row.values()) for row in rows]
    return [
        row._replace(
            fingerprint=row.fingerprint.decode(),  # type: ignore[attr-defined]
            origin=row.origin.decode(),  # type: ignore[attr-defined]
            receiver=row.receiver.decode(),  # type: ignore[attr-defined]
        )
        for row in found
    ]

"""How many reports are pending and alarms open: as the database last said, plus what this replica committed since.

What other replicas committed since is not in the figures. The database keeps no sums, so that no transaction waits for
another one's.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from adapter.clock import Clock
from adapter.store.backlog import Waiting
from adapter.store.postgres.connection import SCHEMA, Database
from adapter.store.views import Counts

if TYPE_CHECKING:
    from collections.abc import Iterable

    from asyncpg import Record as Row

_COUNTS: Final = """
SELECT integration, sum(pending)::bigint AS pending, sum(open_alarms)::bigint AS open_alarms,
       sum(refreshing)::bigint AS refreshing,
       (SELECT received FROM report r WHERE r.integration = parts.integration AND r.outcome IS NULL
        ORDER BY r.seq LIMIT 1) AS oldest,
       sum(dead)::bigint AS dead
FROM (SELECT integration, count(*) AS pending, 0 AS open_alarms, 0 AS dead, 0 AS refreshing
      FROM report WHERE outcome IS NULL GROUP BY integration
      UNION ALL
      SELECT integration, 0, count(*), 0, 0 FROM alarm WHERE status = 'firing' GROUP BY integration
      UNION ALL
      SELECT integration, 0, 0, 0, count(*) FROM alarm WHERE priority = 1 AND due IS NOT NULL GROUP BY integration
      UNION ALL
      SELECT integration, 0, 0, count(*), 0 FROM report WHERE outcome = 'dead' AND handled IS NULL GROUP BY integration
     ) AS parts
GROUP BY integration
"""


async def counts_of_database(dsn: str, clock: Clock) -> dict[str, Counts]:
    """Read beside its replicas; nothing where no adapter has been yet. StoreError when it cannot be read."""
    database = await Database.connect(dsn, clock=clock)
    try:
        async with database.read() as connection:
            if await connection.fetchval(f"SELECT to_regclass('{SCHEMA}.alarm')") is None:
                return {}
            return _by_integration(await connection.fetch(_COUNTS))
    finally:
        await database.close()


class RunningCounts:
    """By integration; never below zero."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._pending: Counter[str] = Counter()
        self._refreshing: Counter[str] = Counter()
        self._open_alarms: Counter[str] = Counter()

    async def refresh(self) -> dict[str, Counts]:
        """Read them from the database: the integrations of which there is something."""
        async with self._database.read() as connection:
            rows = await connection.fetch(_COUNTS)
        counts = _by_integration(rows)
        self._pending = Counter({name: one.pending for name, one in counts.items()})
        self._refreshing = Counter({name: one.refreshing for name, one in counts.items()})
        self._open_alarms = Counter({name: one.open_alarms for name, one in counts.items()})
        return counts

    def add(self, integration: str, *, pending: int, refreshing: int = 0, open_alarms: int = 0) -> tuple[int, int]:
        """This replica has committed this difference. Returns pending and open alarms of the integration."""
        self._pending[integration] += pending
        self._refreshing[integration] += refreshing
        self._open_alarms[integration] += open_alarms
        return max(0, self._pending[integration]), max(0, self._open_alarms[integration])

    @property
    def waiting(self) -> dict[str, Waiting]:
        names = self._pending.keys() | self._refreshing.keys()
        return {name: Waiting(max(0, self._pending[name]), max(0, self._refreshing[name])) for name in names}


def _by_integration(rows: Iterable[Row]) -> dict[str, Counts]:
    return {
        row["integration"]: Counts(
            pending=row["pending"],
            open_alarms=row["open_alarms"],
            oldest=row["oldest"],
            dead=row["dead"],
            refreshing=row["refreshing"],
        )
        for row in rows
    }

"""What is done now and then: write when alerts were last seen, prune in steps, prove that a commit is possible."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

from adapter.clock import Micros
from adapter.errors import StoreError
from adapter.store.contract import Retention
from adapter.store.last_seen import SeenLater, Tally
from adapter.store.sqlite.writer import Writer

STEP: Final = 1000  # rows per transaction, so that intake is never held up

Pruning = Callable[[sqlite3.Connection], bool]
"""One step; True when there may be more."""

_DONE: Final = """DELETE FROM report WHERE seq IN (SELECT seq FROM report INDEXED BY report_done
    WHERE outcome IS NOT NULL AND outcome <> 'dead' AND done < ? ORDER BY done LIMIT ?)"""
_WEBHOOK: Final = (
    """DELETE FROM webhook WHERE id IN (SELECT id FROM webhook WHERE received < ? ORDER BY received LIMIT ?)"""
)
_REJECT: Final = "DELETE FROM reject WHERE id IN (SELECT id FROM reject WHERE received < ? LIMIT ?)"
_DEAD: Final = """SELECT seq, integration, handled FROM report INDEXED BY report_dead
    WHERE outcome = 'dead' AND done < ? ORDER BY done LIMIT ?"""
_RESOLVED: Final = """SELECT last_seen, id, EXISTS (SELECT 1 FROM report WHERE report.alarm = alarm.id) FROM alarm
    INDEXED BY alarm_resolved WHERE status = 'resolved' AND head IS NULL AND (last_seen, id) > (?, ?) AND last_seen < ?
    ORDER BY last_seen, id LIMIT ?"""


@dataclass(frozen=True, slots=True)
class SqliteUpkeep:
    writer: Writer
    seen: SeenLater

    async def maintain(self, now: Micros, retention: Retention) -> None:
        await self.write_seen()
        for prune in _prunings(now, retention):
            while await self.writer.call(prune):
                pass
        await self.probe()

    async def write_seen(self) -> None:
        """When alerts were last seen."""
        while batch := self.seen.take():
            try:
                await self.writer.call(_write_seen, batch)
            except StoreError:
                self.seen.put_back(batch)
                raise

    async def probe(self) -> None:
        await self.writer.call(_probe)


def _prunings(now: Micros, retention: Retention) -> Iterator[Pruning]:
    """What is over its retention, kind by kind. What is pending is in none of them."""
    yield partial(_delete, _DONE, now - retention.delivered)
    yield partial(_delete, _WEBHOOK, now - retention.delivered)
    yield partial(_delete, _REJECT, now - retention.delivered)
    yield partial(_prune_dead, now - retention.dead)
    yield _Resolved(now - retention.resolved)


def _delete(statement: str, before: Micros, connection: sqlite3.Connection) -> bool:
    return connection.execute(statement, (before, STEP)).rowcount == STEP


def _prune_dead(before: Micros, connection: sqlite3.Connection) -> bool:
    rows = connection.execute(_DEAD, (before, STEP)).fetchall()
    connection.executemany("DELETE FROM report WHERE seq = ?", [(seq,) for seq, _, _ in rows])
    waiting = [(integration,) for _, integration, handled in rows if handled is None]
    connection.executemany("UPDATE sums SET dead = dead - 1 WHERE integration = ?", waiting)
    return len(rows) == STEP


class _Resolved:
    """Resolved alarms of which no report is kept any more; the next step goes on behind those that stay."""

    def __init__(self, before: Micros) -> None:
        self._before = before
        self._after: tuple[Micros, int] = (-1, 0)

    def __call__(self, connection: sqlite3.Connection) -> bool:
        rows = connection.execute(_RESOLVED, (*self._after, self._before, STEP)).fetchall()
        connection.executemany("DELETE FROM alarm WHERE id = ?", [(id_,) for _, id_, needed in rows if not needed])
        if rows:
            self._after = rows[-1][:2]
        return len(rows) == STEP


def _write_seen(connection: sqlite3.Connection, seen: Mapping[int, Tally]) -> None:
    connection.executemany(
        "UPDATE alarm SET last_seen = ?, repeats = repeats + ?, stale = stale + ? WHERE id = ?",
        [(at, repeats, stale, alarm) for alarm, (at, repeats, stale) in seen.items()],
    )


def _probe(connection: sqlite3.Connection) -> None:
    """A change that needs disk space and a commit."""
    connection.execute("UPDATE counter SET probe = probe + 1")

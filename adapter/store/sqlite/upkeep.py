"""What is done now and then: write when alerts were last seen, prune in steps, prove that a commit is possible."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

from adapter.clock import Micros
from adapter.errors import StoreError
from adapter.store.contract import Pruned, Retention
from adapter.store.last_seen import SeenLater, Tally
from adapter.store.sqlite.writer import Writer

STEP: Final = 1000  # rows per transaction, so that intake is never held up

_DONE: Final = """DELETE FROM report WHERE seq IN (SELECT seq FROM report INDEXED BY report_done
    WHERE outcome IS NOT NULL AND outcome <> 'dead' AND done < ? ORDER BY done LIMIT ?)"""
_WEBHOOK: Final = (
    """DELETE FROM webhook WHERE id IN (SELECT id FROM webhook WHERE received < ? ORDER BY received LIMIT ?)"""
)
_REJECT: Final = "DELETE FROM reject WHERE id IN (SELECT id FROM reject WHERE received < ? LIMIT ?)"
_DEAD: Final = """SELECT seq, integration, handled FROM report INDEXED BY report_dead
    WHERE outcome = 'dead' AND done < ? ORDER BY done LIMIT ?"""
_RESOLVED: Final = """DELETE FROM alarm WHERE id IN (SELECT id FROM alarm INDEXED BY alarm_resolved
    WHERE status = 'resolved' AND head IS NULL AND last_seen < ?
    AND NOT EXISTS (SELECT 1 FROM report WHERE report.alarm = alarm.id) ORDER BY last_seen LIMIT ?)"""


@dataclass(frozen=True, slots=True)
class SqliteUpkeep:
    writer: Writer
    seen: SeenLater
    check_place: Callable[[], None]

    async def maintain(self, now: Micros, retention: Retention) -> Pruned:
        await self.write_seen()
        delivered, dead, resolved = (now - kept for kept in (retention.delivered, retention.dead, retention.resolved))
        pruned = Pruned(
            reports=await self._in_steps(partial(_delete, statement=_DONE, before=delivered)),
            webhooks=await self._in_steps(partial(_delete, statement=_WEBHOOK, before=delivered)),
            rejects=await self._in_steps(partial(_delete, statement=_REJECT, before=delivered)),
            dead_letters=await self._in_steps(partial(_prune_dead, before=dead)),
            alarms=await self._in_steps(partial(_delete, statement=_RESOLVED, before=resolved)),
        )
        await self.probe()
        return pruned

    async def _in_steps(self, prune: Callable[[sqlite3.Connection], int]) -> int:
        deleted = step = await self.writer.call(prune)
        while step == STEP:
            deleted += (step := await self.writer.call(prune))
        return deleted

    async def write_seen(self) -> None:
        """When alerts were last seen."""
        while batch := self.seen.take():
            try:
                await self.writer.call(_write_seen, batch)
            except StoreError:
                self.seen.put_back(batch)
                raise

    async def probe(self) -> None:
        await self.writer.call(self._probe)

    def _probe(self, connection: sqlite3.Connection) -> None:
        """A change that needs disk space and a commit."""
        self.check_place()
        connection.execute("UPDATE counter SET probe = probe + 1")


def _delete(connection: sqlite3.Connection, statement: str, before: Micros) -> int:
    return connection.execute(statement, (before, STEP)).rowcount


def _prune_dead(connection: sqlite3.Connection, before: Micros) -> int:
    rows = connection.execute(_DEAD, (before, STEP)).fetchall()
    connection.executemany("DELETE FROM report WHERE seq = ?", [(seq,) for seq, _, _ in rows])
    waiting = [(integration,) for _, integration, handled in rows if handled is None]
    connection.executemany("UPDATE sums SET dead = dead - 1 WHERE integration = ?", waiting)
    return len(rows)


def _write_seen(connection: sqlite3.Connection, seen: Mapping[int, Tally]) -> None:
    connection.executemany(
        "UPDATE alarm SET last_seen = ?, repeats = repeats + ?, stale = stale + ? WHERE id = ?",
        [(at, repeats, stale, alarm) for alarm, (at, repeats, stale) in seen.items()],
    )

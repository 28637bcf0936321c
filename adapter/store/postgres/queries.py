"""What an operator asks of PostgreSQL: alarms, trails, dead letters, rejects; and what is done about dead letters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from adapter.alarm import Kind
from adapter.clock import Clock
from adapter.store.last_seen import SeenLater
from adapter.store.postgres.alarms import alarms, recent_alarms, tallies
from adapter.store.postgres.connection import Database, retried
from adapter.store.postgres.counts import RunningCounts
from adapter.store.postgres.intake import key_of
from adapter.store.records import (
    RECENT_COLUMNS,
    REFUSAL_COLUMNS,
    REJECT_COLUMNS,
    REPORT_ROW_COLUMNS,
    past_of,
    recent_row,
    refusal_of,
    reject_row,
    report_row,
)
from adapter.store.replay import Past, kinds_by_letter, replayed
from adapter.store.views import (
    BOUNDS,
    AlarmQuery,
    AlarmRow,
    Bounds,
    Page,
    RecentRow,
    Refusal,
    RejectRow,
    ReportRow,
    Tally,
)

if TYPE_CHECKING:
    from adapter.store.postgres.connection import Connection

# Statements are put together from constants alone, which is why S608 is off for them.
_REPORTS: Final = f"""
SELECT {REPORT_ROW_COLUMNS}, CASE WHEN report.seq = (
           SELECT seq FROM report r WHERE r.alarm = alarm.id AND r.outcome IS NULL ORDER BY r.seq LIMIT 1)
       THEN extract(epoch FROM alarm.due - clock_timestamp())::float8 END AS due_in
FROM report JOIN alarm ON alarm.id = report.alarm LEFT JOIN webhook ON webhook.id = report.webhook
"""  # noqa: S608
_TRAIL: Final = f"""{_REPORTS}
WHERE alarm.integration = $1 AND alarm.key = $2 AND ($4::bigint IS NULL OR report.seq < $4)
ORDER BY report.seq DESC LIMIT $3
"""
_DEAD: Final = f"""{_REPORTS}
WHERE report.outcome = 'dead' AND report.handled IS NULL AND report.seq > $1
  AND ($2::text IS NULL OR report.integration = $2)
ORDER BY report.seq LIMIT $3
"""
_BY_SEQ: Final = f"{_REPORTS} WHERE report.seq = ANY($1::bigint[]) ORDER BY report.seq"
_RECENT: Final = f"""
SELECT {RECENT_COLUMNS} FROM report JOIN alarm ON alarm.id = report.alarm WHERE report.seq IN (
    SELECT max(seq) FROM (SELECT seq, alarm FROM report ORDER BY seq DESC LIMIT $1) AS last GROUP BY alarm)
ORDER BY report.seq DESC
"""  # noqa: S608
_REFUSALS: Final = f"""
SELECT {REFUSAL_COLUMNS} FROM report
WHERE outcome = 'dead' AND handled IS NULL AND seq > $1 AND ($2::text IS NULL OR integration = $2)
ORDER BY seq LIMIT $3
"""  # noqa: S608
_REJECTS: Final = f"""
SELECT {REJECT_COLUMNS} FROM reject
WHERE id > $1 AND ($2::bigint IS NULL OR id < $2) AND ($3::text IS NULL OR integration = $3) ORDER BY id {{}} LIMIT $4
"""  # noqa: S608
_LOCK: Final = """
SELECT id, integration FROM alarm WHERE id IN (SELECT alarm FROM report WHERE seq = ANY($1::bigint[])) ORDER BY id
FOR UPDATE
"""
_LETTERS: Final = """
SELECT seq FROM report WHERE seq = ANY($1::bigint[]) AND outcome = 'dead' AND handled IS NULL ORDER BY seq
"""
_PAST: Final = "SELECT seq, alarm, kind, coc_alarm_id, outcome FROM report WHERE alarm = ANY($1::bigint[]) ORDER BY seq"
_AGAIN: Final = """
INSERT INTO report (integration, alarm, episode, kind, coc_alarm_id, raw, received, webhook, body)
SELECT r.integration, r.alarm, r.episode, u.kind, r.coc_alarm_id, r.raw, $1::bigint, 0,
       CASE WHEN u.as_sent THEN r.provenance_body END
FROM unnest($2::bigint[], $3::text[], $4::boolean[]) WITH ORDINALITY AS u(seq, kind, as_sent, place)
JOIN report r ON r.seq = u.seq ORDER BY u.place
RETURNING alarm
"""
_HANDLED: Final = "UPDATE report SET handled = $1 WHERE seq = ANY($2::bigint[])"
_QUEUE: Final = """
UPDATE alarm a SET pending = a.pending + u.more, priority = 0, due = coalesce(a.due, now())
FROM unnest($1::bigint[], $2::bigint[]) AS u(id, more) WHERE a.id = u.id
"""


@dataclass(frozen=True, slots=True)
class PostgresQueries:
    """The OperatorStore, but for `counts`."""

    database: Database
    counts: RunningCounts
    seen: SeenLater
    clock: Clock

    async def alarms(self, query: AlarmQuery) -> list[AlarmRow]:
        return await alarms(self.database, query, self.seen)

    async def recent_alarms(self, query: AlarmQuery, bounds: Bounds = BOUNDS) -> Page:
        return await recent_alarms(self.database, query, self.seen, bounds)

    async def tallies(self, integration: str | None, bounds: Bounds = BOUNDS) -> dict[str, Tally]:
        return await tallies(self.database, integration, bounds)

    async def trail(
        self, integration: str, fingerprint: str, limit: int = 50, before: int | None = None
    ) -> list[ReportRow]:
        return await self._reports(_TRAIL, integration, key_of(fingerprint), limit, before)

    async def dead_letters(self, integration: str | None, after: int, limit: int) -> list[ReportRow]:
        return await self._reports(_DEAD, after, integration, limit)

    async def recent(self, reports: int) -> list[RecentRow]:
        async with self.database.read() as connection:
            rows = await connection.fetch(_RECENT, reports)
        return [recent_row(row) for row in rows]

    async def reports(self, seqs: Sequence[int]) -> list[ReportRow]:
        return await self._reports(_BY_SEQ, seqs)

    async def _reports(self, statement: str, *arguments: object) -> list[ReportRow]:
        async with self.database.read() as connection:
            rows = await connection.fetch(statement, *arguments)
        return [report_row(row, due_in=row["due_in"]) for row in rows]

    async def refusals(self, integration: str | None, after: int, limit: int) -> list[Refusal]:
        async with self.database.read() as connection:
            rows = await connection.fetch(_REFUSALS, after, integration, limit)
        return [refusal_of(row) for row in rows]

    async def rejects(
        self, after: int, limit: int, *, integration: str | None = None, before: int | None = None
    ) -> list[RejectRow]:
        statement = _REJECTS.format("" if before is None else "DESC")
        async with self.database.read() as connection:
            rows = await connection.fetch(statement, after, before, integration, limit)
        return [reject_row(row) for row in rows]

    @retried
    async def discard(self, seqs: Sequence[int]) -> list[int]:
        async with self.database.write() as connection:
            letters, _ = await _lock(connection, seqs)
            await connection.execute(_HANDLED, "discarded", letters)
        return letters

    @retried
    async def replay(self, seqs: Sequence[int], *, as_sent: bool) -> dict[int, tuple[Kind, ...]]:
        async with self.database.write() as connection:
            letters, integrations = await _lock(connection, seqs)
            trails: dict[int, list[Past]] = {}
            for row in await connection.fetch(_PAST, list(integrations)):
                trails.setdefault(row["alarm"], []).append(past_of(row))
            owed = [report for trail in trails.values() for report in replayed(letters, trail)]
            enqueued = await connection.fetch(
                _AGAIN,
                self.clock.now(),
                [report.source for report in owed],
                [report.kind for report in owed],
                [as_sent and report.kind is not Kind.REASSERT for report in owed],
            )
            more = Counter(row["alarm"] for row in enqueued)
            await connection.execute(_HANDLED, "replayed", letters)
            await connection.execute(_QUEUE, list(more), list(more.values()))
        for alarm, added in more.items():
            self.counts.add(integrations[alarm], pending=added)
        return kinds_by_letter(owed)


async def _lock(connection: Connection, seqs: Sequence[int]) -> tuple[list[int], dict[int, str]]:
    """Lock the alarms of these reports. Those that are dead letters, and the integrations by alarm."""
    integrations = {row["id"]: row["integration"] for row in await connection.fetch(_LOCK, seqs)}
    return [row["seq"] for row in await connection.fetch(_LETTERS, seqs)], integrations

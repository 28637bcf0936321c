"""Alarms of an integration that left adapter.yml: discarded, or moved to another one as `store.moving` decides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from adapter.alarm import Alarm, Status
from adapter.clock import Micros
from adapter.store.moving import Merged, Side, merged
from adapter.store.postgres.connection import Database, retried
from adapter.store.postgres.counts import RunningCounts
from adapter.store.records import ACCEPTED_COLUMNS, ALARM_COLUMNS, accepted_of, alarm_of, outcome_of
from adapter.store.settlement import AlarmState
from adapter.store.views import Removed

if TYPE_CHECKING:
    from asyncpg import Record as Row

    from adapter.store.postgres.connection import Connection

# Statements are put together from constants alone, which is why S608 is off for them.
_HELD: Final = "SELECT id FROM alarm WHERE integration = $1 ORDER BY id"
_KEYS: Final = "SELECT key FROM alarm WHERE id = ANY($1::bigint[]) AND integration <> $2"
_LOCK: Final = f"""
SELECT alarm.id, alarm.integration, {ALARM_COLUMNS}, {ACCEPTED_COLUMNS}, alarm.earlier_episode, alarm.earlier_outcome,
       alarm.maybe_sent_episode, alarm.lease_until IS NOT NULL AS leased,
       EXISTS (SELECT FROM report r WHERE r.alarm = alarm.id
               AND (r.attempts > 0 OR (r.outcome IS NOT NULL AND r.outcome <> 'superseded'))) AS tried,
       (SELECT count(*) FROM report r WHERE r.alarm = alarm.id AND r.outcome = 'dead' AND r.handled IS NULL) AS letters
FROM alarm
WHERE id = ANY($1::bigint[]) OR (integration = $2 AND key = ANY($3::bytea[]))
ORDER BY id FOR UPDATE
"""  # noqa: S608
_END: Final = "UPDATE report SET outcome = $2, done = $3 WHERE alarm = ANY($1::bigint[]) AND outcome IS NULL"
_HANDLED: Final = """
UPDATE report SET handled = 'discarded' WHERE alarm = ANY($1::bigint[]) AND outcome = 'dead' AND handled IS NULL
"""
_CLOSED: Final = """
UPDATE alarm SET status = 'resolved', ends = CASE WHEN status = 'firing' THEN $2 ELSE ends END, pending = 0, due = NULL,
                 lease_until = NULL, lease_owner = NULL
WHERE id = ANY($1::bigint[]) AND (pending > 0 OR status = 'firing')
"""
_HAND_OVER: Final = "UPDATE alarm SET integration = $2 WHERE id = ANY($1::bigint[])"
_REPORTS: Final = "UPDATE report SET integration = $2 WHERE alarm = ANY($1::bigint[])"
_JOIN: Final = "UPDATE report SET integration = $2, alarm = $3 WHERE alarm = $1"
_EPISODES: Final = "UPDATE report SET episode = episode + $2 WHERE alarm = $1"
_MERGED: Final = """
UPDATE alarm a SET episode = $3, pending = $4::bigint, priority = $5, last_accepted_at = $6, earlier_episode = $7,
    earlier_outcome = $8, maybe_sent_episode = $9, accepted_body = $10, accepted_status = $11, accepted_at = $12,
    first_seen = least(a.first_seen, m.first_seen), conflicts = a.conflicts + m.conflicts,
    due = CASE WHEN $4::bigint > 0 THEN least(a.due, m.due) END
FROM alarm m WHERE a.id = $1 AND m.id = $2
"""
_NOTHING_WAITS: Final = "UPDATE alarm SET pending = 0, due = NULL WHERE id = $1"
_FORGET: Final = "DELETE FROM alarm WHERE id = $1"


@dataclass(frozen=True, slots=True)
class PostgresMoving:
    database: Database
    counts: RunningCounts

    async def held(self, integration: str) -> list[int]:
        async with self.database.read() as connection:
            return [row["id"] for row in await connection.fetch(_HELD, integration)]

    @retried
    async def discard_alarms(self, ids: Sequence[int], now: Micros) -> Removed:
        async with self.database.write() as connection:
            rows = await connection.fetch(_LOCK, ids, "", [])
            await connection.execute(_END, ids, "discarded", now)
            await connection.execute(_HANDLED, ids)
            await connection.execute(_CLOSED, ids, now)
        return self._counted({row["id"]: (row, None, None) for row in rows}, "")

    @retried
    async def move_alarms(self, ids: Sequence[int], to: str, now: Micros) -> Removed:
        async with self.database.write() as connection:
            keys = [row["key"] for row in await connection.fetch(_KEYS, ids, to)]
            rows = await connection.fetch(_LOCK, ids, to, keys)
            existing = {alarm_of(row).fingerprint: row for row in rows if row["integration"] == to}
            moved = {row["id"]: row for row in rows if row["integration"] != to}
            changes: dict[int, tuple[Row, Alarm | None, Alarm | None]] = {}
            for id_, row in moved.items():
                alarm, other = alarm_of(row), existing.get(alarm_of(row).fingerprint)
                if other is None:
                    changes[id_] = row, alarm, None
                else:
                    changes[id_] = row, await _merge(connection, row, other, now), alarm_of(other)
            plain = [id_ for id_, (_, _, before) in changes.items() if before is None]
            await connection.execute(_HAND_OVER, plain, to)
            await connection.execute(_REPORTS, plain, to)
        return self._counted(changes, to)

    def _counted(self, changes: dict[int, tuple[Row, Alarm | None, Alarm | None]], to: str) -> Removed:
        """`changes`: the row that left, and the alarm that took it over, as it is now and as it was before."""
        removed = Removed()
        for row, after, before in changes.values():
            alarm, letters = alarm_of(row), row["letters"]
            (taken, taken_refreshing, taken_open), (had, had_refreshing, had_open) = _sums(after), _sums(before)
            pending, refreshing, is_open = _sums(alarm)
            step = Removed(
                alarms=bool(after or pending or is_open or letters),
                open_alarms=is_open,
                reports=pending,
                dead_letters=letters,
                taken_open=taken_open - had_open,
                taken_reports=taken - had,
            )
            removed = removed.plus(step)
            self.counts.add(row["integration"], pending=-pending, refreshing=-refreshing, open_alarms=-is_open)
            if after:
                difference = taken_refreshing - had_refreshing
                self.counts.add(to, pending=step.taken_reports, refreshing=difference, open_alarms=step.taken_open)
        return removed


def _sums(alarm: Alarm | None) -> tuple[int, int, int]:
    """Pending reports, refreshing and open alarms."""
    return (alarm.pending, alarm.refreshing, alarm.status is Status.FIRING) if alarm else (0, 0, 0)


async def _merge(connection: Connection, row: Row, other: Row, now: Micros) -> Alarm:
    result = merged(_side(row, sent=True), _side(other, sent=other["leased"] or other["tried"]))
    if result.superseded:
        await connection.execute(_END, [row["id"]], "superseded", now)
        await connection.execute(_NOTHING_WAITS, row["id"])
    await connection.execute(_EPISODES, other["id"], result.first_episode)
    await connection.execute(_JOIN, row["id"], other["integration"], other["id"])
    await connection.execute(_MERGED, other["id"], row["id"], *_merged_columns(result))
    await connection.execute(_FORGET, row["id"])
    return result.alarm


def _side(row: Row, *, sent: bool) -> Side:
    earlier = row["earlier_episode"], outcome_of(row["earlier_outcome"])
    state = AlarmState(row["pending"], accepted_of(row), *earlier, row["maybe_sent_episode"])
    return Side(alarm_of(row), state, sent)


def _merged_columns(result: Merged) -> tuple[object, ...]:
    """episode to accepted_at."""
    alarm, (_, accepted, *others) = result.alarm, result.state
    body = (accepted.body, accepted.status, accepted.at) if accepted else (None, None, None)
    return alarm.episode, alarm.pending, alarm.priority, alarm.last_accepted_at, *others, *body

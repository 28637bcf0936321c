"""Alarms of an integration that left adapter.yml: discarded, or moved to another one as `store.moving` decides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from adapter.alarm import Alarm, Kind, Status
from adapter.clock import Micros
from adapter.store.last_seen import SeenLater
from adapter.store.moving import Merged, Side, merged, owed_again
from adapter.store.postgres.connection import Database, retried
from adapter.store.postgres.counts import RunningCounts
from adapter.store.records import (
    ACCEPTED_COLUMNS,
    ALARM_COLUMNS,
    accepted_columns,
    accepted_of,
    alarm_of,
    labels_from_json,
    outcome_of,
)
from adapter.store.settlement import AlarmState
from adapter.store.views import Removed

if TYPE_CHECKING:
    from asyncpg import Record as Row

    from adapter.store.postgres.connection import Connection

# Statements are put together from constants alone, which is why S608 is off for them.
_HELD: Final = "SELECT id FROM alarm WHERE integration = $1 ORDER BY id"
_KEYS: Final = "SELECT key FROM alarm WHERE id = ANY($2::bigint[]) AND integration = $1"
_LOCK: Final = f"""
SELECT alarm.id, alarm.integration, {ALARM_COLUMNS}, {ACCEPTED_COLUMNS}, alarm.earlier_episode, alarm.earlier_outcome,
       alarm.maybe_sent_episode, alarm.fell_back, alarm.labels, alarm.last_seen,
       alarm.lease_until IS NOT NULL AS leased
FROM alarm
WHERE (id = ANY($2::bigint[]) AND integration = $1) OR (integration = $3 AND key = ANY($4::bytea[]))
ORDER BY id FOR UPDATE
"""  # noqa: S608
# A statement of its own: the one above may have waited for a lock, and then sees rows newer than their reports.
_REPORTS: Final = """
SELECT alarm, max(seq) AS last_owed,
       max(seq) FILTER (WHERE attempts > 0 OR (outcome IS NOT NULL AND outcome <> 'superseded')) AS last_sent,
       count(*) FILTER (WHERE outcome = 'dead' AND handled IS NULL) AS letters,
       coalesce(array_agg(seq ORDER BY seq) FILTER (WHERE outcome IS NULL), '{}') AS seqs,
       coalesce(array_agg(kind ORDER BY seq) FILTER (WHERE outcome IS NULL), '{}') AS kinds
FROM report WHERE alarm = ANY($1::bigint[]) GROUP BY alarm
"""
_END: Final = "UPDATE report SET outcome = 'discarded', done = $2 WHERE alarm = ANY($1::bigint[]) AND outcome IS NULL"
_HANDLED: Final = """
UPDATE report SET handled = 'discarded' WHERE alarm = ANY($1::bigint[]) AND outcome = 'dead' AND handled IS NULL
"""
_CLOSED: Final = """
UPDATE alarm SET status = 'resolved', ends = CASE WHEN status = 'firing' THEN $2 ELSE ends END, pending = 0, due = NULL,
                 lease_until = NULL, lease_owner = NULL
WHERE id = ANY($1::bigint[]) AND (pending > 0 OR status = 'firing')
"""
_HAND_OVER: Final = "UPDATE alarm SET integration = $2 WHERE id = ANY($1::bigint[])"
_THEIR_REPORTS: Final = "UPDATE report SET integration = $2 WHERE alarm = ANY($1::bigint[])"
_SUPERSEDE: Final = "UPDATE report SET outcome = 'superseded', done = $2 WHERE seq = ANY($1::bigint[])"
_ONE_EPISODE: Final = "UPDATE report SET coc_alarm_id = $2 WHERE alarm = $1 AND outcome IS NULL"
_TOLD: Final = "UPDATE report SET kind = 'alarm' WHERE seq = $1"
_EPISODES: Final = "UPDATE report SET episode = episode + $2 WHERE alarm = $1"
_JOIN: Final = "UPDATE report SET integration = $2, alarm = $3 WHERE alarm = $1"
_RAW: Final = "SELECT raw FROM report WHERE seq = $1"
_OWE: Final = """
INSERT INTO report (integration, alarm, episode, kind, coc_alarm_id, raw, received, webhook, body)
VALUES ($1, $2, $3, $4, $5, $6, $7, 0, $8)
"""
# Of the newer and of the moved row, either of which may be the one that is written.
_WRITE: Final = """
UPDATE alarm a SET integration = $4, episode = $5, coc_alarm_id = $6, starts = $7, pending = $8::bigint, priority = $9,
    last_accepted_at = $10, earlier_episode = $11, earlier_outcome = $12, maybe_sent_episode = $13, fell_back = $14,
    accepted_body = $15, accepted_status = $16, accepted_at = $17, accepted_episode = $18, changed = n.changed,
    status = n.status, ends = n.ends, content = n.content,
    revision = n.revision, origin = n.origin, receiver = n.receiver, reconciled = n.reconciled, labels = n.labels,
    first_seen = least(a.first_seen, m.first_seen), last_seen = greatest(a.last_seen, $19::bigint),
    conflicts = a.conflicts + CASE WHEN m.id = a.id THEN 0 ELSE m.conflicts END,
    due = CASE WHEN $8::bigint > 0 THEN coalesce(least(a.due, m.due), now()) END
FROM alarm n, alarm m WHERE n.id = $1 AND m.id = $2 AND a.id = $3
"""
_FORGET: Final = "DELETE FROM alarm WHERE id = $1"


class _Held(NamedTuple):
    """A locked row with what its reports are."""

    row: Row
    side: Side
    letters: int


class _Taken(NamedTuple):
    """What a moved alarm became, and the one of the other integration before, if it had one."""

    moved: _Held
    after: Alarm
    before: Alarm | None
    owed: bool


@dataclass(frozen=True, slots=True)
class PostgresMoving:
    database: Database
    counts: RunningCounts
    seen: SeenLater

    async def held(self, integration: str) -> list[int]:
        async with self.database.read() as connection:
            return [row["id"] for row in await connection.fetch(_HELD, integration)]

    @retried
    async def discard_alarms(self, integration: str, ids: Sequence[int], now: Micros) -> Removed:
        async with self.database.write() as connection:
            held = await self._lock(connection, integration, ids, "", [])
            still = [one.row["id"] for one in held]
            await connection.execute(_END, still, now)
            await connection.execute(_HANDLED, still)
            await connection.execute(_CLOSED, still, now)
        removed = Removed()
        for one in held:
            pending, refreshing, is_open = _sums(one.side.alarm)
            changed = bool(pending or is_open or one.letters)
            removed = removed.plus(Removed(changed, is_open, pending, one.letters))
            self.counts.add(integration, pending=-pending, refreshing=-refreshing, open_alarms=-is_open)
        return removed

    @retried
    async def move_alarms(self, integration: str, ids: Sequence[int], to: str, now: Micros) -> Removed:
        async with self.database.write() as connection:
            keys = [row["key"] for row in await connection.fetch(_KEYS, integration, ids)]
            rows = await self._lock(connection, integration, ids, to, keys)
            others = {one.side.alarm.fingerprint: one for one in rows if one.row["integration"] == to}
            moved = [one for one in rows if one.row["integration"] == integration]
            plain: list[int] = []
            changes = []
            for one in moved:
                other = others.get(one.side.alarm.fingerprint)
                result = merged(one.side, other.side if other else None)
                if other is None and result.alarm is one.side.alarm:
                    plain.append(one.row["id"])
                else:
                    await _write(connection, one, other, result, to, now)
                before = other.side.alarm if other else None
                changes.append(_Taken(one, result.alarm, before, result.owed is not None))
            await connection.execute(_HAND_OVER, plain, to)
            await connection.execute(_THEIR_REPORTS, plain, to)
        for one in moved:
            if other := others.get(one.side.alarm.fingerprint):
                self.seen.joined(other.row["id"], one.side.last_seen)
        return self._counted(changes, integration, to)

    async def _lock(
        self, connection: Connection, integration: str, ids: Sequence[int], to: str, keys: Sequence[bytes]
    ) -> list[_Held]:
        """Those of the alarms that the integration has still, and those of `to` with these keys."""
        rows = await connection.fetch(_LOCK, integration, ids, to, keys)
        reports = {row["alarm"]: row for row in await connection.fetch(_REPORTS, [row["id"] for row in rows])}
        return [self._held_of(row, reports.get(row["id"])) for row in rows]

    def _held_of(self, row: Row, reports: Row | None) -> _Held:
        earlier = row["earlier_episode"], outcome_of(row["earlier_outcome"])
        state = AlarmState(row["pending"], accepted_of(row), *earlier, row["maybe_sent_episode"], row["fell_back"])
        last_seen = max(row["last_seen"], self.seen.last(row["id"]))
        if reports is None:
            return _Held(row, Side(alarm_of(row), state, last_seen), 0)
        waiting = tuple(zip(reports["seqs"], map(Kind, reports["kinds"]), strict=True))
        claimed = waiting[0][0] if row["leased"] and waiting else 0
        sent = max(reports["last_sent"] or 0, claimed)
        return _Held(
            row, Side(alarm_of(row), state, last_seen, reports["last_owed"], sent, waiting), reports["letters"]
        )

    def _counted(self, changes: Sequence[_Taken], integration: str, to: str) -> Removed:
        removed = Removed()
        for (_, side, letters), after, before, owed in changes:
            pending, refreshing, is_open = _sums(side.alarm)
            (taken, taken_refreshing, taken_open), (had, had_refreshing, had_open) = _sums(after), _sums(before)
            step = Removed(1, is_open, pending, letters, taken_open - had_open, taken - had, owed)
            removed = removed.plus(step)
            self.counts.add(integration, pending=-pending, refreshing=-refreshing, open_alarms=-is_open)
            difference = taken_refreshing - had_refreshing
            self.counts.add(to, pending=step.taken_reports, refreshing=difference, open_alarms=step.taken_open)
        return removed


def _sums(alarm: Alarm | None) -> tuple[int, int, int]:
    """Pending reports, refreshing and open alarms."""
    return (alarm.pending, alarm.refreshing, alarm.status is Status.FIRING) if alarm else (0, 0, 0)


async def _write(
    connection: Connection, moved: _Held, other: _Held | None, result: Merged, to: str, now: Micros
) -> None:
    newest = moved if result.moved_is_newer or other is None else other
    from_, into = moved.row["id"], (other or moved).row["id"]
    raw = await connection.fetchval(_RAW, newest.side.last_owed)
    await connection.execute(_SUPERSEDE, list(result.superseded), now)
    if result.one_episode:
        await connection.execute(_ONE_EPISODE, from_, result.alarm.coc_alarm_id)
    if result.told_as_alarm:
        await connection.execute(_TOLD, result.told_as_alarm)
    if other is not None:
        await connection.execute(_EPISODES, from_, result.moved_episodes)
        await connection.execute(_EPISODES, into, result.other_episodes)
    await connection.execute(_JOIN, from_, to, into)
    alarm = result.alarm
    if result.owed is not None:
        labels = labels_from_json(newest.row["labels"])
        kind, (stored, body) = result.owed.value, owed_again(newest.side, labels, raw)
        await connection.execute(_OWE, to, into, alarm.episode, kind, alarm.coc_alarm_id, stored, now, body)
    last_seen = max(one.side.last_seen for one in (moved, other) if one is not None)
    await connection.execute(_WRITE, newest.row["id"], from_, into, to, *_columns(result), last_seen)
    if other is not None:
        await connection.execute(_FORGET, from_)


def _columns(result: Merged) -> tuple[object, ...]:
    """episode to accepted_episode."""
    alarm, (_, accepted, *others) = result.alarm, result.state
    state = alarm.episode, alarm.coc_alarm_id, alarm.starts, alarm.pending, alarm.priority, alarm.last_accepted_at
    return (*state, *others, *accepted_columns(accepted))

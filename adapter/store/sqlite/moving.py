"""Alarms of an integration that left adapter.yml: discarded, or moved to another one as `store.moving` decides."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final
from zlib import crc32

from adapter.alarm import Alarm, Status
from adapter.clock import Micros
from adapter.store.moving import Merged, Side, merged
from adapter.store.records import ACCEPTED_COLUMNS, ALARM_COLUMNS, accepted_of, alarm_of, outcome_of
from adapter.store.settlement import AlarmState
from adapter.store.sqlite.claims import SqliteClaims
from adapter.store.sqlite.reader import Reader
from adapter.store.sqlite.writer import Writer
from adapter.store.views import Removed

# Statements are put together from constants alone, which is why S608 is off for them.
_HELD: Final = "SELECT id FROM alarm WHERE integration = ? ORDER BY id"
_ALARM: Final = f"""SELECT alarm.id, alarm.integration, {ALARM_COLUMNS}, {ACCEPTED_COLUMNS}, alarm.earlier_episode,
    alarm.earlier_outcome, alarm.maybe_sent_episode FROM alarm WHERE {{}}"""  # noqa: S608
_BY_ID: Final = _ALARM.format("alarm.id = ?")
_BY_NAME: Final = _ALARM.format("alarm.integration = ? AND alarm.fingerprint = ?")
_TRIED: Final = """SELECT 1 FROM report
    WHERE alarm = ? AND (attempts > 0 OR (outcome IS NOT NULL AND outcome <> 'superseded')) LIMIT 1"""
_LETTERS: Final = "SELECT count(*) FROM report WHERE alarm = ? AND outcome = 'dead' AND handled IS NULL"
_END: Final = "UPDATE report SET outcome = ?, done = ? WHERE alarm = ? AND outcome IS NULL"
_HANDLED: Final = "UPDATE report SET handled = 'discarded' WHERE alarm = ? AND outcome = 'dead' AND handled IS NULL"
_CLOSED: Final = """UPDATE alarm SET status = 'resolved', ends = iif(status = 'firing', ?, ends), pending = 0,
    head = NULL WHERE id = ?"""
_NOTHING_WAITS: Final = "UPDATE alarm SET head = NULL WHERE id = ?"
_HAND_OVER: Final = "UPDATE alarm SET integration = ? WHERE id = ?"
_REPORTS: Final = "UPDATE report SET integration = ?, alarm = ? WHERE alarm = ?"
_EPISODES: Final = "UPDATE report SET episode = episode + ? WHERE alarm = ?"
_MERGED: Final = """UPDATE alarm SET episode = ?, pending = ?, priority = ?, last_accepted_at = ?, earlier_episode = ?,
    earlier_outcome = ?, maybe_sent_episode = ?, accepted_body = ?, accepted_status = ?, accepted_at = ?,
    accepted_crc = ?, head = (SELECT min(seq) FROM report WHERE alarm = alarm.id AND outcome IS NULL),
    due_at = ifnull((SELECT min(either.due_at) FROM alarm AS either
                     WHERE either.id IN (alarm.id, ?) AND either.head IS NOT NULL), due_at),
    first_seen = min(first_seen, (SELECT moved.first_seen FROM alarm AS moved WHERE moved.id = ?)),
    conflicts = conflicts + (SELECT moved.conflicts FROM alarm AS moved WHERE moved.id = ?) WHERE id = ?"""
_FORGET: Final = "DELETE FROM alarm WHERE id = ?"
_SUMS: Final = """INSERT INTO sums (integration, pending, refreshing, open_alarms, dead) VALUES (?, ?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET pending = pending + excluded.pending, refreshing = refreshing + excluded.refreshing,
    open_alarms = open_alarms + excluded.open_alarms, dead = dead + excluded.dead"""


@dataclass(frozen=True, slots=True)
class SqliteMoving:
    writer: Writer
    reader: Reader
    claims: SqliteClaims
    check_place: Callable[[], None]

    async def held(self, integration: str) -> list[int]:
        return await self.reader.call(_held, integration)

    async def discard_alarms(self, ids: Sequence[int], now: Micros) -> Removed:
        return await self.writer.call(self._each, ids, partial(_discard, now=now))

    async def move_alarms(self, ids: Sequence[int], to: str, now: Micros) -> Removed:
        async with self.claims.claiming:  # a claim under way may be of an alarm whose queue changes
            return await self.writer.call(self._each, ids, partial(self._move, to=to, now=now))

    def _each(
        self, connection: sqlite3.Connection, ids: Sequence[int], change: Callable[[sqlite3.Connection, int], Removed]
    ) -> Removed:
        self.check_place()
        removed = Removed()
        for id_ in ids:
            removed = removed.plus(change(connection, id_))
        return removed

    def _move(self, connection: sqlite3.Connection, id_: int, to: str, now: Micros) -> Removed:
        row = connection.execute(_BY_ID, (id_,)).fetchone()
        if row is None or row["integration"] == to:
            return Removed()
        alarm, letters = alarm_of(row), _letters(connection, id_)
        existing = connection.execute(_BY_NAME, (to, alarm.fingerprint)).fetchone()
        if existing is None:
            connection.execute(_HAND_OVER, (to, id_))
            connection.execute(_REPORTS, (to, id_, id_))
            taken, before = alarm, None
        else:
            taken, before = self._merge(connection, row, existing, now), alarm_of(existing)
        _add(connection, row["integration"], None, alarm, -letters)
        _add(connection, to, taken, before, letters)
        return Removed(
            alarms=1,
            open_alarms=alarm.status is Status.FIRING,
            reports=alarm.pending,
            dead_letters=letters,
            taken_open=(taken.status is Status.FIRING) - (before is not None and before.status is Status.FIRING),
            taken_reports=taken.pending - (before.pending if before else 0),
        )

    def _merge(self, connection: sqlite3.Connection, row: sqlite3.Row, existing: sqlite3.Row, now: Micros) -> Alarm:
        moved, other = row["id"], existing["id"]
        tried = connection.execute(_TRIED, (other,)).fetchone() is not None
        sent = tried or other in self.claims.reports.copy().values()
        result = merged(_side(row, sent=True), _side(existing, sent=sent))
        if result.superseded:
            connection.execute(_END, ("superseded", now, moved))
            connection.execute(_NOTHING_WAITS, (moved,))
        connection.execute(_EPISODES, (result.first_episode, other))
        connection.execute(_REPORTS, (existing["integration"], other, moved))
        connection.execute(_MERGED, (*_merged_columns(result), moved, moved, moved, other))
        connection.execute(_FORGET, (moved,))
        return result.alarm


def _held(connection: sqlite3.Connection, integration: str) -> list[int]:
    return [id_ for (id_,) in connection.execute(_HELD, (integration,))]


def _letters(connection: sqlite3.Connection, alarm: int) -> int:
    found: int = connection.execute(_LETTERS, (alarm,)).fetchone()[0]
    return found


def _side(row: sqlite3.Row, *, sent: bool) -> Side:
    earlier = row["earlier_episode"], outcome_of(row["earlier_outcome"])
    state = AlarmState(row["pending"], accepted_of(row), *earlier, row["maybe_sent_episode"])
    return Side(alarm_of(row), state, sent)


def _merged_columns(result: Merged) -> tuple[object, ...]:
    """episode to accepted_crc."""
    alarm, (_, accepted, *others) = result.alarm, result.state
    body = (accepted.body, accepted.status, accepted.at, crc32(accepted.body)) if accepted else (None,) * 4
    return alarm.episode, alarm.pending, alarm.priority, alarm.last_accepted_at, *others, *body


def _discard(connection: sqlite3.Connection, id_: int, now: Micros) -> Removed:
    row = connection.execute(_BY_ID, (id_,)).fetchone()
    if row is None:
        return Removed()
    alarm, letters = alarm_of(row), _letters(connection, id_)
    open_alarms = alarm.status is Status.FIRING
    if alarm.pending:
        connection.execute(_END, ("discarded", now, id_))
    if letters:
        connection.execute(_HANDLED, (id_,))
    if alarm.pending or open_alarms:
        connection.execute(_CLOSED, (now, id_))
    _add(connection, row["integration"], None, alarm, -letters)
    changed = bool(alarm.pending or letters or open_alarms)
    return Removed(changed, open_alarms, alarm.pending, letters)


def _add(
    connection: sqlite3.Connection, integration: str, after: Alarm | None, before: Alarm | None, letters: int
) -> None:
    """Add to the sums of an integration what one alarm of it adds now and did not before."""
    new, old = (
        (alarm.pending, alarm.refreshing, alarm.status is Status.FIRING) if alarm else (0, 0, 0)
        for alarm in (after, before)
    )
    difference = [now - then for now, then in zip(new, old, strict=True)]
    connection.execute(_SUMS, (integration, *difference, letters))

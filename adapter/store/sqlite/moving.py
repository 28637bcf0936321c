"""Alarms of an integration that left adapter.yml: discarded, or moved to another one as `store.moving` decides."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final
from zlib import crc32

from adapter.alarm import Alarm, Kind, Status
from adapter.clock import Micros
from adapter.store.last_seen import SeenLater
from adapter.store.moving import Merged, Side, merged, owed_again
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
from adapter.store.sqlite.claims import SqliteClaims
from adapter.store.sqlite.reader import Reader
from adapter.store.sqlite.recovery import checksum
from adapter.store.sqlite.writer import Writer
from adapter.store.views import Removed

# Statements are put together from constants alone, which is why S608 is off for them.
_HELD: Final = "SELECT id FROM alarm WHERE integration = ? ORDER BY id"
_ALARM: Final = f"""SELECT alarm.id, alarm.integration, {ALARM_COLUMNS}, {ACCEPTED_COLUMNS}, alarm.earlier_episode,
    alarm.earlier_outcome, alarm.maybe_sent_episode, alarm.fell_back, alarm.labels, alarm.last_seen
    FROM alarm WHERE {{}}"""  # noqa: S608
_BY_ID: Final = _ALARM.format("alarm.id = ? AND alarm.integration = ?")
_BY_NAME: Final = _ALARM.format("alarm.integration = ? AND alarm.fingerprint = ?")
_WAITING: Final = "SELECT seq, kind FROM report WHERE alarm = ? AND outcome IS NULL ORDER BY seq"
_LAST_OWED: Final = "SELECT max(seq) FROM report WHERE alarm = ?"
_LAST_SENT: Final = """SELECT max(seq) FROM report
    WHERE alarm = ? AND (attempts > 0 OR (outcome IS NOT NULL AND outcome <> 'superseded'))"""
_LETTERS: Final = "SELECT count(*) FROM report WHERE alarm = ? AND outcome = 'dead' AND handled IS NULL"
_END: Final = "UPDATE report SET outcome = ?, done = ? WHERE alarm = ? AND outcome IS NULL AND seq <= ?"
_HANDLED: Final = "UPDATE report SET handled = 'discarded' WHERE alarm = ? AND outcome = 'dead' AND handled IS NULL"
_CLOSED: Final = """UPDATE alarm SET status = 'resolved', ends = iif(status = 'firing', ?, ends), pending = 0,
    head = NULL WHERE id = ?"""
_EPISODES: Final = "UPDATE report SET episode = episode + ? WHERE alarm = ?"
_ONE_EPISODE: Final = "UPDATE report SET coc_alarm_id = ? WHERE alarm = ? AND outcome IS NULL"
_REPORTS: Final = "UPDATE report SET integration = ?, alarm = ? WHERE alarm = ?"
_TOLD: Final = "UPDATE report SET kind = 'alarm' WHERE seq = ?"
_RAW: Final = "SELECT raw FROM report WHERE seq = ?"
_NEXT_SEQ: Final = "UPDATE counter SET seq = seq + 1 RETURNING seq"
_OWE: Final = """INSERT INTO report (seq, integration, alarm, episode, kind, coc_alarm_id, received, webhook, crc, body,
    raw) VALUES (?, ?, ?, ?, ?, ?, ?, 0, ?, ?, ?)"""
_QUEUE: Final = """SELECT min(due_at) FROM alarm WHERE id IN (?, ?)
    AND EXISTS (SELECT 1 FROM report WHERE alarm = alarm.id AND outcome IS NULL)"""
# Of the newer and of the moved row, either of which may be the one that is written.
_WRITE: Final = """UPDATE alarm SET integration = ?, episode = ?, coc_alarm_id = ?, starts = ?, pending = ?,
    priority = ?, last_accepted_at = ?, earlier_episode = ?, earlier_outcome = ?, maybe_sent_episode = ?,
    fell_back = ?, accepted_body = ?, accepted_status = ?, accepted_at = ?, accepted_episode = ?, accepted_crc = ?,
    changed = newer.changed, due_at = ifnull(?, ?),
    head = (SELECT min(seq) FROM report WHERE alarm = alarm.id AND outcome IS NULL),
    status = newer.status, ends = newer.ends, content = newer.content, revision = newer.revision,
    origin = newer.origin, receiver = newer.receiver, reconciled = newer.reconciled, labels = newer.labels,
    first_seen = min(alarm.first_seen, moved.first_seen), last_seen = ?,
    conflicts = alarm.conflicts + iif(moved.id = alarm.id, 0, moved.conflicts)
    FROM alarm AS newer, alarm AS moved WHERE newer.id = ? AND moved.id = ? AND alarm.id = ?"""
_LAST_SEQ: Final = 2**62  # later than any
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
    seen: SeenLater
    tick: Callable[[], int]

    async def held(self, integration: str) -> list[int]:
        return await self.reader.call(_held, integration)

    async def discard_alarms(self, integration: str, ids: Sequence[int], now: Micros) -> Removed:
        return await self.writer.call(self._each, integration, ids, partial(_discard, now=now))

    async def move_alarms(self, integration: str, ids: Sequence[int], to: str, now: Micros) -> Removed:
        seen: dict[int, Micros] = {}

        def committed(removed: Removed) -> Removed:
            for id_, at in seen.items():
                self.seen.joined(id_, at)
            return removed

        move = partial(self._move, to=to, now=now, seen=seen)
        async with self.claims.claiming:  # a claim under way may be of an alarm whose queue changes
            return await self.writer.commit(
                lambda connection: self._each(connection, integration, ids, move), committed
            )

    def _each(
        self,
        connection: sqlite3.Connection,
        integration: str,
        ids: Sequence[int],
        change: Callable[[sqlite3.Connection, sqlite3.Row], Removed],
    ) -> Removed:
        """Change those that the integration has still."""
        self.check_place()
        removed = Removed()
        for id_ in ids:
            row = connection.execute(_BY_ID, (id_, integration)).fetchone()
            if row is not None:
                removed = removed.plus(change(connection, row))
        return removed

    def _move(
        self, connection: sqlite3.Connection, row: sqlite3.Row, to: str, now: Micros, seen: dict[int, Micros]
    ) -> Removed:
        """`seen` gets when the alarm it became was last seen."""
        alarm, letters = alarm_of(row), _letters(connection, row["id"])
        other = connection.execute(_BY_NAME, (to, alarm.fingerprint)).fetchone()
        before = alarm_of(other) if other else None
        moved, others = self._side(connection, row), self._side(connection, other) if other else None
        result = merged(moved, others)
        newest = (row, moved) if result.moved_is_newer or others is None else (other, others)
        self._write(connection, row, other or row, newest, result, to, now)
        seen[(other or row)["id"]] = max(side.last_seen for side in (moved, others) if side is not None)
        _add(connection, row["integration"], None, alarm, -letters)
        _add(connection, to, result.alarm, before, letters)
        return Removed(
            alarms=1,
            open_alarms=alarm.status is Status.FIRING,
            reports=alarm.pending,
            dead_letters=letters,
            taken_open=(result.alarm.status is Status.FIRING) - (before is not None and before.status is Status.FIRING),
            taken_reports=result.alarm.pending - (before.pending if before else 0),
            owed=result.owed is not None,
        )

    def _write(
        self,
        connection: sqlite3.Connection,
        row: sqlite3.Row,
        into: sqlite3.Row,
        newest: tuple[sqlite3.Row, Side],
        result: Merged,
        to: str,
        now: Micros,
    ) -> None:
        """`row` moves; `into` stays, and may be the same one."""
        moved, id_ = row["id"], into["id"]
        raw = connection.execute(_RAW, (newest[1].last_owed,)).fetchone()
        last_seen = max(self._last_seen(row), self._last_seen(into))
        connection.execute(_END, ("superseded", now, moved, max(result.superseded, default=0)))
        if result.one_episode:
            connection.execute(_ONE_EPISODE, (result.alarm.coc_alarm_id, moved))
        connection.execute(_TOLD, (result.told_as_alarm,))
        due_at = connection.execute(_QUEUE, (moved, id_)).fetchone()[0]
        connection.execute(_EPISODES, (result.moved_episodes, moved))
        if moved != id_:
            connection.execute(_EPISODES, (result.other_episodes, id_))
        connection.execute(_REPORTS, (to, id_, moved))
        if result.owed is not None:
            _owe(
                connection,
                id_,
                to,
                result,
                owed_again(newest[1], labels_from_json(newest[0]["labels"]), raw and raw[0]),
                now,
            )
        rows = newest[0]["id"], moved, id_
        connection.execute(_WRITE, (to, *_columns(result), due_at, self.tick(), last_seen, *rows))
        if moved != id_:
            connection.execute(_FORGET, (moved,))

    def _side(self, connection: sqlite3.Connection, row: sqlite3.Row) -> Side:
        id_ = row["id"]
        claimed = [seq for seq, alarm in self.claims.reports.copy().items() if alarm == id_]
        earlier = row["earlier_episode"], outcome_of(row["earlier_outcome"])
        return Side(
            alarm_of(row),
            AlarmState(row["pending"], accepted_of(row), *earlier, row["maybe_sent_episode"], bool(row["fell_back"])),
            self._last_seen(row),
            last_owed=connection.execute(_LAST_OWED, (id_,)).fetchone()[0] or 0,
            last_sent=max(*claimed, connection.execute(_LAST_SENT, (id_,)).fetchone()[0] or 0, 0),
            waiting=tuple([(seq, Kind(kind)) for seq, kind in connection.execute(_WAITING, (id_,))]),
        )

    def _last_seen(self, row: sqlite3.Row) -> Micros:
        written: Micros = row["last_seen"]
        return max(written, self.seen.last(row["id"]))


def _held(connection: sqlite3.Connection, integration: str) -> list[int]:
    return [id_ for (id_,) in connection.execute(_HELD, (integration,))]


def _letters(connection: sqlite3.Connection, alarm: int) -> int:
    found: int = connection.execute(_LETTERS, (alarm,)).fetchone()[0]
    return found


def _owe(
    connection: sqlite3.Connection, id_: int, to: str, result: Merged, stored: tuple[bytes, bytes | None], now: Micros
) -> None:
    (raw, body), alarm, kind = stored, result.alarm, result.owed
    assert kind is not None
    seq = connection.execute(_NEXT_SEQ).fetchone()[0]
    checked = checksum(raw, body), body, raw
    connection.execute(_OWE, (seq, to, id_, alarm.episode, kind.value, alarm.coc_alarm_id, now, *checked))


def _columns(result: Merged) -> tuple[object, ...]:
    """episode to accepted_crc."""
    alarm, (_, accepted, *others) = result.alarm, result.state
    state = alarm.episode, alarm.coc_alarm_id, alarm.starts, alarm.pending, alarm.priority, alarm.last_accepted_at
    return (*state, *others, *accepted_columns(accepted), crc32(accepted.body) if accepted else None)


def _discard(connection: sqlite3.Connection, row: sqlite3.Row, now: Micros) -> Removed:
    id_ = row["id"]
    alarm, letters = alarm_of(row), _letters(connection, id_)
    open_alarms = alarm.status is Status.FIRING
    if alarm.pending:
        connection.execute(_END, ("discarded", now, id_, _LAST_SEQ))
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

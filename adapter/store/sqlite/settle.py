"""Settlements on SQLite: `settlement.apply` decides what each changes, one statement for each kind of row writes it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final
from zlib import crc32

from adapter.alarm import Outcome, Priority
from adapter.clock import SECOND
from adapter.errors import StoreUnavailable
from adapter.store.contract import Settled, Settlement
from adapter.store.records import attempts_to_json, outcome_of, provenance_to_json
from adapter.store.settlement import AlarmState, ReportState, apply
from adapter.store.sqlite.claims import SqliteClaims
from adapter.store.sqlite.database import rows_in, write_many
from adapter.store.sqlite.disk import DiskReserve
from adapter.store.sqlite.writer import Writer
from adapter.store.views import Provenance

_LOAD: Final = """SELECT seq, outcome, done, attempts, refused, attempt_log, alarm.id AS alarm, pending, head, due_at,
    earlier_episode, earlier_outcome, maybe_sent_episode, fell_back, priority
    FROM report JOIN alarm ON alarm.id = report.alarm WHERE seq IN ({})"""
_NEXT: Final = "SELECT min(seq) FROM report WHERE alarm = ? AND seq > ? AND outcome IS NULL"
_REPORT: Final = """UPDATE report SET outcome = ?, done = ?, attempts = ?, refused = ?, attempt_log = ?,
    provenance_body = iif(? IS NULL, provenance_body, ?), provenance = coalesce(?, provenance) WHERE seq = ?"""
_ALARM: Final = """UPDATE alarm SET pending = ?, head = ?, due_at = ?, earlier_episode = ?, earlier_outcome = ?,
    maybe_sent_episode = ?, fell_back = ?, accepted_body = coalesce(?, accepted_body),
    accepted_status = coalesce(?, accepted_status), accepted_at = coalesce(?, accepted_at),
    accepted_episode = coalesce(?, accepted_episode), accepted_crc = coalesce(?, accepted_crc),
    last_accepted_at = coalesce(?, last_accepted_at) WHERE id = ?"""
_SUMS: Final = "SELECT pending, refreshing, open_alarms, dead FROM sums WHERE integration = ?"
_WRITE_SUMS: Final = "UPDATE sums SET pending = ?, refreshing = ?, dead = ? WHERE integration = ?"
_DELETE_OLDEST: Final = """DELETE FROM report WHERE seq IN (SELECT seq FROM report INDEXED BY report_done
    WHERE outcome IS NOT NULL AND outcome <> 'dead' ORDER BY done LIMIT ?)"""


@dataclass(slots=True)
class _Alarm:
    """A row, as the settlements of a batch leave it."""

    id: int
    state: AlarmState  # `accepted` only where a settlement of this batch set it
    head: int | None
    due_at: int
    priority: int
    head_left: bool = False


@dataclass(slots=True)
class _Report:
    """A row, as the settlements of a batch leave it."""

    seq: int
    alarm: _Alarm
    state: ReportState
    attempt_log: str | None
    provenance: Provenance | None = None  # only where a settlement of this batch set it


@dataclass(slots=True)
class _Sums:
    """Of one integration."""

    pending: int
    refreshing: int
    open_alarms: int
    dead: int


@dataclass(frozen=True, slots=True)
class SqliteSettlements:
    """Promises 6 and 7. No other process claims, so every settlement holds its lease."""

    writer: Writer
    claims: SqliteClaims
    reserve: DiskReserve
    tick: Callable[[], int]

    async def settle(self, settlements: Sequence[Settlement]) -> list[Settled]:
        tick = self.tick()

        def committed(settled: list[Settled]) -> list[Settled]:
            self.claims.release(settlements)
            return settled

        return await self.writer.commit(lambda connection: self._settle(connection, settlements, tick), committed)

    def _settle(self, connection: sqlite3.Connection, settlements: Sequence[Settlement], tick: int) -> list[Settled]:
        with suppress(StoreUnavailable):  # a settlement needs no answer about the free space
            self.reserve.measure(connection)
        if self.reserve.reached:
            # A settled report grows by what was sent. The oldest history is deleted, so that a full file can drain.
            connection.execute(_DELETE_OLDEST, (2 * len(settlements),))
        reports = _load(connection, settlements)
        names = {settlement.claim.report.integration for settlement in settlements}
        sums = {name: _Sums(*(connection.execute(_SUMS, (name,)).fetchone() or (0, 0, 0, 0))) for name in names}
        settled = [
            _apply(settlement, reports.get(settlement.claim.report.seq), sums, tick) for settlement in settlements
        ]
        alarms = {report.alarm.id: report.alarm for report in reports.values()}.values()
        write_many(connection, _ALARM, [_alarm_columns(connection, alarm) for alarm in alarms])
        write_many(connection, _REPORT, [_report_columns(report) for report in reports.values()])
        connection.executemany(
            _WRITE_SUMS, [(one.pending, one.refreshing, one.dead, name) for name, one in sums.items()]
        )
        return settled


def _load(connection: sqlite3.Connection, settlements: Sequence[Settlement]) -> dict[int, _Report]:
    alarms: dict[int, _Alarm] = {}
    reports: dict[int, _Report] = {}
    seqs = list({settlement.claim.report.seq: None for settlement in settlements})
    for row in rows_in(connection, _LOAD, seqs):
        (
            seq,
            outcome,
            done,
            attempts,
            refused,
            attempt_log,
            id_,
            pending,
            head,
            due_at,
            episode,
            earlier,
            maybe,
            fell_back,
            *others,
        ) = row
        if id_ not in alarms:
            state = AlarmState(pending, None, episode, outcome_of(earlier), maybe, bool(fell_back))
            alarms[id_] = _Alarm(id_, state, head, due_at, *others)
        report = ReportState(outcome_of(outcome), done or 0, attempts, bool(refused))
        reports[seq] = _Report(seq, alarms[id_], report, attempt_log)
    return reports


def _apply(settlement: Settlement, report: _Report | None, sums: dict[str, _Sums], tick: int) -> Settled:
    """Apply one settlement to the rows; without a report it was pruned long ago."""
    own = sums[settlement.claim.report.integration]
    counted = False
    if report is not None:
        alarm = report.alarm
        alarm.state, report.state, counted, _ = applied = apply(alarm.state, report.state, settlement, lease_held=True)
        report.attempt_log = attempts_to_json(report.attempt_log, settlement.attempts)
        report.provenance = settlement.provenance or report.provenance
        if counted:
            alarm.due_at = tick + int(settlement.delay * SECOND)
        if applied.left:
            alarm.head_left = True
            own.pending -= 1
            own.refreshing -= alarm.priority == Priority.REFRESH and not alarm.state.pending
            own.dead += settlement.outcome is Outcome.DEAD
    return Settled(counted=counted, reasserted=False, pending=own.pending, open_alarms=own.open_alarms)


def _report_columns(report: _Report) -> tuple[object, ...]:
    state, provenance = report.state, report.provenance
    text, body = (provenance_to_json(provenance), provenance.body) if provenance else (None, None)
    return (state.outcome, state.done, state.attempts, state.refused, report.attempt_log, text, body, text, report.seq)


def _alarm_columns(connection: sqlite3.Connection, alarm: _Alarm) -> tuple[object, ...]:
    state, accepted = alarm.state, alarm.state.accepted
    if alarm.head_left:
        alarm.head = connection.execute(_NEXT, (alarm.id, alarm.head)).fetchone()[0] if state.pending else None
    earlier = (state.earlier_episode, state.earlier_outcome)
    taken = (
        (accepted.body, accepted.status, accepted.at, accepted.episode, crc32(accepted.body), accepted.at)
        if accepted
        else (None,) * 6
    )
    others = (state.maybe_sent_episode, state.fell_back)
    return (state.pending, alarm.head, alarm.due_at, *earlier, *others, *taken, alarm.id)

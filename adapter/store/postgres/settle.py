"""Settlements on PostgreSQL: what `settlement.apply` decides, written under the alarms' locks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from adapter.alarm import Kind, Priority
from adapter.clock import Micros
from adapter.store.contract import Settled, Settlement
from adapter.store.postgres.connection import CommitUnknown, Database, columns, retried
from adapter.store.postgres.counts import RunningCounts
from adapter.store.records import (
    ACCEPTED_COLUMNS,
    accepted_columns,
    accepted_of,
    attempts_to_json,
    outcome_of,
    provenance_to_json,
)
from adapter.store.settlement import AlarmState, ReportState, apply

if TYPE_CHECKING:
    from asyncpg import Record as Row

    from adapter.store.postgres.connection import Connection

_ALARMS: Final = f"""
SELECT alarm.id, alarm.pending, {ACCEPTED_COLUMNS}, alarm.earlier_episode, alarm.earlier_outcome,
       alarm.maybe_sent_episode, alarm.fell_back, alarm.priority, alarm.lease_token,
       alarm.lease_until IS NOT NULL AS leased
FROM alarm WHERE id IN (SELECT alarm FROM report WHERE seq = ANY($1::bigint[])) ORDER BY id FOR UPDATE
"""  # noqa: S608
# Read after the alarms are locked; a report is only ever changed under that lock.
_REPORTS: Final = """
SELECT seq, alarm, outcome, done, attempts, refused, attempt_log FROM report WHERE seq = ANY($1::bigint[])
"""
# What COC accepted last, byte by byte, and the alert it came from.
_REASSERT: Final = """
WITH queue AS (UPDATE alarm SET priority = 0 WHERE id = $3)
INSERT INTO report (integration, alarm, episode, kind, coc_alarm_id, raw, received, webhook, body)
SELECT integration, alarm, episode, $1, coc_alarm_id, raw, $2, 0, $4
FROM report WHERE alarm = $3 AND outcome = 'delivered' ORDER BY seq DESC LIMIT 1
RETURNING seq
"""
# A delay ends the lease.
_WRITE: Final = """
WITH settled AS (
    UPDATE report r SET outcome = u.outcome, done = u.done, attempts = u.attempts, refused = u.refused,
                        attempt_log = u.attempt_log, provenance = coalesce(u.provenance, r.provenance),
                        provenance_body = CASE WHEN u.provenance IS NULL THEN r.provenance_body ELSE u.body END
    FROM unnest($1::bigint[], $2::text[], $3::bigint[], $4::bigint[], $5::boolean[], $6::text[], $7::text[],
                $8::bytea[])
      AS u(seq, outcome, done, attempts, refused, attempt_log, provenance, body)
    WHERE r.seq = u.seq)
UPDATE alarm a SET pending = u.pending, accepted_body = u.accepted_body, accepted_status = u.accepted_status,
                   accepted_at = u.accepted_at, last_accepted_at = coalesce(u.accepted_at, a.last_accepted_at),
                   earlier_episode = u.earlier_episode, earlier_outcome = u.earlier_outcome,
                   maybe_sent_episode = u.maybe_sent_episode, fell_back = u.fell_back,
                   accepted_episode = u.accepted_episode,
                   due = CASE WHEN u.pending > 0 THEN coalesce(now() + u.delay * interval '1 s', a.due, now()) END,
                   lease_until = CASE WHEN u.delay IS NULL THEN a.lease_until END,
                   lease_owner = CASE WHEN u.delay IS NULL THEN a.lease_owner END
FROM unnest($9::bigint[], $10::bigint[], $11::bigint[], $12::text[], $13::bigint[], $14::boolean[], $15::bytea[],
            $16::text[], $17::bigint[], $18::bigint[], $19::float8[])
  AS u(id, pending, earlier_episode, earlier_outcome, maybe_sent_episode, fell_back, accepted_body, accepted_status,
       accepted_at, accepted_episode, delay)
WHERE a.id = u.id
"""


@dataclass(slots=True)
class _Alarm:
    """A locked row, as the settlements of a batch leave it."""

    id: int
    state: AlarmState
    token: int
    leased: bool
    priority: int
    delay: float | None = None  # seconds from now until the next report is due; None: the lease is not over

    def row(self) -> tuple[object, ...]:
        pending, accepted, *others = self.state
        return self.id, pending, *others, *accepted_columns(accepted), self.delay


@dataclass(slots=True)
class _Report:
    """A row, as the settlements of a batch leave it."""

    seq: int
    alarm: _Alarm
    state: ReportState
    attempt_log: str | None
    provenance: str | None = None
    provenance_body: bytes | None = None

    def row(self) -> tuple[object, ...]:
        return self.seq, *self.state, self.attempt_log, self.provenance, self.provenance_body


class _Step(NamedTuple):
    """What one settlement did."""

    counted: bool = False
    left: bool = False
    refreshed: bool = False  # what left was a refresh
    reasserted: bool = False


class PostgresSettlements:
    """Promises 6 and 7."""

    def __init__(self, database: Database, counts: RunningCounts) -> None:
        self._database = database
        self._counts = counts
        self._unconfirmed: set[tuple[int, int]] = set()  # (seq, token) of settlements that may be committed already

    async def settle(self, settlements: Sequence[Settlement]) -> list[Settled]:
        batch = {(settlement.claim.report.seq, settlement.claim.token) for settlement in settlements}
        try:
            steps = await self._settle(settlements)
        except CommitUnknown:
            self._unconfirmed |= batch
            raise
        self._unconfirmed -= batch
        return [
            self._settled(settlement.claim.report.integration, step)
            for settlement, step in zip(settlements, steps, strict=True)
        ]

    @retried
    async def _settle(self, settlements: Sequence[Settlement]) -> list[_Step]:
        seqs = [settlement.claim.report.seq for settlement in settlements]
        async with self._database.write() as connection:
            alarms = {row["id"]: _alarm(row) for row in await connection.fetch(_ALARMS, seqs)}
            reports = {row["seq"]: _report(row, alarms) for row in await connection.fetch(_REPORTS, seqs)}
            steps = [
                await self._step(connection, settlement, reports.get(seq))
                for seq, settlement in zip(seqs, settlements, strict=True)
            ]
            if reports:
                report_rows = columns(report.row() for report in reports.values())
                alarm_rows = columns(alarm.row() for alarm in alarms.values())
                await connection.execute(_WRITE, *report_rows, *alarm_rows)
        return steps

    async def _step(self, connection: Connection, settlement: Settlement, report: _Report | None) -> _Step:
        """Apply one settlement to the rows; without a report it was pruned long ago."""
        if report is None:
            return _Step()
        alarm, claim = report.alarm, settlement.claim
        lease_held = alarm.token == claim.token
        if (report.seq, claim.token) in self._unconfirmed and _happened(settlement, report, lease_held=lease_held):
            return _Step(counted=True)
        alarm.state, report.state, counted, reassert = applied = apply(
            alarm.state, report.state, settlement, lease_held=lease_held
        )
        report.attempt_log = attempts_to_json(report.attempt_log, settlement.attempts)
        if settlement.provenance is not None:
            report.provenance = provenance_to_json(settlement.provenance)
            report.provenance_body = settlement.provenance.body
        if counted:
            alarm.delay = settlement.delay
        refreshed = applied.left and alarm.priority == Priority.REFRESH and not alarm.state.pending
        return _Step(counted, applied.left, refreshed, reassert and await _reassert(connection, alarm, settlement.at))

    def _settled(self, integration: str, step: _Step) -> Settled:
        pending, open_alarms = self._counts.add(
            integration, pending=step.reasserted - step.left, refreshing=-step.refreshed
        )
        return Settled(counted=step.counted, reasserted=step.reasserted, pending=pending, open_alarms=open_alarms)


def _alarm(row: Row) -> _Alarm:
    state = AlarmState(
        pending=row["pending"],
        accepted=accepted_of(row),
        earlier_episode=row["earlier_episode"],
        earlier_outcome=outcome_of(row["earlier_outcome"]),
        maybe_sent_episode=row["maybe_sent_episode"],
        fell_back=row["fell_back"],
    )
    return _Alarm(row["id"], state, row["lease_token"], row["leased"], row["priority"])


def _report(row: Row, alarms: dict[int, _Alarm]) -> _Report:
    state = ReportState(
        outcome=outcome_of(row["outcome"]), done=row["done"], attempts=row["attempts"], refused=row["refused"]
    )
    return _Report(row["seq"], alarms[row["alarm"]], state, row["attempt_log"])


def _happened(settlement: Settlement, report: _Report, *, lease_held: bool) -> bool:
    """Whether this settlement was committed, unconfirmed. The alarm may have been claimed for its next report since."""
    if settlement.outcome is None:
        return lease_held and not report.alarm.leased
    return report.state.outcome is settlement.outcome and report.state.done == settlement.at


async def _reassert(connection: Connection, alarm: _Alarm, at: Micros) -> bool:
    """Owe the accepted state again, unless all reports of the alarm are pruned."""
    assert alarm.state.accepted is not None
    body = alarm.state.accepted.body
    if await connection.fetchval(_REASSERT, Kind.REASSERT.value, at, alarm.id, body) is None:
        return False
    alarm.state = alarm.state._replace(pending=1)
    return True

"""Settlements on PostgreSQL: what `settlement.apply` decides, written under the alarms' locks."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from adapter.alarm import Kind
from adapter.clock import Micros
from adapter.store.contract import Settled, Settlement
from adapter.store.postgres.connection import CommitUnknown, Database, retried
from adapter.store.postgres.counts import RunningCounts
from adapter.store.records import ACCEPTED_COLUMNS, accepted_of, attempts_to_json, outcome_of, provenance_to_json
from adapter.store.settlement import AlarmState, ReportState, apply

if TYPE_CHECKING:
    from asyncpg import Record as Row

    from adapter.store.postgres.connection import Connection

_ALARMS: Final = f"""
SELECT alarm.id, alarm.pending, {ACCEPTED_COLUMNS}, alarm.earlier_episode, alarm.earlier_outcome,
       alarm.maybe_sent_episode, alarm.due, alarm.lease_token, alarm.lease_until, alarm.lease_owner, now() AS now
FROM alarm WHERE id IN (SELECT alarm FROM report WHERE seq = ANY($1::bigint[])) ORDER BY id FOR UPDATE
"""  # noqa: S608
# Read after the alarms are locked; a report is only ever changed under that lock.
_REPORTS: Final = """
SELECT seq, alarm, outcome, done, attempts, refused, attempt_log FROM report WHERE seq = ANY($1::bigint[])
"""
# What COC accepted last, byte by byte, and the alert it came from.
_REASSERT: Final = """
INSERT INTO report (integration, alarm, episode, kind, coc_alarm_id, raw, received, webhook, body)
SELECT integration, alarm, episode, $1, coc_alarm_id, raw, $2, 0, $4
FROM report WHERE alarm = $3 AND outcome = 'delivered' ORDER BY seq DESC LIMIT 1
RETURNING seq
"""
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
                   maybe_sent_episode = u.maybe_sent_episode, due = u.due, lease_until = u.lease_until,
                   lease_owner = u.lease_owner
FROM unnest($9::bigint[], $10::bigint[], $11::bytea[], $12::text[], $13::bigint[], $14::bigint[], $15::text[],
            $16::bigint[], $17::timestamptz[], $18::timestamptz[], $19::text[])
  AS u(id, pending, accepted_body, accepted_status, accepted_at, earlier_episode, earlier_outcome, maybe_sent_episode,
       due, lease_until, lease_owner)
WHERE a.id = u.id
"""


@dataclass(slots=True)
class _Alarm:
    """A locked row, as the settlements of a batch leave it. Times are those of the server's clock."""

    id: int
    state: AlarmState
    token: int
    now: datetime
    due: datetime | None
    lease_until: datetime | None
    lease_owner: str | None

    def release(self, delay: float) -> None:
        """End the lease; the next report is due in `delay` seconds."""
        self.due = self.now + timedelta(seconds=delay) if self.state.pending else None
        self.lease_until = self.lease_owner = None


@dataclass(slots=True)
class _Report:
    """A row, as the settlements of a batch leave it."""

    seq: int
    alarm: _Alarm
    state: ReportState
    attempt_log: str | None
    provenance: str | None = None
    provenance_body: bytes | None = None


@dataclass(slots=True)
class _Step:
    """What one settlement did."""

    alarm: _Alarm | None = None  # None: it was pruned long ago
    counted: bool = False
    left: bool = False
    reassert: bool = False


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
            steps = [_step(settlement, reports, self._unconfirmed) for settlement in settlements]
            for step, settlement in zip(steps, settlements, strict=True):
                step.reassert = step.reassert and await _reassert(connection, step.alarm, settlement.at)
            await connection.execute(_WRITE, *_report_columns(reports.values()), *_alarm_columns(alarms.values()))
        return steps

    def _settled(self, integration: str, step: _Step) -> Settled:
        self._counts.add(integration, pending=step.reassert - step.left)
        return Settled(
            counted=step.counted,
            reasserted=step.reassert,
            pending=self._counts.pending(integration),
            open_alarms=self._counts.open_alarms(integration),
        )


def _alarm(row: Row) -> _Alarm:
    state = AlarmState(
        pending=row["pending"],
        accepted=accepted_of(row),
        earlier_episode=row["earlier_episode"],
        earlier_outcome=outcome_of(row["earlier_outcome"]),
        maybe_sent_episode=row["maybe_sent_episode"],
    )
    return _Alarm(row["id"], state, row["lease_token"], row["now"], row["due"], row["lease_until"], row["lease_owner"])


def _report(row: Row, alarms: dict[int, _Alarm]) -> _Report:
    state = ReportState(
        outcome=outcome_of(row["outcome"]), done=row["done"], attempts=row["attempts"], refused=row["refused"]
    )
    return _Report(row["seq"], alarms[row["alarm"]], state, row["attempt_log"])


def _step(settlement: Settlement, reports: dict[int, _Report], unconfirmed: Collection[tuple[int, int]]) -> _Step:
    """Apply one settlement to the rows."""
    claim = settlement.claim
    report = reports.get(claim.report.seq)
    if report is None:
        return _Step()
    alarm = report.alarm
    lease_held = alarm.token == claim.token
    if (report.seq, claim.token) in unconfirmed and _happened(settlement, report, lease_held=lease_held):
        return _Step(alarm, counted=True)
    applied = apply(alarm.state, report.state, settlement, lease_held=lease_held)
    alarm.state, report.state = applied.alarm, applied.report
    report.attempt_log = attempts_to_json(report.attempt_log, settlement.attempts)
    if settlement.provenance is not None:
        report.provenance = provenance_to_json(settlement.provenance)
        report.provenance_body = settlement.provenance.body
    if applied.counted:
        alarm.release(settlement.delay)
    return _Step(alarm, applied.counted, applied.left, applied.reassert)


def _happened(settlement: Settlement, report: _Report, *, lease_held: bool) -> bool:
    """Whether this settlement was committed, unconfirmed. The alarm may have been claimed for its next report since."""
    if settlement.outcome is None:
        return lease_held and report.alarm.lease_until is None
    return report.state.outcome is settlement.outcome and report.state.done == settlement.at


async def _reassert(connection: Connection, alarm: _Alarm | None, at: Micros) -> bool:
    """Owe the accepted state again, unless something else is owed meanwhile, or all its reports are pruned."""
    if alarm is None or alarm.state.pending or alarm.state.accepted is None:
        return False
    body = alarm.state.accepted.body
    if await connection.fetchval(_REASSERT, Kind.REASSERT.value, at, alarm.id, body) is None:
        return False
    alarm.state = alarm.state._replace(pending=1)
    alarm.due = alarm.due or alarm.now
    return True


def _report_columns(reports: Collection[_Report]) -> list[list[object]]:
    return [
        [report.seq for report in reports],
        [report.state.outcome for report in reports],
        [report.state.done for report in reports],
        [report.state.attempts for report in reports],
        [report.state.refused for report in reports],
        [report.attempt_log for report in reports],
        [report.provenance for report in reports],
        [report.provenance_body for report in reports],
    ]


def _alarm_columns(alarms: Collection[_Alarm]) -> list[list[object]]:
    accepted = [alarm.state.accepted for alarm in alarms]
    return [
        [alarm.id for alarm in alarms],
        [alarm.state.pending for alarm in alarms],
        [one.body if one else None for one in accepted],
        [one.status if one else None for one in accepted],
        [one.at if one else None for one in accepted],
        [alarm.state.earlier_episode for alarm in alarms],
        [alarm.state.earlier_outcome for alarm in alarms],
        [alarm.state.maybe_sent_episode for alarm in alarms],
        [alarm.due for alarm in alarms],
        [alarm.lease_until for alarm in alarms],
        [alarm.lease_owner for alarm in alarms],
    ]

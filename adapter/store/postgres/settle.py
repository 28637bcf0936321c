"""`settle` on PostgreSQL: plain statements under the alarms' locks, and one decision in Python between them.

Whoever settles with an older token than the alarm's was too late: the report was given to another worker meanwhile.
Nothing of its outcome counts then; and as COC may have heard of the old state last, the last accepted state is owed
again, unless something else is.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from adapter.alarm import Accepted, Kind
from adapter.clock import Micros
from adapter.store.contract import Settled, Settlement
from adapter.store.postgres.connection import Link
from adapter.store.postgres.counts import RunningCounts
from adapter.store.postgres.rows import accepted_of, key_of
from adapter.store.records import attempts_to_json, provenance_to_json

if TYPE_CHECKING:
    from asyncpg import Record as Row

    from adapter.store.postgres.connection import Connection

_LOCK: Final = """
SELECT a.id, a.integration, a.key, a.pending, a.lease_token, a.lease_until IS NOT NULL AS leased,
       a.accepted_body, a.accepted_status, a.accepted_at, a.earlier_episode, a.earlier_outcome, a.maybe_sent_episode,
       a.last_accepted_at
FROM unnest($1::text[], $2::bytea[]) AS u(integration, key) JOIN alarm a USING (integration, key)
ORDER BY a.id FOR UPDATE OF a
"""
_REPORTS: Final = (
    "SELECT seq, outcome, done, attempts, refused, attempt_log AS log FROM report WHERE seq = ANY($1::bigint[])"
)
_SETTLE: Final = """
UPDATE report r SET outcome = u.outcome, done = u.done, attempts = u.attempts, refused = u.refused, attempt_log = u.log,
                    provenance = coalesce(u.made, r.provenance),
                    provenance_body = CASE WHEN u.made IS NULL THEN r.provenance_body ELSE u.made_body END
FROM unnest($1::bigint[], $2::text[], $3::bigint[], $4::bigint[], $5::boolean[], $6::text[], $7::text[], $8::bytea[])
  AS u(seq, outcome, done, attempts, refused, log, made, made_body)
WHERE r.seq = u.seq
"""
_RELEASE: Final = """
UPDATE alarm a SET pending = u.pending, accepted_body = u.body, accepted_status = u.status, accepted_at = u.at,
                   last_accepted_at = u.heard, earlier_episode = u.episode, earlier_outcome = u.outcome,
                   maybe_sent_episode = u.doubt,
                   due = CASE WHEN u.pending = 0 THEN NULL
                              WHEN u.delay IS NULL THEN coalesce(a.due, now())
                              ELSE now() + u.delay * interval '1 s' END,
                   lease_until = CASE WHEN u.delay IS NULL THEN a.lease_until END,
                   lease_owner = CASE WHEN u.delay IS NULL THEN a.lease_owner END
FROM unnest($1::bigint[], $2::bigint[], $3::bytea[], $4::text[], $5::bigint[], $6::bigint[], $7::bigint[], $8::text[],
            $9::bigint[], $10::float8[])
  AS u(id, pending, body, status, at, heard, episode, outcome, doubt, delay)
WHERE a.id = u.id
"""
# What COC accepted last, word for word, and the alert it was made of.
_REASSERT: Final = """
INSERT INTO report (integration, alarm, episode, kind, coc_alarm_id, raw, crc, received, webhook, body)
SELECT r.integration, r.alarm, r.episode, $1, r.coc_alarm_id, r.raw, r.crc, $2, 0, $4
FROM report r WHERE r.alarm = $3 AND r.outcome = 'delivered' ORDER BY r.seq DESC LIMIT 1
RETURNING seq
"""


@dataclass(slots=True)
class _Alarm:
    """A locked row, as the settlements of a batch leave it behind."""

    id: int
    pending: int
    token: int
    leased: bool
    accepted: Accepted | None
    heard: Micros
    earlier_episode: int
    earlier_outcome: str | None
    doubt_episode: int
    delay: float | None = None  # seconds from now; None: its place in the line is not ours to change


@dataclass(slots=True)
class _Report:
    seq: int
    outcome: str | None
    done: Micros
    attempts: int
    refused: bool
    log: str | None
    made: str | None = None
    made_body: bytes | None = None


Tried = Collection[tuple[int, int]]
"""(seq, token) of settlements whose commit was not confirmed: they may have happened already."""


async def settle(link: Link, settlements: Sequence[Settlement], tried: Tried, counts: RunningCounts) -> list[Settled]:
    """Promise 7."""
    async with link.write() as connection:
        alarms, reports = await _locked(connection, settlements)
        steps = [_settle(alarms, reports, settlement, tried) for settlement in settlements]
        await _write_reports(connection, list(reports.values()))
        reasserted = [
            lost and await _reassert(connection, alarms[_key(settlement)], settlement.at)
            for (_, _, lost), settlement in zip(steps, settlements, strict=True)
        ]
        await _write_alarms(connection, list(alarms.values()))
    return [
        _settled(settlement.claim.report.integration, counted, left, again, counts)
        for settlement, (counted, left, _), again in zip(settlements, steps, reasserted, strict=True)
    ]


def _settle(
    alarms: dict[tuple[str, bytes], _Alarm], reports: dict[int, _Report], settlement: Settlement, tried: Tried
) -> tuple[bool, bool, bool]:
    """PURE but for the records it changes: (counted, left the pending ones, the lease was lost with nothing behind)."""
    claim, report = settlement.claim, reports.get(settlement.claim.report.seq)
    alarm = alarms.get(_key(settlement))
    if alarm is None or report is None:
        return False, False, False  # pruned long ago
    ours = alarm.token == claim.token
    if (report.seq, claim.token) in tried and _happened(settlement, report, free=ours and not alarm.leased):
        return True, False, False
    report.attempts += len(settlement.attempts)
    report.refused |= settlement.refused
    report.log = attempts_to_json(report.log, settlement.attempts)
    if settlement.provenance is not None:
        report.made, report.made_body = provenance_to_json(settlement.provenance), settlement.provenance.body
    if settlement.accepted is None and any(attempt.ambiguous for attempt in settlement.attempts):
        alarm.doubt_episode = claim.report.episode
    # What a worker without its lease heard from COC may be older than what is known by now.
    if settlement.accepted is not None and (ours or alarm.accepted is None):
        alarm.accepted, alarm.heard = settlement.accepted, settlement.accepted.at
    if settlement.accepted is not None and ours and alarm.doubt_episode == claim.report.episode:
        alarm.doubt_episode = 0
    if not (ours and alarm.leased and report.outcome is None):
        sent = bool(settlement.attempts) or settlement.accepted is not None
        if sent and not ours:  # COC may have heard this after what the others sent
            alarm.doubt_episode = max(alarm.doubt_episode, claim.report.episode)
        return False, False, sent and not ours and alarm.pending == 0
    alarm.leased, alarm.delay = False, settlement.delay
    if settlement.outcome is None:
        return True, False, False
    report.outcome, report.done = settlement.outcome.value, settlement.at
    alarm.earlier_episode, alarm.earlier_outcome = claim.report.episode, settlement.outcome.value
    alarm.pending -= 1
    return True, True, False


def _happened(settlement: Settlement, report: _Report, *, free: bool) -> bool:
    """Whether this settlement was committed, unconfirmed. The alarm may have been claimed for its next report since."""
    if settlement.outcome is None:
        return free
    return report.outcome == settlement.outcome.value and report.done == settlement.at


def _settled(integration: str, counted: bool, left: bool, reasserted: bool, counts: RunningCounts) -> Settled:
    counts.add(integration, pending=reasserted - left)
    return Settled(
        counted=counted,
        reasserted=reasserted,
        pending=counts.pending(integration),
        open_alarms=counts.open_alarms(integration),
    )


def _key(settlement: Settlement) -> tuple[str, bytes]:
    report = settlement.claim.report
    return report.integration, key_of(report.fingerprint)


async def _locked(
    connection: Connection, settlements: Sequence[Settlement]
) -> tuple[dict[tuple[str, bytes], _Alarm], dict[int, _Report]]:
    keys = list(dict.fromkeys(_key(settlement) for settlement in settlements))
    rows = await connection.fetch(_LOCK, [name for name, _ in keys], [key for _, key in keys])
    alarms = {(row["integration"], row["key"]): _alarm(row) for row in rows}
    # Read after the locks, and only ever changed under them.
    rows = await connection.fetch(_REPORTS, [settlement.claim.report.seq for settlement in settlements])
    return alarms, {row["seq"]: _Report(**row) for row in rows}


def _alarm(row: Row) -> _Alarm:
    return _Alarm(
        id=row["id"],
        pending=row["pending"],
        token=row["lease_token"],
        leased=row["leased"],
        accepted=accepted_of(row),
        heard=row["last_accepted_at"],
        earlier_episode=row["earlier_episode"],
        earlier_outcome=row["earlier_outcome"],
        doubt_episode=row["maybe_sent_episode"],
    )


async def _write_reports(connection: Connection, reports: list[_Report]) -> None:
    await connection.execute(
        _SETTLE,
        [row.seq for row in reports],
        [row.outcome for row in reports],
        [row.done for row in reports],
        [row.attempts for row in reports],
        [row.refused for row in reports],
        [row.log for row in reports],
        [row.made for row in reports],
        [row.made_body for row in reports],
    )


async def _reassert(connection: Connection, alarm: _Alarm, at: Micros) -> bool:
    if alarm.pending or alarm.accepted is None:
        return False
    seq = await connection.fetchval(_REASSERT, Kind.REASSERT.value, at, alarm.id, alarm.accepted.body)
    if seq is None:
        return False  # all its reports are pruned: too long ago to matter
    alarm.pending += 1
    return True


async def _write_alarms(connection: Connection, alarms: list[_Alarm]) -> None:
    await connection.execute(
        _RELEASE,
        [row.id for row in alarms],
        [row.pending for row in alarms],
        [row.accepted.body if row.accepted else None for row in alarms],
        [row.accepted.status if row.accepted else None for row in alarms],
        [row.accepted.at if row.accepted else None for row in alarms],
        [row.heard for row in alarms],
        [row.earlier_episode for row in alarms],
        [row.earlier_outcome for row in alarms],
        [row.doubt_episode for row in alarms],
        [row.delay for row in alarms],
    )

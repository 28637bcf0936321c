"""Webhooks into PostgreSQL: one transaction each, and one statement a kind of row, however many alerts it has.

The plan is made twice. First on the alarms as they are committed, without a lock: mostly nothing changes, and then
nothing is locked or written. Then again under the locks of the alarms that change; a new alarm is locked by inserting
it. Locks are taken in one order everywhere, so that no two transactions wait for each other: new alarms by key, known
alarms by id.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

from adapter.alarm import Alarm, Outcome
from adapter.alertmanager import REJECTS_KEPT, Reject, pack
from adapter.clock import Micros
from adapter.store.backlog import Backlog
from adapter.store.contract import Intake, Receipt
from adapter.store.last_seen import SeenLater, UnderWay
from adapter.store.plan import ChangedAlarm, Plan, accept_result, check_backlog, plan_of
from adapter.store.postgres.connection import Database, TryAgain, columns, retried
from adapter.store.postgres.counts import RunningCounts
from adapter.store.records import ALARM_COLUMNS, alarm_of, labels_to_json
from adapter.store.tables import check_kept

if TYPE_CHECKING:
    from asyncpg import Record as Row

    from adapter.store.postgres.connection import Connection

T = TypeVar("T")

_FEW: Final = 100  # alerts, about 2 ms; more are worked out in a thread, so that small webhooks need not wait for them
_LONGEST_KEY: Final = 255  # bytes; an entry of the index holds 2,700

# Statements are put together from constants alone, which is why S608 is off for them.
_KNOWN: Final = (
    f"SELECT alarm.id, alarm.last_seen, {ALARM_COLUMNS} FROM alarm WHERE integration = $1 AND key = ANY($2::bytea[])"  # noqa: S608
)
_LOCKED: Final = f"{_KNOWN} ORDER BY alarm.id FOR UPDATE"
_UNTRIED: Final = """
SELECT a.fingerprint, r.seq FROM alarm a CROSS JOIN LATERAL (
    SELECT seq, kind, attempts FROM report WHERE alarm = a.id AND outcome IS NULL ORDER BY seq DESC LIMIT 1) r
WHERE a.id = ANY($1::bigint[]) AND r.kind = 'update' AND r.attempts = 0
  -- claimed is the first pending report of a leased alarm: the last one only where it is the only one
  AND (a.lease_until IS NULL OR a.lease_until < clock_timestamp() OR a.pending > 1)
"""
_NEW: Final = """
INSERT INTO alarm (integration, first_seen, last_seen, due, key, fingerprint, labels, status, episode, coc_alarm_id,
                   starts, ends, content, revision, last_accepted_at, pending, priority, origin, receiver, reconciled,
                   changed)
SELECT $1::text, $2::bigint, $2::bigint, CASE WHEN u.pending > 0 THEN now() END, u.*
FROM unnest($3::bytea[], $4::bytea[], $5::bytea[], $6::text[], $7::bigint[], $8::text[], $9::bigint[], $10::bigint[],
            $11::bytea[], $12::text[], $13::bigint[], $14::bigint[], $15::smallint[], $16::bytea[], $17::bytea[],
            $18::bigint[], $19::bigint[])
  AS u(key, fingerprint, labels, status, episode, coc_alarm_id, starts, ends, content, revision, last_accepted_at,
       pending, priority, origin, receiver, reconciled, changed)
ORDER BY u.key
ON CONFLICT (integration, key) DO NOTHING
RETURNING id, fingerprint
"""
_CHANGE: Final = """
WITH superseded AS (UPDATE report SET outcome = 'superseded', done = $1 WHERE seq = ANY($2::bigint[]))
UPDATE alarm a
SET last_seen = greatest(a.last_seen, $1), labels = u.labels, status = u.status, episode = u.episode,
    coc_alarm_id = u.coc_alarm_id, starts = u.starts, ends = u.ends, content = u.content, revision = u.revision,
    origin = u.origin, receiver = u.receiver, reconciled = u.reconciled, changed = u.changed,
    pending = u.pending, priority = u.priority,
    due = CASE WHEN u.pending = 0 THEN NULL
               WHEN a.priority > u.priority THEN greatest(a.due, now()) ELSE coalesce(a.due, now()) END
FROM unnest($3::bigint[], $4::bytea[], $5::text[], $6::bigint[], $7::text[], $8::bigint[], $9::bigint[], $10::bytea[],
            $11::text[], $12::bigint[], $13::bigint[], $14::smallint[], $15::bytea[], $16::bytea[], $17::bigint[],
            $18::bigint[])
  AS u(id, labels, status, episode, coc_alarm_id, starts, ends, content, revision, last_accepted_at, pending, priority,
       origin, receiver, reconciled, changed)
WHERE a.id = u.id
"""
_LABELS: Final = "SELECT fingerprint, labels FROM alarm WHERE id = ANY($1::bigint[])"
_CONFLICTS: Final = """
UPDATE alarm a SET conflicts = a.conflicts + u.more FROM unnest($1::bigint[], $2::bigint[]) AS u(id, more)
WHERE a.id = u.id
"""
_WEBHOOK: Final = """
WITH sender AS (
    INSERT INTO webhook (integration, received, receiver, group_key, external_url, alerts, owed, truncated, size)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) RETURNING id
), owed AS (
    INSERT INTO report (integration, received, webhook, alarm, episode, kind, coc_alarm_id, raw, outcome, done)
    SELECT $1, $2, sender.id, u.alarm, u.episode, u.kind, u.coc_alarm_id, u.raw, u.outcome, u.done
    FROM sender, unnest($10::bigint[], $11::bigint[], $12::text[], $13::text[], $14::bytea[], $15::text[],
                        $16::bigint[])
      WITH ORDINALITY AS u(alarm, episode, kind, coc_alarm_id, raw, outcome, done, place)
    ORDER BY u.place RETURNING 1
)
SELECT id, (SELECT count(*) FROM owed) AS kept FROM sender
"""
_REJECT: Final = """
INSERT INTO reject (integration, received, reason, head)
SELECT $1::text, $2::bigint, u.* FROM unnest($3::bytea[], $4::bytea[]) AS u RETURNING id
"""
_FORGET: Final = "DELETE FROM reject WHERE id IN (SELECT id FROM reject WHERE id <= $1 FOR UPDATE SKIP LOCKED)"


@dataclass(frozen=True, slots=True)
class PostgresIntake:
    """The IntakeStore: promises 1 to 5 and 8."""

    database: Database
    counts: RunningCounts
    seen: SeenLater
    backlog: Backlog
    under_way: UnderWay = field(default_factory=UnderWay)

    async def accept(self, intake: Intake) -> Receipt:
        taken = self.under_way.begin(intake)
        try:
            return await self._accept(taken)
        finally:
            self.under_way.end(taken)

    @retried
    async def _accept(self, intake: Intake) -> Receipt:
        alerts, waiting = intake.webhook.alerts, self.counts.waiting
        known = _Known(self.seen)
        refreshes = self.backlog.has_room(waiting, len(alerts))
        planned = partial(plan_of, intake=intake, last_seen=known.last_seen, refreshes=refreshes)
        async with self.database.write() as connection:
            names = dict.fromkeys(alert.fingerprint for alert in alerts)
            known.add(await connection.fetch(_KNOWN, intake.integration, list(map(key_of, names))))
            plan = await _in_thread_if_many(alerts, lambda: planned(known.alarms))
            webhook = 0
            if plan.alarms or intake.webhook.rejects:
                new = await _lock(connection, intake, plan, known)
                plan = await _in_thread_if_many(alerts, lambda: planned(known.alarms))
                await _compare(connection, plan, known)
                await _supersede(connection, plan, known)
                taken = self.backlog.taken(intake.integration, waiting)
                check_backlog(plan, pending=taken, bound=self.backlog.bound)
                webhook = await _write(connection, intake, plan, known.ids, changed=plan.alarms.keys() - new.keys())
            else:
                await connection.execute("ROLLBACK")
        pending, open_alarms = self.counts.add(
            intake.integration, pending=plan.added, refreshing=plan.refreshing, open_alarms=plan.opened
        )
        result = accept_result(plan, intake, known.ids, webhook=webhook, pending=pending, open_alarms=open_alarms)
        self.seen.add(result.seen)
        return result.receipt

    async def reject(self, integration: str, received: Micros, rejects: Sequence[Reject]) -> None:
        async with self.database.write() as connection:
            await _write_rejects(connection, integration, received, rejects)


def key_of(fingerprint: str) -> bytes:
    """What identifies an alarm in the index: the fingerprint, or its digest where it is too long for the index."""
    text = fingerprint.encode(errors="replace")
    return text if len(text) <= _LONGEST_KEY else b"sha256:" + hashlib.sha256(text).digest()


@dataclass(slots=True)
class _Known:
    """Alarms by fingerprint, and the ids of their rows."""

    seen: SeenLater
    written: dict[str, Micros] = field(default_factory=dict)  # when they were last seen, as of their rows
    alarms: dict[str, Alarm] = field(default_factory=dict)
    ids: dict[str, int] = field(default_factory=dict)

    def add(self, rows: Iterable[Row]) -> None:
        for row in rows:
            alarm = alarm_of(row)
            self.alarms[alarm.fingerprint] = alarm
            self.ids[alarm.fingerprint] = row["id"]
            self.written[alarm.fingerprint] = row["last_seen"]

    def last_seen(self, name: str) -> Micros:
        return max(self.written.get(name, 0), self.seen.last(self.ids[name])) if name in self.ids else 0


async def _in_thread_if_many(alerts: Sequence[object], work: Callable[[], T]) -> T:
    return work() if len(alerts) <= _FEW else await asyncio.to_thread(work)


async def _lock(connection: Connection, intake: Intake, plan: Plan, known: _Known) -> dict[str, int]:
    """Lock the alarms of the plan and bring `known` up to date; the ids of the new ones, which are inserted.

    TryAgain when one was pruned meanwhile.
    """
    new = {name: change for name, change in plan.alarms.items() if name not in known.ids}
    inserted: dict[str, int] = {}  # without those that another transaction inserted first
    if new:
        texts = [list(map(key_of, new)), [name.encode() for name in new]]
        rows = await connection.fetch(_NEW, intake.integration, intake.received, *texts, *_alarm_columns(new.values()))
        inserted = {row["fingerprint"].decode(): row["id"] for row in rows}
    known.ids |= inserted
    others = [name for name in plan.alarms if name not in inserted]
    if others:
        locked = await connection.fetch(_LOCKED, intake.integration, list(map(key_of, others)))
        if len(locked) < len(others):
            raise TryAgain("an alarm was pruned while it came back")
        known.add(locked)
    return inserted


async def _compare(connection: Connection, plan: Plan, known: _Known) -> None:
    if ids := [known.ids[name] for name in plan.first_labels]:
        rows = await connection.fetch(_LABELS, ids)
        plan.compare({row["fingerprint"].decode(): row["labels"].decode() for row in rows})


async def _supersede(connection: Connection, plan: Plan, known: _Known) -> None:
    if plan.replaceable:
        rows = await connection.fetch(_UNTRIED, [known.ids[name] for name in plan.replaceable])
        plan.supersede({row["fingerprint"].decode(): row["seq"] for row in rows})


async def _write(
    connection: Connection, intake: Intake, plan: Plan, ids: dict[str, int], *, changed: Iterable[str]
) -> int:
    """Everything but the new alarms; the id of the webhook, 0 when it left nothing but changed alarms."""
    if names := list(changed):
        alarms = [plan.alarms[name] for name in names]
        places = [ids[name] for name in names]
        done = await connection.execute(_CHANGE, intake.received, plan.superseded, places, *_alarm_columns(alarms))
        check_kept("alarm", int(done.rpartition(" ")[2]), len(names))
    if plan.conflicts:
        await connection.execute(_CONFLICTS, [ids[name] for name in plan.conflicts], list(plan.conflicts.values()))
    webhook, group = intake.webhook, intake.webhook.group
    if not plan.owed and not webhook.rejects:
        return 0
    texts = [text.encode() for text in (group.receiver, group.groupKey, group.externalURL)]
    numbers = len(webhook.alerts), len(plan.owed), webhook.truncated, webhook.size
    reports = await _in_thread_if_many(plan.owed, lambda: _report_columns(intake, plan, ids))
    rows = await connection.fetch(_WEBHOOK, intake.integration, intake.received, *texts, *numbers, *reports)
    check_kept("report", sum(row["kept"] for row in rows), len(plan.owed))
    check_kept("webhook", len(rows), 1)
    await _write_rejects(connection, intake.integration, intake.received, webhook.rejects)
    return int(rows[0]["id"])


async def _write_rejects(connection: Connection, integration: str, received: Micros, rejects: Sequence[Reject]) -> None:
    if rejects:
        reasons = [row.reason.encode(errors="replace") for row in rejects]
        rows = await connection.fetch(_REJECT, integration, received, reasons, [row.head for row in rejects])
        await connection.execute(_FORGET, rows[-1]["id"] - REJECTS_KEPT)


def _alarm_columns(changes: Iterable[ChangedAlarm]) -> list[list[object]]:
    """labels, then Alarm's fields from status on, as arrays for unnest."""
    return columns(
        (
            labels_to_json(labels).encode(),
            *alarm[1:-4],
            alarm.origin.encode(),
            alarm.receiver.encode(),
            alarm.reconciled,
            alarm.changed,
        )
        for alarm, labels in changes
    )


def _report_columns(intake: Intake, plan: Plan, ids: dict[str, int]) -> list[list[object]]:
    """alarm to done, as arrays for unnest."""
    group_json = intake.webhook.group.as_json()
    return [
        [ids[report.alarm.fingerprint] for report in plan.owed],
        [report.alarm.episode for report in plan.owed],
        [report.kind for report in plan.owed],
        [report.alarm.coc_alarm_id for report in plan.owed],
        [pack(report.alert, group_json) for report in plan.owed],
        [Outcome.SUPERSEDED if report.superseded else None for report in plan.owed],
        [intake.received if report.superseded else 0 for report in plan.owed],
    ]

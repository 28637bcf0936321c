"""`accept` on PostgreSQL: one statement a kind of row, whatever the number of alerts.

What a webhook changes is worked out twice. First on what is committed, without a lock: mostly nothing is owed, and then
nothing is locked nor written. Then again under the locks of those alarms only that change; a new alarm is locked by
inserting it. Locks are taken in one order everywhere, so that nobody waits in a circle: new alarms by key, known alarms
by id, tallies last.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from zlib import crc32

from adapter.alarm import Alarm, Kind, News, Outcome
from adapter.alertmanager import Reject
from adapter.clock import Micros
from adapter.store import postgres_tally as tally
from adapter.store.backlog import Added, refuse_over
from adapter.store.base import Intake, Receipt
from adapter.store.change import Change, changes
from adapter.store.postgres_link import Link, TryAgain
from adapter.store.postgres_plan import Owed, Plan, plan_of
from adapter.store.postgres_rows import alarm_of, key_of
from adapter.store.seen import Seen

if TYPE_CHECKING:
    from asyncpg import Record as Row

    from adapter.store.postgres_link import Connection

REJECTS_KEPT: Final = 1000
_QUICK: Final = 100  # alerts, about 2 ms

_STATE: Final = "id, fingerprint, status, episode, coc_alarm_id, starts, ends, content, revision, heard, pending"
_KNOWN: Final = f"SELECT {_STATE} FROM alarm WHERE integration = $1 AND key = ANY($2::bytea[])"  # noqa: S608
_LOCKED: Final = f"{_KNOWN} ORDER BY id FOR UPDATE"
_NEW: Final = """
INSERT INTO alarm (integration, key, fingerprint, status, episode, coc_alarm_id, starts, ends, content, revision,
                   pending, labels, first_seen, last_seen, due)
SELECT $1::text, u.*, $2::bigint, $2::bigint, CASE WHEN u.pending > 0 THEN now() END
FROM unnest($3::bytea[], $4::bytea[], $5::text[], $6::bigint[], $7::text[], $8::bigint[], $9::bigint[], $10::bytea[],
            $11::text[], $12::bigint[], $13::bytea[])
  AS u(key, fingerprint, status, episode, coc_alarm_id, starts, ends, content, revision, pending, labels)
ORDER BY u.key
ON CONFLICT (integration, key) DO NOTHING
RETURNING id, fingerprint
"""
_CHANGED: Final = """
UPDATE alarm a
SET last_seen = greatest(last_seen, $1), status = u.status, episode = u.episode, coc_alarm_id = u.coc_alarm_id,
    starts = u.starts, ends = u.ends, content = u.content, revision = u.revision, pending = u.pending,
    labels = coalesce(u.labels, a.labels), due = CASE WHEN u.pending > 0 THEN coalesce(a.due, now()) END
FROM unnest($2::bigint[], $3::text[], $4::bigint[], $5::text[], $6::bigint[], $7::bigint[], $8::bytea[], $9::text[],
            $10::bigint[], $11::bytea[])
  AS u(id, status, episode, coc_alarm_id, starts, ends, content, revision, pending, labels)
WHERE a.id = u.id
"""
_UNTRIED: Final = """
SELECT a.fingerprint, r.seq FROM alarm a CROSS JOIN LATERAL (
    SELECT seq, kind, attempts FROM report WHERE alarm = a.id AND outcome IS NULL ORDER BY seq DESC LIMIT 1) r
WHERE a.id = ANY($1::bigint[]) AND r.kind = 'update' AND r.attempts = 0
  -- under way is the first pending report of a leased alarm: the last one only where it is the only one
  AND (a.lease_until IS NULL OR a.lease_until < clock_timestamp() OR a.pending > 1)
"""
_SUPERSEDE: Final = "UPDATE report SET outcome = 'superseded', done = $1 WHERE seq = ANY($2::bigint[])"
_WEBHOOK: Final = """
INSERT INTO webhook (integration, received, receiver, group_key, external_url, alerts, owed, truncated, size)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) RETURNING id
"""
_OWE: Final = """
INSERT INTO report (integration, alarm, episode, kind, coc_alarm_id, raw, crc, received, webhook, outcome, done)
SELECT $1::text, u.alarm, u.episode, u.kind, u.coc_alarm_id, u.raw, u.crc, $2::bigint, $3::bigint, u.outcome,
       CASE WHEN u.outcome IS NULL THEN 0 ELSE $2::bigint END
FROM unnest($4::bigint[], $5::bigint[], $6::text[], $7::text[], $8::bytea[], $9::bigint[], $10::text[])
  WITH ORDINALITY AS u(alarm, episode, kind, coc_alarm_id, raw, crc, outcome, place)
ORDER BY u.place
"""
_REJECT: Final = """
INSERT INTO reject (integration, received, reason, head)
SELECT $1::text, $2::bigint, u.* FROM unnest($3::bytea[], $4::bytea[]) AS u RETURNING id
"""
_FORGET: Final = "DELETE FROM reject WHERE id IN (SELECT id FROM reject WHERE id <= $1 FOR UPDATE SKIP LOCKED)"


@dataclass(slots=True)
class _Known:
    """Alarms by fingerprint, and where their rows are."""

    alarms: dict[str, Alarm] = field(default_factory=dict)
    ids: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Taken:
    """A receipt, and what `maintain` is to write later."""

    receipt: Receipt
    seen: Seen


async def accept(link: Link, intake: Intake, backlog: int) -> Taken:
    """Promises 1 to 5 and 8. TryAgain when the alarms changed too quickly; nothing was written then."""
    keys = _keys(dict.fromkeys(alert.fingerprint for alert in intake.webhook.alerts))
    async with link.read() as connection:
        known = _known(await connection.fetch(_KNOWN, intake.integration, keys))
        sums = await tally.sums(connection)
    plan = plan_of(await _changes(known, intake), {})
    if not plan.final and not intake.webhook.rejects:
        return _taken(intake, plan, known, 0, sums)
    async with link.write() as connection:
        known, fresh = await _lock(connection, intake, plan, known)
        made = await _changes(known, intake)
        plan = plan_of(made, await _untried(connection, made, known.ids))
        known.ids |= fresh
        webhook = await _write(connection, intake, plan, known.ids, fresh)
        difference = tally.Sum(len(plan.owed) - plan.superseding, plan.firing)
        await tally.add(connection, link.shard(tally.SHARDS), {intake.integration: difference})
        sums = await tally.sums(connection)
        added = Added()
        added.count(made, plan.superseding)
        refuse_over(backlog, sum(row.pending for row in sums.values()) - difference.pending, added)
    return _taken(intake, plan, known, webhook, sums)


async def reject(link: Link, integration: str, received: Micros, rejects: Sequence[Reject]) -> None:
    async with link.write() as connection:
        await _reject(connection, integration, received, rejects)


async def _reject(connection: Connection, integration: str, received: Micros, rejects: Sequence[Reject]) -> None:
    if rejects:
        reasons = [row.reason.encode(errors="replace") for row in rejects]
        rows = await connection.fetch(_REJECT, integration, received, reasons, [row.head for row in rejects])
        await connection.execute(_FORGET, rows[-1]["id"] - REJECTS_KEPT)


async def _changes(known: _Known, intake: Intake) -> list[Change]:
    """`base.changes`; a large webhook is worked out in a thread, so that small ones need not wait for it."""
    if len(intake.webhook.alerts) <= _QUICK:
        return changes(known.alarms, intake)
    return await asyncio.to_thread(changes, known.alarms, intake)


async def _lock(connection: Connection, intake: Intake, plan: Plan, known: _Known) -> tuple[_Known, dict[str, int]]:
    """Lock the alarms that change; all as they are now, without those that this transaction inserted, and their ids."""
    new = {name: alarm for name, alarm in plan.final.items() if name not in known.ids}
    fresh = await _insert(connection, intake, new, plan.labels) if new else {}
    others = [name for name in plan.final if name not in fresh]
    if others:
        locked = _known(await connection.fetch(_LOCKED, intake.integration, _keys(others)))
        if len(locked.ids) < len(others):
            raise TryAgain("an alarm was pruned while it came back")
        known = _Known(known.alarms | locked.alarms, known.ids | locked.ids)
    return known, fresh


async def _insert(
    connection: Connection, intake: Intake, new: dict[str, Alarm], labels: dict[str, bytes]
) -> dict[str, int]:
    names, alarms = list(new), list(new.values())
    rows = await connection.fetch(
        _NEW,
        intake.integration,
        intake.received,
        _keys(names),
        [name.encode() for name in names],
        *_columns(alarms),
        [labels[name] for name in names],
    )
    return {row["fingerprint"].decode(): row["id"] for row in rows}


async def _untried(connection: Connection, made: list[Change], ids: dict[str, int]) -> dict[str, int]:
    """By fingerprint, the pending report that an `update` replaces."""
    names = {change.alert.fingerprint for change in made if change.step.owed is Kind.UPDATE}
    alarms = [ids[name] for name in names if name in ids]
    rows = await connection.fetch(_UNTRIED, alarms) if alarms else []
    return {row["fingerprint"].decode(): row["seq"] for row in rows}


async def _write(connection: Connection, intake: Intake, plan: Plan, ids: dict[str, int], fresh: dict[str, int]) -> int:
    """Everything but the new alarms; the id of the webhook in the audit trail."""
    webhook = 0
    if plan.owed or intake.webhook.rejects:
        webhook = await connection.fetchval(_WEBHOOK, *_sender(intake, len(plan.owed)))
    if plan.owed:
        await _owe(connection, intake, plan.owed, ids, webhook)
    if plan.superseded:
        await connection.execute(_SUPERSEDE, intake.received, plan.superseded)
    changed = {name: alarm for name, alarm in plan.final.items() if name not in fresh}
    if changed:
        labels = [plan.labels.get(name) for name in changed]
        places = [ids[name] for name in changed]
        await connection.execute(_CHANGED, intake.received, places, *_columns(list(changed.values())), labels)
    if intake.webhook.rejects:
        await _reject(connection, intake.integration, intake.received, intake.webhook.rejects)
    return webhook


async def _owe(connection: Connection, intake: Intake, owed: list[Owed], ids: dict[str, int], webhook: int) -> None:
    await connection.execute(
        _OWE,
        intake.integration,
        intake.received,
        webhook,
        [ids[row.fingerprint] for row in owed],
        [row.alarm.episode for row in owed],
        [row.kind.value for row in owed],
        [row.alarm.coc_alarm_id for row in owed],
        [row.raw for row in owed],
        [crc32(row.raw) for row in owed],
        [Outcome.SUPERSEDED.value if row.superseded else None for row in owed],
    )


def _taken(intake: Intake, plan: Plan, known: _Known, webhook: int, sums: dict[str, tally.Sum]) -> Taken:
    plan.news[News.REJECTED] += len(intake.webhook.rejects)
    now = sums.get(intake.integration, tally.Sum(0, 0))
    receipt = Receipt(
        webhook=webhook,
        news=dict(plan.news),
        owed=tuple((row.fingerprint, row.kind) for row in plan.owed),
        superseded=plan.superseding,
        pending=now.pending,
        open_alarms=now.firing,
    )
    repeated, stale = ([known.ids[name] for name in names] for names in (plan.repeated, plan.stale))
    return Taken(receipt, Seen(intake.received, repeated, stale))


def _known(rows: Sequence[Row]) -> _Known:
    found = _Known()
    for row in rows:
        alarm = alarm_of(row)
        found.alarms[alarm.fingerprint] = alarm
        found.ids[alarm.fingerprint] = row["id"]
    return found


def _columns(alarms: list[Alarm]) -> list[list[object]]:
    """status to pending, as arrays for unnest."""
    return [
        [alarm.status.value for alarm in alarms],
        [alarm.episode for alarm in alarms],
        [alarm.coc_alarm_id for alarm in alarms],
        [alarm.starts for alarm in alarms],
        [alarm.ends for alarm in alarms],
        [alarm.content for alarm in alarms],
        [alarm.revision for alarm in alarms],
        [alarm.pending for alarm in alarms],
    ]


def _keys(fingerprints: Iterable[str]) -> list[bytes]:
    return [key_of(name) for name in fingerprints]


def _sender(intake: Intake, owed: int) -> tuple[object, ...]:
    webhook, group = intake.webhook, intake.webhook.group
    words = (text.encode() for text in (group.receiver, group.groupKey, group.externalURL))
    return intake.integration, intake.received, *words, len(webhook.alerts), owed, webhook.truncated, webhook.size

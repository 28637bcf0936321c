"""A webhook's plan, written to PostgreSQL: alarms, the reports they owe, the webhook itself and its rejects."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final
from zlib import crc32

from adapter.alarm import Alarm, Outcome
from adapter.alertmanager import Reject
from adapter.clock import Micros
from adapter.store.contract import Intake
from adapter.store.postgres.plan import Owed, Plan
from adapter.store.postgres.rows import key_of

if TYPE_CHECKING:
    from adapter.store.postgres.connection import Connection

REJECTS_KEPT: Final = 1000

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


async def insert_alarms(
    connection: Connection, intake: Intake, new: dict[str, Alarm], labels: dict[str, bytes]
) -> dict[str, int]:
    """The alarms that are not there yet; ids of those this transaction really inserted, by fingerprint."""
    names, alarms = list(new), list(new.values())
    rows = await connection.fetch(
        _NEW,
        intake.integration,
        intake.received,
        keys_of(names),
        [name.encode() for name in names],
        *_columns(alarms),
        [labels[name] for name in names],
    )
    return {row["fingerprint"].decode(): row["id"] for row in rows}


async def write_plan(
    connection: Connection, intake: Intake, plan: Plan, ids: dict[str, int], fresh: dict[str, int]
) -> int:
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
        await write_rejects(connection, intake.integration, intake.received, intake.webhook.rejects)
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


async def write_rejects(connection: Connection, integration: str, received: Micros, rejects: Sequence[Reject]) -> None:
    """Keep them; only the newest REJECTS_KEPT stay."""
    if rejects:
        reasons = [row.reason.encode(errors="replace") for row in rejects]
        rows = await connection.fetch(_REJECT, integration, received, reasons, [row.head for row in rejects])
        await connection.execute(_FORGET, rows[-1]["id"] - REJECTS_KEPT)


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


def keys_of(fingerprints: Iterable[str]) -> list[bytes]:
    """Where to look alarms up."""
    return [key_of(name) for name in fingerprints]


def _sender(intake: Intake, owed: int) -> tuple[object, ...]:
    webhook, group = intake.webhook, intake.webhook.group
    words = (text.encode() for text in (group.receiver, group.groupKey, group.externalURL))
    return intake.integration, intake.received, *words, len(webhook.alerts), owed, webhook.truncated, webhook.size

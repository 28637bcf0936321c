"""`accept` on PostgreSQL: one statement a kind of row, whatever the number of alerts.

What a webhook changes is worked out twice. First on what is committed, without a lock: mostly nothing is owed, and then
nothing is locked nor written. Then again under the locks of those alarms only that change; a new alarm is locked by
inserting it. Locks are taken in one order everywhere, so that nobody waits in a circle: new alarms by key, known alarms
by id.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from adapter.alarm import Alarm, Kind, News
from adapter.alertmanager import Reject
from adapter.clock import Micros
from adapter.store.backlog import Added, refuse_over
from adapter.store.contract import Intake, Receipt
from adapter.store.last_seen import Seen
from adapter.store.plan import Change, changes
from adapter.store.postgres.apply import insert_alarms, keys_of, write_plan, write_rejects
from adapter.store.postgres.connection import Link, TryAgain
from adapter.store.postgres.counts import RunningCounts
from adapter.store.postgres.plan import Plan, plan_of
from adapter.store.postgres.rows import alarm_of

if TYPE_CHECKING:
    from asyncpg import Record as Row

    from adapter.store.postgres.connection import Connection

_QUICK: Final = 100  # alerts, about 2 ms

_STATE: Final = (
    "id, fingerprint, status, episode, coc_alarm_id, starts, ends, content, revision, last_accepted_at, pending"
)
_KNOWN: Final = f"SELECT {_STATE} FROM alarm WHERE integration = $1 AND key = ANY($2::bytea[])"  # noqa: S608
_LOCKED: Final = f"{_KNOWN} ORDER BY id FOR UPDATE"
_UNTRIED: Final = """
SELECT a.fingerprint, r.seq FROM alarm a CROSS JOIN LATERAL (
    SELECT seq, kind, attempts FROM report WHERE alarm = a.id AND outcome IS NULL ORDER BY seq DESC LIMIT 1) r
WHERE a.id = ANY($1::bigint[]) AND r.kind = 'update' AND r.attempts = 0
  -- under way is the first pending report of a leased alarm: the last one only where it is the only one
  AND (a.lease_until IS NULL OR a.lease_until < clock_timestamp() OR a.pending > 1)
"""


@dataclass(slots=True)
class _Known:
    """Alarms by fingerprint, and where their rows are."""

    alarms: dict[str, Alarm] = field(default_factory=dict)
    ids: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AcceptResult:
    """A receipt, and what `maintain` is to write later."""

    receipt: Receipt
    seen: Seen


async def accept(link: Link, intake: Intake, backlog: int, counts: RunningCounts) -> AcceptResult:
    """Promises 1 to 5 and 8. TryAgain when the alarms changed too quickly; nothing was written then."""
    keys = keys_of(dict.fromkeys(alert.fingerprint for alert in intake.webhook.alerts))
    async with link.read() as connection:
        known = _known(await connection.fetch(_KNOWN, intake.integration, keys))
    plan = plan_of(await _changes(known, intake), {})
    if not plan.final and not intake.webhook.rejects:
        return _taken(intake, plan, known, 0, counts)
    async with link.write() as connection:
        known, fresh = await _lock(connection, intake, plan, known)
        made = await _changes(known, intake)
        plan = plan_of(made, await _untried(connection, made, known.ids))
        known.ids |= fresh
        added = Added()
        added.count(made, plan.superseding)
        refuse_over(backlog, counts.all_pending, added)
        webhook = await write_plan(connection, intake, plan, known.ids, fresh)
    counts.add(intake.integration, pending=len(plan.owed) - plan.superseding, open_alarms=plan.firing)
    return _taken(intake, plan, known, webhook, counts)


async def reject(link: Link, integration: str, received: Micros, rejects: Sequence[Reject]) -> None:
    async with link.write() as connection:
        await write_rejects(connection, integration, received, rejects)


async def _changes(known: _Known, intake: Intake) -> list[Change]:
    """`base.changes`; a large webhook is worked out in a thread, so that small ones need not wait for it."""
    if len(intake.webhook.alerts) <= _QUICK:
        return changes(known.alarms, intake)
    return await asyncio.to_thread(changes, known.alarms, intake)


async def _lock(connection: Connection, intake: Intake, plan: Plan, known: _Known) -> tuple[_Known, dict[str, int]]:
    """Lock the alarms that change; all as they are now, without those that this transaction inserted, and their ids."""
    new = {name: alarm for name, alarm in plan.final.items() if name not in known.ids}
    fresh = await insert_alarms(connection, intake, new, plan.labels) if new else {}
    others = [name for name in plan.final if name not in fresh]
    if others:
        locked = _known(await connection.fetch(_LOCKED, intake.integration, keys_of(others)))
        if len(locked.ids) < len(others):
            raise TryAgain("an alarm was pruned while it came back")
        known = _Known(known.alarms | locked.alarms, known.ids | locked.ids)
    return known, fresh


async def _untried(connection: Connection, made: list[Change], ids: dict[str, int]) -> dict[str, int]:
    """By fingerprint, the pending report that an `update` replaces."""
    names = {change.alert.fingerprint for change in made if change.step.owed is Kind.UPDATE}
    alarms = [ids[name] for name in names if name in ids]
    rows = await connection.fetch(_UNTRIED, alarms) if alarms else []
    return {row["fingerprint"].decode(): row["seq"] for row in rows}


def _taken(intake: Intake, plan: Plan, known: _Known, webhook: int, counts: RunningCounts) -> AcceptResult:
    plan.news[News.REJECTED] += len(intake.webhook.rejects)
    receipt = Receipt(
        webhook=webhook,
        news=dict(plan.news),
        owed=tuple((row.fingerprint, row.kind) for row in plan.owed),
        superseded=plan.superseding,
        pending=counts.pending(intake.integration),
        open_alarms=counts.open_alarms(intake.integration),
    )
    repeated, stale = ([known.ids[name] for name in names] for names in (plan.repeated, plan.stale))
    return AcceptResult(receipt, Seen(intake.received, repeated, stale))


def _known(rows: Sequence[Row]) -> _Known:
    found = _Known()
    for row in rows:
        alarm = alarm_of(row)
        found.alarms[alarm.fingerprint] = alarm
        found.ids[alarm.fingerprint] = row["id"]
    return found

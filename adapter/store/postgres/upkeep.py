"""What PostgreSQL is asked from time to time: pauses, when alerts were seen, pruning, size."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from adapter.alarm import Pause
from adapter.clock import Micros
from adapter.store.contract import Retention
from adapter.store.postgres.connection import SCHEMA, Link
from adapter.store.postgres.rows import storable

if TYPE_CHECKING:
    from adapter.store.postgres.connection import Connection

PRUNED_AT_ONCE: Final = 1000

_PAUSES: Final = "SELECT integration, reason, since, asked_by, detail FROM pause"
_PAUSE: Final = """
INSERT INTO pause AS p VALUES ($1, $2, $3, $4, $5) ON CONFLICT (integration) DO UPDATE
SET reason = excluded.reason, since = excluded.since, asked_by = excluded.asked_by, detail = excluded.detail
WHERE NOT ($6::boolean AND p.reason = 'operator')
"""
_RESUME: Final = "DELETE FROM pause WHERE integration = $1 AND NOT ($2::boolean AND reason = 'operator')"
_FREE: Final = "SELECT id FROM alarm WHERE id = ANY($1::bigint[]) ORDER BY id FOR UPDATE SKIP LOCKED"
_SEEN: Final = """
UPDATE alarm a SET last_seen = greatest(a.last_seen, u.at), repeats = a.repeats + u.repeats, stale = a.stale + u.stale
FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[]) AS u(id, at, repeats, stale) WHERE a.id = u.id
"""
_PRUNE_REPORTS: Final = """
DELETE FROM report WHERE seq IN (
    SELECT seq FROM report WHERE outcome IS NOT NULL AND done < $1 AND (outcome <> 'dead' OR done < $2)
    ORDER BY done LIMIT $3 FOR UPDATE SKIP LOCKED)
"""
_PRUNE_ALARMS: Final = """
DELETE FROM alarm WHERE id IN (
    SELECT id FROM alarm a WHERE status = 'resolved' AND due IS NULL AND last_seen < $1
      AND NOT EXISTS (SELECT FROM report r WHERE r.alarm = a.id)
    ORDER BY last_seen LIMIT $2 FOR UPDATE SKIP LOCKED)
"""
_PRUNE_WEBHOOKS: Final = "DELETE FROM webhook WHERE id IN (SELECT id FROM webhook WHERE received < $1 LIMIT $2)"
_PRUNE_REJECTS: Final = "DELETE FROM reject WHERE id IN (SELECT id FROM reject WHERE received < $1 LIMIT $2)"
_SIZE: Final = f"""
SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint FROM pg_class c
WHERE c.relkind = 'r' AND c.relnamespace = to_regnamespace('{SCHEMA}')
"""  # noqa: S608


async def pauses(link: Link) -> dict[str, Pause]:
    async with link.read() as connection:
        return await _pauses(connection)


async def _pauses(connection: Connection) -> dict[str, Pause]:
    return {
        row["integration"]: Pause(reason=row["reason"], since=row["since"], by=row["asked_by"], detail=row["detail"])
        for row in await connection.fetch(_PAUSES)
    }


async def set_pause(link: Link, integration: str, pause: Pause | None, *, automatic: bool) -> Pause | None:
    async with link.write() as connection:
        if pause is None:
            await connection.execute(_RESUME, integration, automatic)
        else:
            words = (pause.reason, pause.since, storable(pause.by), storable(pause.detail))
            await connection.execute(_PAUSE, integration, *words, automatic)
        return (await _pauses(connection)).get(integration)


async def write_seen(link: Link, seen: Mapping[int, tuple[Micros, int, int]]) -> set[int]:
    """Write (last seen, repeats, stale) by alarm; those written. Busy alarms are left for the next time."""
    async with link.write() as connection:
        free = [row["id"] for row in await connection.fetch(_FREE, sorted(seen))]
        columns = [[seen[alarm][place] for alarm in free] for place in range(3)]
        await connection.execute(_SEEN, free, *columns)
    return set(free)


async def prune(link: Link, now: Micros, retention: Retention) -> None:
    """Small transactions, so that nobody waits; what another replica prunes at the same time is skipped."""
    delivered, dead, resolved = (now - kept for kept in (retention.delivered, retention.dead, retention.resolved))
    await _until_none(link, _PRUNE_REPORTS, delivered, dead)
    await _until_none(link, _PRUNE_ALARMS, resolved)
    await _until_none(link, _PRUNE_WEBHOOKS, delivered)
    await _until_none(link, _PRUNE_REJECTS, delivered)


async def _until_none(link: Link, statement: str, *before: Micros) -> None:
    deleted = PRUNED_AT_ONCE
    while deleted == PRUNED_AT_ONCE:
        async with link.write() as connection:
            tag = await connection.execute(statement, *before, PRUNED_AT_ONCE)
        deleted = int(tag.rpartition(" ")[2])


async def size(link: Link) -> int:
    async with link.read() as connection:
        return int(await connection.fetchval(_SIZE))

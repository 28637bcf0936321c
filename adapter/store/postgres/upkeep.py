"""What a PostgreSQL store does from time to time: write when alerts were last seen, prune, measure itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from adapter.clock import Micros
from adapter.store.contract import Pruned, Retention
from adapter.store.last_seen import SeenLater
from adapter.store.postgres.connection import SCHEMA, Database, columns

PRUNED_AT_ONCE: Final = 1000

# Returns the alarms that another transaction holds; those that were pruned meanwhile are not among them.
_SEEN: Final = """
WITH free AS MATERIALIZED (SELECT id FROM alarm WHERE id = ANY($1::bigint[]) ORDER BY id FOR UPDATE SKIP LOCKED),
written AS (
    UPDATE alarm a
    SET last_seen = greatest(a.last_seen, u.at), repeats = a.repeats + u.repeats, stale = a.stale + u.stale
    FROM free, unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[]) AS u(id, at, repeats, stale)
    WHERE a.id = free.id AND u.id = free.id RETURNING a.id)
SELECT id FROM alarm WHERE id = ANY($1::bigint[]) AND id NOT IN (SELECT id FROM written)
"""
_PRUNE_REPORTS: Final = """
DELETE FROM report WHERE seq IN (
    SELECT seq FROM report WHERE outcome IS NOT NULL AND outcome {} 'dead' AND done < $1
    ORDER BY done LIMIT $2 FOR UPDATE SKIP LOCKED)
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


@dataclass(frozen=True, slots=True)
class PostgresUpkeep:
    database: Database
    seen: SeenLater

    async def maintain(self, now: Micros, retention: Retention) -> Pruned:
        await self.write_seen()
        return await self._prune(now, retention)

    async def write_seen(self) -> None:
        """Write when alerts were last seen. Busy alarms are left for the next time."""
        while seen := self.seen.take():
            busy = seen
            try:
                async with self.database.write() as connection:
                    rows = await connection.fetch(_SEEN, list(seen), *columns(seen.values()))
                busy = {row["id"]: seen[row["id"]] for row in rows}
            finally:
                self.seen.put_back(busy)
            if busy:
                return

    async def _prune(self, now: Micros, retention: Retention) -> Pruned:
        """Small transactions, so that nothing waits long; rows that another replica prunes meanwhile are skipped."""
        delivered, dead, resolved = (now - kept for kept in (retention.delivered, retention.dead, retention.resolved))
        return Pruned(
            reports=await self._delete_all(_PRUNE_REPORTS.format("<>"), delivered),
            dead_letters=await self._delete_all(_PRUNE_REPORTS.format("="), dead),
            alarms=await self._delete_all(_PRUNE_ALARMS, resolved),
            webhooks=await self._delete_all(_PRUNE_WEBHOOKS, delivered),
            rejects=await self._delete_all(_PRUNE_REJECTS, delivered),
        )

    async def _delete_all(self, statement: str, before: Micros) -> int:
        deleted, step = 0, PRUNED_AT_ONCE
        while step == PRUNED_AT_ONCE:
            async with self.database.write() as connection:
                tag = await connection.execute(statement, before, PRUNED_AT_ONCE)
            step = int(tag.rpartition(" ")[2])
            deleted += step
        return deleted

    async def size(self) -> int:
        """Bytes of the tables and their indexes."""
        async with self.database.read() as connection:
            return int(await connection.fetchval(_SIZE))

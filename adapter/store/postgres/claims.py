"""Claims on PostgreSQL: leases by the server's clock, committed before anything is sent.

A lease is a token on the alarm's row that grows with each claim. The alarm is leased, not the report: so an alarm's
reports leave in order, one at a time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from adapter.clock import Clock
from adapter.store.contract import Claims
from adapter.store.postgres.connection import Database, retried
from adapter.store.postgres.replicas import LEFT_SECONDS, Replicas
from adapter.store.records import CLAIM_COLUMNS, claim_of

_DUE: Final = "due <= now()"
_WAITING: Final = "due IS NOT NULL AND (lease_until IS NULL OR lease_until <= now())"
_LEFT: Final = f"due <= now() - interval '{LEFT_SECONDS} s'"
# How few `refreshes` are is not known to the planner: by ANY it looks the alarms up, where a join would read them all.
_LEASE: Final = """
WITH news AS MATERIALIZED (
    SELECT id, priority, due, lease_until IS NOT NULL AS abandoned FROM alarm
    WHERE integration = $1 AND priority = 0 AND {which} ORDER BY due, id LIMIT $2 FOR UPDATE SKIP LOCKED),
refreshes AS MATERIALIZED (
    SELECT id, priority, due, lease_until IS NOT NULL AS abandoned FROM alarm
    WHERE integration = $1 AND priority = 1 AND {which} ORDER BY due, id LIMIT $2 - (SELECT count(*) FROM news)
    FOR UPDATE SKIP LOCKED),
due AS (SELECT * FROM news UNION ALL SELECT * FROM refreshes)
UPDATE alarm a SET lease_token = lease_token + 1, lease_owner = $3, lease_until = now() + $4::float8 * interval '1 s',
                   due = now() + $4::float8 * interval '1 s'
FROM due WHERE a.id = due.id AND a.id = ANY (ARRAY(SELECT id FROM due))
RETURNING a.id, due.priority, due.due AS was_due, due.abandoned
"""
# Statements of their own, because the one above may have locked rows newer than what it could see of the reports.
# A replica that never gave its lease back may have sent the first report that waits.
_MAYBE_SENT: Final = """
UPDATE alarm a SET maybe_sent_episode = (
    SELECT episode FROM report WHERE alarm = a.id AND outcome IS NULL ORDER BY seq LIMIT 1)
WHERE id = ANY($1::bigint[])
"""
_HEADS: Final = f"""
SELECT alarm.id, alarm.lease_token, {CLAIM_COLUMNS}
FROM alarm CROSS JOIN LATERAL (
    SELECT * FROM report r WHERE r.alarm = alarm.id AND r.outcome IS NULL ORDER BY r.seq LIMIT 1) AS report
WHERE alarm.id = ANY($1::bigint[])
"""  # noqa: S608
_NEXT: Final = """
SELECT extract(epoch FROM min(next.due) - clock_timestamp())::float8
FROM (VALUES (0::smallint), (1::smallint)) AS p(priority) CROSS JOIN LATERAL (
    SELECT due FROM alarm
    WHERE integration = $1 AND alarm.priority = p.priority AND due IS NOT NULL
      AND (lease_until IS NULL OR lease_until <= clock_timestamp())
    ORDER BY due LIMIT 1) AS next
"""


@dataclass(frozen=True, slots=True)
class PostgresClaims:
    """Promises 4 and 6."""

    database: Database
    clock: Clock
    replicas: Replicas
    lease: float  # seconds

    @retried
    async def claim(self, integration: str, limit: int, *, ignore_delay: bool = False) -> Claims:
        # Read before the lease begins. Sending starts in its first half, so that COC's timeout ends inside.
        send_before = self.clock.monotonic() + self.lease / 2
        waits = self.replicas.waits
        lease = _LEASE.format(which=_LEFT if waits else _WAITING if ignore_delay else _DUE)
        async with self.database.write() as connection:
            leased = await connection.fetch(lease, integration, limit, self.replicas.name, self.lease)
            if abandoned := [row["id"] for row in leased if row["abandoned"]]:
                await connection.execute(_MAYBE_SENT, abandoned)
            order = {row["id"]: (row["priority"], row["was_due"], row["id"]) for row in leased}
            heads = await connection.fetch(_HEADS, list(order)) if order else []
            next_due = await connection.fetchval(_NEXT, integration) if len(heads) < limit else None
        if waits and next_due is not None:
            next_due = max(next_due, 0.0) + LEFT_SECONDS
        heads.sort(key=lambda row: order[row["id"]])
        claims = [claim_of(row, lease_token=row["lease_token"], send_before=send_before) for row in heads]
        return Claims(claims=tuple(claims), next_due=next_due)
